//! A test that reads the source: imports go downward, and nothing below `server` reaches for the outside world.
//!
//! Owns the order of the rooms. A room may use rooms of a lower rank and itself, never one of its own rank or above.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms and their ranks.
const RANKS: &[(&str, u8)] = &[
    ("limits", 0),
    ("clock", 0),
    ("arena", 0),
    ("chunk", 0),
    ("wheel", 1),
    ("http", 2),
    ("bayeux", 2),
    ("ws", 3),
    ("pages", 3),
    ("event", 3),
    ("reply", 4),
    ("framing", 5),
    ("hooks", 5),
    ("auth", 6),
    ("conn", 6),
    ("broker", 6),
    ("refusals", 7),
    ("engine", 8),
    ("server", 9),
    ("config", 10),
    ("logging", 10),
    ("lib", 11),
    ("main", 11),
];

/// From this rank on, sockets, clocks, threads and randomness are allowed.
const OUTSIDE: u8 = 9;

/// What is not allowed below. `IoSlice` from `std::io` is plain data and is.
const BANNED: &[&str] = &[
    "mio::",
    "std::net",
    "Instant::now",
    "SystemTime",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process",
    "getrandom",
    "socket2",
    "std::io::Read",
    "std::io::Write",
    "RefCell",
];

/// What the rooms below deny in all that is no test: nothing that comes from a socket may end the process.
const DENIED: &[&str] = &[
    "clippy::unwrap_used",
    "clippy::expect_used",
    "clippy::panic",
    "clippy::indexing_slicing",
    "clippy::arithmetic_side_effects",
];

/// Lines of a file above which it is no longer one room.
const FILE_LINES: usize = 800;

fn rank(room: &str) -> Option<u8> {
    RANKS.iter().find(|(name, _)| *name == room).map(|(_, rank)| *rank)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The room that a file belongs to: the first part of its path below `src`.
fn room(path: &Path, src: &Path) -> String {
    let first = path.strip_prefix(src).unwrap().components().next().unwrap();
    Path::new(first.as_os_str()).file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The rooms that a line of code names: `crate::room`, and the parts of `crate::{a, b}`.
fn rooms_named(line: &str) -> Vec<&str> {
    let mut named = Vec::new();
    for (at, found) in line.match_indices("crate::") {
        let rest = &line[at + found.len()..];
        let parts: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split(',').collect(),
            None => vec![rest],
        };
        for part in parts {
            let name = part.trim().split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
            if !name.is_empty() {
                named.push(name);
            }
        }
    }
    named
}

/// What is wrong with one line of a room, if anything.
fn fault(room: &str, line: &str) -> Option<String> {
    let own = rank(room)?;
    for named in rooms_named(line) {
        if named != room && rank(named).is_some_and(|other| other >= own) {
            return Some(format!("{room} may not use {named}"));
        }
    }
    let banned = BANNED.iter().find(|banned| own < OUTSIDE && line.contains(**banned))?;
    Some(format!("{room} may not use {banned}"))
}

/// The lines of a file that are code and not tests.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn imports_go_downward_and_the_pure_rooms_stay_pure() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut faults = Vec::new();
    let mut checked = 0;
    for path in files {
        let name = room(&path, &src);
        let is_test = path.ends_with("tests.rs") || path.components().any(|part| part.as_os_str() == "tests");
        if is_test || matches!(name.as_str(), "sim" | "layering") {
            continue;
        }
        assert!(rank(&name).is_some(), "{name} has no rank: where in the house is it?");
        let text = fs::read_to_string(&path).unwrap();
        checked += 1;
        faults.extend(code(&text).filter_map(|line| Some(format!("{}: {}", path.display(), fault(&name, line)?))));
        if text.lines().count() > FILE_LINES {
            faults.push(format!("{}: more than {FILE_LINES} lines", path.display()));
        }
    }
    assert!(checked > 30, "only {checked} files found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_rooms_below_the_outside_deny_what_panics() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (room, _) in RANKS.iter().filter(|(_, rank)| *rank < OUTSIDE) {
        let paths = [format!("{room}.rs"), format!("{room}/mod.rs")].map(|path| src.join(path));
        let text = paths.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap();
        let text: String = text.split_whitespace().collect();
        let list = text.split_once("#![cfg_attr(not(test),deny(").and_then(|(_, behind)| behind.split_once(")]"));
        for denied in DENIED {
            assert!(list.is_some_and(|(list, _)| list.contains(denied)), "{room} does not deny {denied}");
        }
    }
}

/// The library logs and leaves it to the program where that goes: only the daemon's own file may name a logger.
#[test]
fn the_library_never_sets_a_logger() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let sets = |text: &str| {
        ["env_logger", "set_logger", "set_boxed_logger", "set_max_level"].iter().any(|word| text.contains(word))
    };
    let mut found: Vec<String> = files
        .iter()
        .filter(|path| sets(&code(&fs::read_to_string(path).unwrap()).collect::<String>()))
        .map(|path| path.strip_prefix(&src).unwrap().display().to_string())
        .filter(|path| path != "layering.rs" && !path.contains("tests"))
        .collect();
    found.sort();
    assert_eq!(found, ["logging.rs"]);
    let text = fs::read_to_string(src.join("lib.rs")).unwrap();
    assert!(!code(&text).any(|line| line.contains("mod logging")), "it is the daemon's");
}

#[test]
fn an_import_turned_around_is_found() {
    assert_eq!(fault("conn", "use crate::broker::Broker;").as_deref(), Some("conn may not use broker"));
    assert_eq!(fault("broker", "    let x = crate::conn::Conn::new();").as_deref(), Some("broker may not use conn"));
    assert_eq!(fault("http", "use crate::{limits, framing::Wire};").as_deref(), Some("http may not use framing"));
    assert_eq!(fault("broker", "let t = Instant::now();").as_deref(), Some("broker may not use Instant::now"));
    assert_eq!(fault("engine", "use std::net::SocketAddr;").as_deref(), Some("engine may not use std::net"));
    assert_eq!(fault("server", "use std::net::SocketAddr;"), None);
    assert_eq!(fault("engine", "use crate::{conn::Conn, broker::Broker};"), None);
}
