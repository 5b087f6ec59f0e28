//! The mistakes that the simulator must find can still be made: each one's line stands in the source, once.
//!
//! `tests/mistakes/run.py` makes them and lets the simulator look; that takes half an hour and is not part of this.

use std::fs;
use std::path::Path;

#[test]
fn each_mistake_has_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    let table = read("tests/mistakes/table.txt");
    let mistakes: Vec<&str> = table.split("\n= ").skip(1).collect();
    assert!(mistakes.len() >= 62, "{}", mistakes.len());
    for mistake in mistakes {
        let part = |mark: &str| mistake.lines().find_map(|line| line.strip_prefix(mark)).unwrap_or_default();
        let (file, line, instead) = (part(": "), part("- "), part("+ "));
        assert_eq!(read(file).matches(line).count(), 1, "in {file}: {line}");
        assert!(!line.is_empty() && !instead.is_empty() && line != instead, "{mistake}");
    }
}
