//! The rules for channels: how they are read, and how they are shown.
//!
//! Owns the keys of `[[channel]]`. A fault is told with the place of the key that it is about, and the first one of a
//! table is told.

use crate::bayeux::Pattern;
use crate::broker::rules::{Keep, ReplayShape, Rule};

use super::Options;
use super::file::{self, Entry, Table};
use super::keys::{find, nearest};
use super::value::{Count, Fault, Field, Kind, Patience, Said, Shown, Size, Truth};
use super::value::{choice, echo, quoted};

const RULE: &str = "channel";
const KEEP: &str = "channel.history";
const RULE_KEYS: &str = "pattern, history, replay-shape, lazy, broadcast-to-publisher";
const KEEP_KEYS: &str = "count, bytes, age";
/// Keys of tables whose values are not repeated.
const SECRETS: &[&str] = &["secret", "token"];
const SHAPES: &[(&str, ReplayShape)] = &[("plain", ReplayShape::Plain), ("salesforce", ReplayShape::Salesforce)];
const ACCEPTED: &str = "must be a rule such as { pattern = \"/chat/**\", history = true }, or an array of rules";
const A_PATTERN: &str = "must be a channel or a pattern, such as /chat/room, /chat/* or /chat/**";
const A_HISTORY: &str = "must be true, false, or a table such as { count = 1000, bytes = \"4MiB\", age = \"24h\" }";

/// All rules.
pub(super) struct Channels;

impl Field for Channels {
    fn kind(&self) -> &'static str {
        "RULE|[RULE,…]"
    }

    fn read(&self, options: &mut Options, said: &Said<'_>) -> Result<(), Fault> {
        options.settings.broker.channels = match said {
            // As no rules are shown.
            Said::Word("none") | Said::Text("none") => Vec::new(),
            Said::Word(text) if text.trim_start().starts_with(['{', '[']) => {
                file::inline(text.trim(), ACCEPTED, rules)?
            }
            said => rules(said)?,
        };
        Ok(())
    }

    fn show(&self, options: &Options) -> Shown {
        Shown::Tables(options.settings.broker.channels.iter().map(shown).collect())
    }

    fn copy(&self, from: &Options, to: &mut Options) {
        to.settings.broker.channels = from.settings.broker.channels.clone();
    }
}

/// Reads all rules.
fn rules(said: &Said<'_>) -> Result<Vec<Rule>, Fault> {
    let tables = match said {
        Said::List(none) if none.is_empty() => &[],
        Said::Table(table) => core::slice::from_ref(table),
        Said::Tables(tables) => tables.as_slice(),
        _ => return Err(Fault::from(ACCEPTED.to_owned())),
    };
    let (mut rules, mut places): (Vec<Rule>, Vec<usize>) = (Vec::new(), Vec::new());
    for table in tables {
        let (rule, at) = rule(table)?;
        if let Some(earlier) = rules.iter().position(|earlier| earlier.pattern == rule.pattern) {
            let text = format!("{RULE}.pattern = {}: there is a rule for that already", quoted(&rule.pattern));
            return Err(Fault { text, at: Some(at), other: places.get(earlier).copied() });
        }
        rules.push(rule);
        places.push(at);
    }
    Ok(rules)
}

/// Reads one rule; with the place of its pattern.
fn rule(table: &Table<'_>) -> Result<(Rule, usize), Fault> {
    let (mut rule, mut at) = (Rule::default(), table.at);
    each(table, RULE, &mut |entry| {
        match entry.key {
            "pattern" => (rule.pattern, at) = (pattern(&entry.said)?, entry.at),
            "history" => rule.history = Some(history(&entry.said)?),
            "replay-shape" => rule.replay_shape = Some(choice(&entry.said, SHAPES, "must be plain or salesforce")?),
            "lazy" => rule.lazy = Some(Truth::read(&entry.said)?),
            "broadcast-to-publisher" => rule.broadcast_to_publisher = Some(Truth::read(&entry.said)?),
            _ => return Err(unknown(entry, RULE, RULE_KEYS)),
        }
        Ok(())
    })?;
    if rule.pattern.is_empty() {
        let text = format!("{RULE}: needs a pattern, such as pattern = \"/chat/**\"");
        return Err(Fault { text, at: Some(at), other: None });
    }
    Ok((rule, at))
}

