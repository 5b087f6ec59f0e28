//! The configuration file.
//!
//! Owns TOML: its types, and the line that each value stands on.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::value::{Said, echo};
use super::{Config, KEYS, Origin, Source, keys, meant};

/// Bytes of a file; far more than all keys together need.
const FILE_BYTES: u64 = 1 << 20;

/// A file that has been read.
struct Contents<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Contents<'_> {
    /// Where a byte stands.
    fn place(&self, at: usize) -> String {
        format!("{}, line {}", self.path.display(), line(self.text, at))
    }

    /// Why it is no TOML.
    fn fault(&self, error: &toml::de::Error) -> String {
        let at = error.span().map_or(0, |span| span.start);
        let source = self.text.lines().nth(line(self.text, at) - 1).unwrap_or_default().trim();
        // What else the parser would take there is more of TOML than helps.
        let message = error.message().split(", expected literal string").next().unwrap_or_default();
        format!("{}: {}: {}", self.place(at), echo(source), echo(message))
    }

    /// Sets what one line says.
    fn take(
        &self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        config: &mut Config,
    ) -> Result<(), String> {
        let (at, name) = (key.span().start, key.get_ref());
        let Some(known) = keys::find(name) else {
            return Err(format!("{}: {}", self.place(at), unknown(name, value)));
        };
        // A table's span is that of its header or of its first key: no value to repeat.
        let is_table = value.get_ref().is_table();
        let said = if is_table { "a table" } else { self.text.get(value.span()).unwrap_or_default() };
        let statement = format!("{}: {} = {}", self.place(at), KEYS[known].name, echo(said));
        let origin = Origin { source: Source::File(line(self.text, at)), statement };
        config.set(known, &meaning(value.get_ref()), origin)
    }
}

/// Reads a file into a configuration.
///
/// # Errors
/// One line for the operator: the file, the line, and what is wrong there.
pub(super) fn read(path: &Path, named_by: &str, config: &mut Config) -> Result<(), String> {
    let text = contents(path).map_err(|error| format!("{named_by} {}: cannot read it: {error}", path.display()))?;
    let file = Contents { path, text: &text };
    let table = DeTable::parse(&text).map_err(|error| file.fault(&error))?;
    // The table is not in the order of the file, in which the first fault is the one to tell. There are few rounds, for
    // each takes a key of its own and anything else is a fault.
    let mut from = 0;
    let later = |from| table.get_ref().iter().filter(move |(key, _)| key.span().start >= from);
    while let Some((key, value)) = later(from).min_by_key(|(key, _)| key.span().start) {
        file.take(key, value, config)?;
        from = key.span().end;
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
