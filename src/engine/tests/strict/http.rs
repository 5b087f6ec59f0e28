//! Raw requests with verdicts.
//!
//! A verdict is the statuses of the answers in order (`3*200` for three), and then what becomes of the connection:
//! `close` if it is at its end, `waits` if a request is under way, nothing if the next one may come. `-` is no answer
//! at all. A 100 counts only where the verdict has one: whether there is time for it depends on the pieces.

use serde_json::json;

use super::super::bench::{Bench, Post, Setup};
use super::table::{Case, Words, cases, expanded};
use crate::conn::ConnKey;
use crate::conn::plain::Publishing;
use crate::limits::Limits;

/// What the words of the tables stand for.
const WORDS: &Words = &[
    ("post", r"POST /cometd HTTP/1.1\r\nHost: h.example\r\n"),
    ("ok", r"GET /health HTTP/1.1\r\nHost: h.example\r\n"),
    ("json", r"Content-Type: application/json\r\n"),
    ("body", r"Content-Length: 2\r\n\r\n[]"),
    ("chunked", r"Transfer-Encoding: chunked\r\n"),
    ("chunk", r"2\r\n[]\r\n"),
    ("last", r"0\r\n\r\n"),
    (
        "evil",
        r"POST /publish/evil HTTP/1.1\r\nHost: h.example\r\nAuthorization: Bearer t\r\nContent-Length: 1\r\n\r\n1",
    ),
    ("ws", r"GET /cometd HTTP/1.1\r\nHost: h.example\r\n"),
    ("upgrade", r"Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    ("v13", r"Sec-WebSocket-Version: 13\r\n"),
    ("key", r"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
];

/// A request that is answered 200 wherever it stands.
const GOOD: &str = r"<post><json><body>";

/// Small enough for every case to be cut at every byte.
fn bench() -> Bench {
    bench_with(|_| {})
}

fn bench_with(change: impl FnOnce(&mut Setup)) -> Bench {
    Bench::with(|setup| {
        setup.limits = Limits { line_bytes: 100, head_bytes: 1_000, body_bytes: 100, ..Limits::default() };
        setup.publishing = Publishing::Token("t".to_owned());
        setup.broker.transports = vec!["long-polling", "websocket"];
        setup.origins = vec!["https://app.example"];
        change(setup);
    })
}

/// What a verdict demands.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    statuses: Vec<u16>,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The next request may come.
    Open,
    Close,
    /// A request is under way.
    Waits,
}

impl Verdict {
    fn read(text: &str) -> Self {
        let mut verdict = Self { statuses: Vec::new(), end: End::Open };
        for word in text.split(' ').filter(|word| *word != "-") {
            assert_eq!(verdict.end, End::Open, "something behind the end: {text}");
            let (count, word) = word.split_once('*').unwrap_or(("1", word));
            match word {
                "close" => verdict.end = End::Close,
                "waits" => verdict.end = End::Waits,
                status => verdict.statuses.extend(vec![status.parse::<u16>().unwrap(); count.parse().unwrap()]),
            }
        }
        verdict
    }

    /// The same behind a request that is answered 200.
    fn behind_good(&self) -> Self {
        Self { statuses: [&[200], &self.statuses[..]].concat(), end: self.end }
    }

    /// The same with such a request behind it.
    fn before_good(&self) -> Self {
        let more = if self.end == End::Open { &[200][..] } else { &[] };
        Self { statuses: [&self.statuses, more].concat(), end: self.end }
    }

    /// Whether it ends as a WebSocket: what follows is no request.
    fn upgrades(&self) -> bool {
        self.statuses.last() == Some(&101)
    }
}

/// What becomes of a connection that gets these pieces, and the very bytes of the answers.
fn outcome(b: &mut Bench, pieces: &[&[u8]], wants_100: bool) -> (Verdict, String) {
    let conn = b.open();
    for piece in pieces {
        b.give(conn, piece);
    }
    let answers = timeless(&b.bytes(conn), wants_100);
    let verdict = Verdict { statuses: statuses(&answers), end: end(b, conn) };
    if !b.is_closed(conn) {
        b.cut(conn);
    }
    (verdict, answers)
}

/// Without what depends on when they were given.
fn timeless(answers: &[u8], keep_100: bool) -> String {
    let text = core::str::from_utf8(answers).unwrap();
    let text: String = text.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect();
    if keep_100 { text } else { text.replace("HTTP/1.1 100 Continue\r\n\r\n", "") }
}

/// The status of each answer; those to a `HEAD` are found by there being nothing behind them, or the next one.
fn statuses(answers: &str) -> Vec<u16> {
    let (mut rest, mut found) = (answers, Vec::new());
    while !rest.is_empty() {
        let status = rest.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3)).and_then(|code| code.parse().ok());
        found.push(status.unwrap_or_else(|| panic!("no answer: {rest:?} in {answers:?}")));
        let (head, after) = rest.split_once("\r\n\r\n").unwrap();
        let length =
            head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).map_or(0, |n| n.parse().unwrap());
        let bodiless = after.is_empty() || after.starts_with("HTTP/1.1 ");
        rest = if bodiless { after } else { &after[length..] };
    }
    found
}