/// Takes each entry of a table. Of several faults, the one that stands first is told, without what is a secret.
pub(super) fn each(
    table: &Table<'_>,
    path: &str,
    take: &mut dyn FnMut(&Entry<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut first: Option<Fault> = None;
    for entry in table.entries() {
        let Err(mut fault) = take(&entry) else { continue };
        if fault.at.is_none() {
            let value = if SECRETS.contains(&entry.key) { "…".to_owned() } else { echo(entry.text) };
            let text = format!("{path}.{} = {value}: {}", entry.key, fault.text);
            fault = Fault { text, at: Some(entry.at), other: None };
        }
        if first.as_ref().is_none_or(|first| fault.at < first.at) {
            first = Some(fault);
        }
    }
    first.map_or(Ok(()), Err)
}

/// What to say of a key that no rule has.
fn unknown(entry: &Entry<'_>, path: &str, known: &'static str) -> Fault {
    let help = match nearest(entry.key, &mut known.split(", ")) {
        _ if find(entry.key).is_some() => {
            format!("{} is no part of a rule; in a file, it stands above the first [[channel]]", entry.key)
        }
        Some(near) => format!("did you mean {near}?"),
        None => format!("known are {known}"),
    };
    let text = format!("unknown key {path}.{}: {help}", echo(entry.key));
    Fault { text, at: Some(entry.at), other: None }
}

fn pattern(said: &Said<'_>) -> Result<String, String> {
    let Said::Text(text) = said else { return Err(format!("{A_PATTERN}, in quotes")) };
    match Pattern::parse(text) {
        Ok(pattern) if pattern.is_meta() || pattern.is_service() => {
            Err(format!("{A_PATTERN}; no rules hold for /meta and /service"))
        }
        Ok(_) => Ok((*text).to_owned()),
        Err(_) => Err(A_PATTERN.to_owned()),
    }
}

/// Reads what is kept, if anything is.
fn history(said: &Said<'_>) -> Result<Option<Keep>, Fault> {
    match said {
        Said::Truth(false) => Ok(None),
        Said::Truth(true) => Ok(Some(Keep::default())),
        Said::Table(table) => keep(table).map(Some),
        _ => Err(Fault::from(A_HISTORY.to_owned())),
    }
}

fn keep(table: &Table<'_>) -> Result<Keep, Fault> {
    let mut keep = Keep::default();
    each(table, KEEP, &mut |entry| {
        match entry.key {
            "count" => keep.count = Count::read(&entry.said)?,
            "bytes" => keep.bytes = Size::read(&entry.said)?,
            "age" => keep.age_ms = Patience::read(&entry.said)?,
            _ => return Err(unknown(entry, KEEP, KEEP_KEYS)),
        }
        Ok(())
    })?;
    Ok(keep)
}

/// One rule as an inline table.
fn shown(rule: &Rule) -> String {
    let history = match rule.history {
        None => String::new(),
        Some(None) => ", history = false".to_owned(),
        Some(Some(Keep { count, bytes, age_ms })) => {
            let (bytes, age) = (Size::show(&bytes).plain(), Patience::show(&age_ms).plain());
            format!(", history = {{ count = {count}, bytes = \"{bytes}\", age = \"{age}\" }}")
        }
    };
    let shape = match rule.replay_shape {
        None => "",
        Some(ReplayShape::Plain) => ", replay-shape = \"plain\"",
        Some(ReplayShape::Salesforce) => ", replay-shape = \"salesforce\"",
    };
    let truth = |name, said: Option<bool>| said.map_or_else(String::new, |said| format!(", {name} = {said}"));
    let (lazy, to_publisher) = (truth("lazy", rule.lazy), truth("broadcast-to-publisher", rule.broadcast_to_publisher));
    format!("{{ pattern = {}{history}{shape}{lazy}{to_publisher} }}", quoted(&rule.pattern))
}
