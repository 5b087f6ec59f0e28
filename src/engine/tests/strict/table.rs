//! How a table is written.
//!
//! A case is `name | verdict | bytes`; lines that begin with a space go on with the bytes of the line before, and a
//! line that begins with `#` says what follows. White space around each part is left out. Within the bytes `\r`,
//! `\n`, `\t`, `\0`, `\\` and `\x3c` are what they are in Rust, `<word>` stands for what the test that reads the
//! table says, and `<80*text>` for the text, 80 times; both may be nested.

use std::collections::HashSet;

/// One case.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) verdict: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// Words, and what they stand for.
pub(super) type Words = [(&'static str, &'static str)];

/// All cases of a table.
pub(super) fn cases(table: &'static str, words: &Words) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        if line.starts_with(' ') {
            let more = expanded(line.trim(), words);
            cases.last_mut().unwrap().bytes.extend_from_slice(&more);
            continue;
        }
        let mut parts = line.splitn(3, '|').map(str::trim);
        let mut part = || parts.next().unwrap_or_else(|| panic!("not name | verdict | bytes: {line}"));
        cases.push(Case { name: part(), verdict: part(), bytes: expanded(part(), words) });
    }
    let mut names = HashSet::new();
    for case in &cases {
        assert!(names.insert(case.name), "two cases are called {}", case.name);
    }
    cases
}

/// The bytes that a text stands for.
pub(super) fn expanded(text: &str, words: &Words) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '<']) {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (special, after) = rest[at..].split_at(1);
        rest = if special == "\\" { escape(after, &mut bytes) } else { word(after, words, &mut bytes) };
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

/// Takes an escape without its backslash; returns what follows it.
fn escape<'t>(text: &'t str, bytes: &mut Vec<u8>) -> &'t str {
    let (letter, rest) = text.split_at(1);
    bytes.push(match letter {
        "r" => b'\r',
        "n" => b'\n',
        "t" => b'\t',
        "0" => b'\0',
        "\\" => b'\\',
        "x" => {
            bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
            return &rest[2..];
        }
        _ => panic!("no escape: \\{text}"),
    });
    rest
}

/// Takes a word without its opening bracket; returns what follows it.
fn word<'t>(text: &'t str, words: &Words, bytes: &mut Vec<u8>) -> &'t str {
    let mut depth = 1;
    let close = text.find(|letter| {
        depth += i32::from(letter == '<') - i32::from(letter == '>');
        depth == 0
    });
    let (inside, rest) = text.split_at(close.unwrap_or_else(|| panic!("no end of <{text}")));
    let rest = &rest[1..];
    if let Some((count, repeated)) = inside.split_once('*')
        && let Ok(count) = count.parse()
    {
        bytes.extend(expanded(repeated, words).repeat(count));
        return rest;
    }
    let (_, meaning) = words.iter().find(|(word, _)| *word == inside).unwrap_or_else(|| panic!("no word: {inside}"));
    bytes.extend(expanded(meaning, words));
    rest
}

#[test]
fn the_notation() {
    const TABLE: &str = "# says\n\none | 200 close |  a\\r\\n\\x3c<w> \n   <3*<2*x>y>|\ntwo|-|\n";
    let found: Vec<_> = cases(TABLE, &[("w", "b<v>"), ("v", "\\x00")]).into_iter().collect();
    assert_eq!((found[0].name, found[0].verdict), ("one", "200 close"));
    assert_eq!(found[0].bytes, b"a\r\n<b\0xxyxxyxxy|");
    assert_eq!((found[1].name, found[1].verdict, found[1].bytes.len()), ("two", "-", 0));
}
