//! The configuration file.
//!
//! Owns TOML: its types, and the line that each value stands on.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::value::{Fault, Said, echo};
use super::{Config, KEYS, Origin, Source, keys, meant};

/// Bytes of a file; far more than all keys together need, or any chain of certificates.
const FILE_BYTES: u64 = 1 << 20;

/// Keys of which a line that is no TOML is not repeated.
const SECRETS: &[&str] = &["secret", "token", "http-token"];

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
        let key = source.split('=').next().unwrap_or_default().trim();
        let source = if SECRETS.contains(&key) { key } else { source };
        format!("{}: {}: {}", self.place(at), echo(source), message(error))
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
        let statement = format!("{}: {} = {}", self.place(at), KEYS[known].name, echo(source(self.text, value)));
        let origin = Origin { source: Source::File(line(self.text, at)), statement };
        config.set(known, &meaning(self.text, value), &origin).map_err(|fault| self.told(&fault, &origin.statement))
    }

    /// Why a value is refused.
    fn told(&self, fault: &Fault, statement: &str) -> String {
        let at = fault.at.map_or_else(|| statement.to_owned(), |at| self.place(at));
        let other = fault.other.map(|other| format!(" (line {})", line(self.text, other)));
        format!("{at}: {}{}", fault.text, other.unwrap_or_default())
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

/// Reads a value that stands alone.
///
/// # Errors
/// What is accepted, if it is no TOML; or what `read` has against it.
pub(super) fn inline<T>(text: &str, accepted: &str, read: fn(&Said<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
    // As the only line of a file, which needs no parser of its own.
    let text = format!("value = {text}");
    let table = DeTable::parse(&text).map_err(|error| format!("{accepted}: {}", message(&error)))?;
    match table.get_ref().values().next() {
        Some(value) if table.get_ref().len() == 1 => read(&meaning(&text, value)),
        _ => Err(Fault::from(accepted.to_owned())),
    }
}

/// What the parser says of a fault. What else it would take there is more of TOML than helps.
fn message(error: &toml::de::Error) -> String {
    echo(error.message().split(", expected literal string").next().unwrap_or_default())
}

fn contents(path: &Path) -> Result<String, String> {
    String::from_utf8(bytes(path)?).map_err(|_| "it is not UTF-8".to_owned())
}

/// Reads a file that an operator has named.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let explained = |error: std::io::Error| error.to_string();
    let file = File::open(path).map_err(explained)?;
    let mut bytes = Vec::new();
    // One byte more shows that there are too many.
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(explained)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("it has more than {FILE_BYTES} bytes"));
    }
    Ok(bytes)
}

/// The line of a byte, from 1. An end behind the last line counts to that one.
fn line(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    line.min(text.lines().count()).max(1)
}

/// A value as it stands in the file. The span of a table is that of its header or of its first key: nothing to repeat.
fn source<'a>(text: &'a str, value: &Spanned<DeValue<'_>>) -> &'a str {
    if value.get_ref().is_table() { "a table" } else { text.get(value.span()).unwrap_or_default() }
}

/// What a value says, whatever it is for.
fn meaning<'a>(text: &'a str, value: &'a Spanned<DeValue<'_>>) -> Said<'a> {
    match value.get_ref() {
        DeValue::String(text) => Said::Text(text),
        DeValue::Boolean(truth) => Said::Truth(*truth),
        DeValue::Integer(number) => Said::Whole(u64::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Array(items) => {
            if let Some(texts) = items.iter().map(|item| item.get_ref().as_str()).collect() {
                return Said::List(texts);
            }
            let tables: Option<Vec<Table<'_>>> = items.iter().map(|item| table(text, item)).collect();
            tables.map_or(Said::Other, Said::Tables)
        }
        DeValue::Table(_) => table(text, value).map_or(Said::Other, Said::Table),
        DeValue::Float(_) | DeValue::Datetime(_) => Said::Other,
    }
}

fn table<'a>(text: &'a str, value: &'a Spanned<DeValue<'_>>) -> Option<Table<'a>> {
    Some(Table { at: value.span().start, table: value.get_ref().as_table()?, text })
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table<'a> {
    /// The byte of the file at which it begins.
    pub(super) at: usize,
    table: &'a DeTable<'a>,
    text: &'a str,
}

/// A key of a table, and its value.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// The byte of the file at which its key begins.
    pub(super) at: usize,
    pub(super) key: &'a str,
    /// Its value, as it stands in the file.
    pub(super) text: &'a str,
    pub(super) said: Said<'a>,
}

impl<'a> Table<'a> {
    /// What it says, in no order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'a>> + use<'a> {
        let text = self.text;
        self.table.iter().map(move |(key, value)| Entry {
            at: key.span().start,
            key: key.get_ref(),
            text: source(text, value),
            said: meaning(text, value),
        })
    }
}

/// What to say of a name that is no key.
fn unknown(name: &str, value: &Spanned<DeValue<'_>>) -> String {
    let is_table = value.get_ref().is_table()
        || value.get_ref().as_array().is_some_and(|items| items.iter().any(|item| item.get_ref().is_table()));
    let kind = if is_table { "table" } else { "key" };
    match meant(name) {
        Some("channel") => format!("unknown {kind} {}: did you mean [[channel]]?", echo(name)),
        Some("auth") => format!("unknown {kind} {}: did you mean [auth]?", echo(name)),
        _ if is_table => {
            let name = echo(name);
            format!(
                "unknown table {name}: all keys but [[channel]] and [auth] stand outside of tables, see encke --help"
            )
        }
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