/// What a connection is in the middle of: when no more comes, only one that has begun a request is told that it is
/// late.
fn end(b: &mut Bench, conn: ConnKey) -> End {
    if b.is_shut(conn) || b.is_closed(conn) {
        return End::Close;
    }
    let Limits { head_ms, body_ms, .. } = *b.engine.limits();
    b.advance(head_ms.max(body_ms));
    match statuses(&timeless(&b.bytes(conn), true))[..] {
        [] => End::Open,
        [408] => End::Waits,
        ref other => panic!("{other:?} to silence"),
    }
}

/// The ways of cutting: whole, in two at every byte, byte by byte. Not within the first bytes, which are another
/// request's.
pub(super) fn cuts(bytes: &[u8], from: usize) -> impl Iterator<Item = Vec<&[u8]>> {
    let in_two = (from..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]);
    let one_by_one = bytes.chunks(1).collect();
    core::iter::once(vec![bytes]).chain(in_two).chain(core::iter::once(one_by_one))
}

/// Whether the verdict and the answers are the same however the bytes are cut; if not, where.
fn judge(b: &mut Bench, (bytes, from): (&[u8], usize), expected: &Verdict) -> Result<(), String> {
    let wants_100 = expected.statuses.contains(&100);
    let mut first = None;
    for pieces in cuts(bytes, from) {
        let (found, answers) = outcome(b, &pieces, wants_100);
        let first = first.get_or_insert_with(|| answers.clone());
        if found != *expected || answers != *first {
            let pieces: Vec<_> = pieces.iter().map(|piece| String::from_utf8_lossy(piece)).collect();
            return Err(format!("{found:?} where {expected:?} is right: {answers:?} to {pieces:?}"));
        }
    }
    Ok(())
}

/// Runs a case by itself, behind a good request, and before one.
fn run(case: &Case) -> Result<(), String> {
    let mut b = bench();
    let good = expanded(GOOD, WORDS);
    let expected = Verdict::read(case.verdict);
    judge(&mut b, (&case.bytes, 0), &expected).map_err(|error| format!("{}: {error}", case.name))?;
    let behind = [&good[..], &case.bytes].concat();
    let verdict = expected.behind_good();
    judge(&mut b, (&behind, good.len()), &verdict).map_err(|error| format!("{}, behind: {error}", case.name))?;
    // Of a request that is under way it could be a part.
    if expected.end != End::Waits && !expected.upgrades() {
        let before = [&case.bytes[..], &good].concat();
        let verdict = expected.before_good();
        judge(&mut b, (&before, 0), &verdict).map_err(|error| format!("{}, before: {error}", case.name))?;
    }
    assert_eq!(b.engine.census().connections, 0);
    // What is not answered has not come to an end, and so does not end a poll.
    if expected.end != End::Waits && !expected.statuses.is_empty() {
        judge_behind_a_poll(&case.bytes, &expected)
            .map_err(|error| format!("{}, behind a poll: {error}", case.name))?;
    }
    Ok(())
}

