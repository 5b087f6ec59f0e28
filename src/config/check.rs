//! What `encke check` prints: the configuration in force, as a file that would give the same.

use super::{Config, KEYS, Source};

/// Columns up to which comments are aligned; behind a longer line its comment follows at once.
const ALIGNED: usize = 110;

impl Config {
    /// One line for each key: its value, and where that comes from. What takes more lines has its comment on the first.
    pub fn text(&self) -> String {
        let lines: Vec<String> = (0..KEYS.len()).map(|key| self.assignment(key)).collect();
        let heads = || lines.iter().map(|line| head(line).0);
        let widths = heads().map(|line| line.chars().count()).filter(|width| *width <= ALIGNED);
        let width = widths.max().unwrap_or_default();
        let comments = (0..KEYS.len()).map(|key| self.comment(key));
        let commented = lines.iter().zip(comments).map(|(line, comment)| {
            let (head, rest) = head(line);
            format!("{head:<width$} # {comment}{rest}\n")
        });
        commented.collect()
    }

    fn assignment(&self, key: usize) -> String {
        let name = KEYS[key].name;
        match KEYS[key].shown(&self.options).toml() {
            Some(value) => format!("{name} = {value}"),
            None => format!("# {name} = {}", self.plain(key)),
        }
    }

    fn comment(&self, key: usize) -> String {
        match self.origins[key].source {
            Source::Default => "default".to_owned(),
            Source::File(line) => format!("file, line {line}"),
            Source::Environment => format!("environment {}", KEYS[key].variable()),
            Source::Flag => "flag".to_owned(),
        }
    }
}

/// The first line, and the others with the line end before them.
fn head(text: &str) -> (&str, &str) {
    text.split_at(text.find('\n').unwrap_or(text.len()))
}
