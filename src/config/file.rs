//! The configuration file.
//!
//! Owns TOML: its types, and the line that each value stands on.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{Said, echo};
use super::{Config, KEYS, Origin, Source, keys, meant};

/// Bytes of a file; far more than all keys together need.
const FILE_BYTES: u64 = 1 << 20;

/// Reads a file into a configuration.
///
/// # Errors
/// One line for the operator: the file, the line, and what is wrong there.
pub(super) fn read(path: &Path, named_by: &str, config: &mut Config) -> Result<(), String> {
    let name = path.display();
    let text = contents(path).map_err(|error| format!("{named_by} {name}: cannot read it: {error}"))?;
    let place = |at: usize| format!("{name}, line {}", line(&text, at));
    let table = DeTable::parse(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let source = text.lines().nth(line(&text, at) - 1).unwrap_or_default().trim();
        // What else the parser would take there is more of TOML than helps.
        let message = error.message().split(", expected literal string").next().unwrap_or_default();
        format!("{}: {}: {}", place(at), echo(source), echo(message))
    })?;
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let at = key.span().start;
        let key_name: &str = key.get_ref();
        let Some(known) = keys::find(key_name) else {
            return Err(format!("{}: {}", place(at), unknown(key_name, value)));
        };
        // A table's span is that of its header or of its first key: no value to repeat.
        let said = if value.get_ref().is_table() { "a table" } else { text.get(value.span()).unwrap_or_default() };
        let statement = format!("{}: {} = {}", place(at), KEYS[known].name, echo(said));
        config.set(known, &meaning(value.get_ref()), Origin { source: Source::File(line(&text, at)), statement })?;
    }
    Ok(())
}

fn contents(path: &Path) -> Result<String, String> {
    let explained = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::InvalidData => "it is not UTF-8".to_owned(),
        _ => error.to_string(),
    };
    let mut text = String::new();
    // One byte more shows that there are too many.
    let mut file = File::open(path).map_err(explained)?.take(FILE_BYTES + 1);
    file.read_to_string(&mut text).map_err(explained)?;
    if text.len() as u64 > FILE_BYTES {
        return Err(format!("it has more than {FILE_BYTES} bytes"));
    }
    Ok(text)
}

/// The line of a byte, from 1. An end behind the last line counts to that one.
fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    line.min(text.lines().count()).max(1)
}

/// What a value says, whatever it is for.
fn meaning<'a>(value: &'a DeValue<'_>) -> Said<'a> {
    match value {
        DeValue::String(text) => Said::Text(text),
        DeValue::Boolean(truth) => Said::Truth(*truth),
        DeValue::Integer(number) => Said::Whole(u64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map_or(Said::Other, Said::List)
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => Said::Other,
    }
}

/// What to say of a name that is no key. There are no tables yet; when there are, they are read where this is called.
fn unknown(name: &str, value: &Spanned<DeValue<'_>>) -> String {
    let is_table = value.get_ref().is_table()
        || value.get_ref().as_array().is_some_and(|items| items.iter().any(|item| item.get_ref().is_table()));
    if is_table {
        return format!("unknown table {}: all keys stand outside of tables, see encke --help", echo(name));
    }
    match meant(name) {
        Some(near) => format!("unknown key {}: did you mean {near}?", echo(name)),
        None => format!("unknown key {}: see encke --help", echo(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_count_from_one() {
        for (at, number) in [(0, 1), (1, 1), (2, 2), (4, 3), (5, 3), (99, 3)] {
            assert_eq!(line("a\nb\nc\n", at), number, "{at}");
        }
        assert_eq!(line("", 0), 1);
    }
}