/// Runs a case on a connection on which a poll is held: that ends, is answered first, and changes nothing else.
fn judge_behind_a_poll(bytes: &[u8], expected: &Verdict) -> Result<(), String> {
    let mut b = bench_with(|setup| setup.broker.max_interval_ms = 1_000_000);
    let hello = b.post(&Post::new(r#"{"channel":"/meta/handshake"}"#)).json();
    let connect = Post::json(&json!({"channel": "/meta/connect", "clientId": hello[0]["clientId"], "id": "c"}));
    assert_eq!(b.post(&connect).status, 200, "the first connect is not held");
    let connect = connect.bytes();
    let middle = bytes.len() / 2;
    let ones: Vec<&[u8]> = bytes.chunks(1).collect();
    for pieces in [vec![bytes], vec![&bytes[..middle], &bytes[middle..]], ones] {
        let held = [&connect[..]].into_iter().chain(pieces.iter().copied()).collect::<Vec<_>>();
        let (found, answers) = outcome(&mut b, &held, false);
        let first = answers.split_once("\r\n\r\n").map(|(_, rest)| rest);
        let is_poll = first.is_some_and(|body| body.starts_with(r#"[{"channel":"/meta/connect","#));
        if found != expected.behind_good() || !is_poll {
            return Err(format!("{found:?}: {answers:?}, in {} pieces", pieces.len()));
        }
    }
    Ok(())
}

/// The tables, apart so that they run side by side.
const FRAMING: &str = include_str!("framing.txt");
const HEADS: &str = include_str!("heads.txt");
const TARGETS: &str = include_str!("targets.txt");
const REQUESTS: &str = include_str!("requests.txt");

fn run_all(table: &'static str) {
    let wrong: Vec<String> = cases(table, WORDS).iter().filter_map(|case| run(case).err()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn where_a_body_ends() {
    run_all(FRAMING);
}

#[test]
fn lines_and_fields() {
    run_all(HEADS);
}

#[test]
fn targets_hosts_methods_and_versions() {
    run_all(TARGETS);
}

#[test]
fn what_is_asked_for() {
    run_all(REQUESTS);
}

#[test]
fn there_are_enough_cases() {
    let count: usize = [FRAMING, HEADS, TARGETS, REQUESTS].iter().map(|table| cases(table, WORDS).len()).sum();
    assert!(count >= 300, "{count}");
}

/// Makes a request of a size; the largest that is taken, and the status of larger ones.
type Graded = (fn(usize) -> String, usize, u16);

/// The limits as they are by default, which are too large for a cut at every byte: whole, cut near the end, and in
/// pieces as a network has them.
#[test]
fn limits_by_default() {
    let head = |fields: usize| {
        let lines = format!("a:{}\r\n", "b".repeat(996)).repeat(fields / 1_000);
        let rest = format!("a:{}\r\n", "b".repeat(fields % 1_000 - 4));
        format!("GET /health HTTP/1.1\r\nHost: h\r\n{lines}{rest}\r\n")
    };
    let head_is_left = Limits::default().head_bytes - "GET /health HTTP/1.1\r\nHost: h\r\n\r\n".len();
    let body = |bytes: usize| {
        let spaces = " ".repeat(bytes - 2);
        format!("POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Length: {bytes}\r\n\r\n[{spaces}]")
    };
    let chunks = |bytes: usize| {
        let (spaces, rest) = (" ".repeat(bytes / 2 - 1), " ".repeat(bytes - bytes / 2 - 1));
        let (first, second) = (bytes / 2, bytes - bytes / 2);
        let head = "POST /cometd HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        format!("{head}{first:x}\r\n[{spaces}\r\n{second:x}\r\n{rest}]\r\n0\r\n\r\n")
    };
    let target = |line: usize| format!("GET /health?{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(line - 21));
    let field = |line: usize| format!("GET /health HTTP/1.1\r\nHost: h\r\na:{}\r\n\r\n", "b".repeat(line - 2));
    let sized: [Graded; 5] = [
        (target, Limits::default().line_bytes, 414),
        (field, Limits::default().line_bytes, 431),
        (head, head_is_left, 431),
        (body, Limits::default().body_bytes, 413),
        (chunks, Limits::default().body_bytes, 413),
    ];
    let mut b = Bench::new();
    for (request, limit, refusal) in sized {
        for (size, status) in [(limit - 1, 200), (limit, 200), (limit + 1, refusal)] {
            let bytes = request(size).into_bytes();
            let expected = Verdict { statuses: vec![status], end: if status == 200 { End::Open } else { End::Close } };
            let near_the_end = (bytes.len() - 20..=bytes.len()).map(|at| vec![&bytes[..at], &bytes[at..]]);
            let pieces = [bytes.len() / 2_000 + 1, 1_000, 1_460, 65_536].map(|length| bytes.chunks(length).collect());
            for cut in near_the_end.chain(pieces) {
                let (found, answers) = outcome(&mut b, &cut, false);
                assert_eq!(found, expected, "{size} bytes in {} pieces: {answers}", cut.len());
            }
        }
    }
}
