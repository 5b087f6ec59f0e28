//! The kinds of values: how each is read, and how it is shown.
//!
//! Owns what is accepted. A value reads the same whether it comes from the command line, from the environment or from a
//! string in a file; what is shown is always in a form that is accepted. Rules for channels have a file of their own.

use core::marker::PhantomData;

use crate::broker::Overflow;
use crate::broker::rate::Rate;
use crate::engine::check_mount;
use crate::framing;
use crate::http::forwarded::TrustedProxies;
use crate::http::host::HostRule;
use crate::http::origin::OriginRule;
use crate::server::Listen;

use super::Options;
use super::file::Table;

/// Characters of a value that an error repeats; the rest is cut.
const ECHO_CHARS: usize = 120;
const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;
const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Units of a time with their ms, the largest first.
const TIME_UNITS: &[(&str, u64)] = &[("h", HOUR_MS), ("m", MINUTE_MS), ("s", SECOND_MS), ("ms", 1)];
/// The longest time, in hours.
const MOST_HOURS: u64 = u32::MAX as u64 / HOUR_MS;
/// Units of a size with their bytes, the largest first.
const SIZE_UNITS: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
/// The permissions that a socket can have.
const MODE_BITS: u32 = 0o777;

/// A value as an operator has said it.
#[derive(Clone, Debug)]
pub(super) enum Said<'a> {
    /// A word of the command line or of the environment: whatever it is meant to be.
    Word(&'a str),
    /// A string in a file.
    Text(&'a str),
    /// A whole number in a file; `None` if it is negative or beyond all bounds.
    Whole(Option<u64>),
    /// `true` or `false` in a file.
    Truth(bool),
    /// An array of strings in a file.
    List(Vec<&'a str>),
    /// A table in a file.
    Table(Table<'a>),
    /// An array of tables in a file.
    Tables(Vec<Table<'a>>),
    /// Anything else in a file.
    Other,
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What is accepted; or, of a table, what is wrong within it.
    pub(super) text: String,
    /// Where that stands within a table, as a byte of the file.
    pub(super) at: Option<usize>,
    /// Where else to look, as a byte of the file.
    pub(super) other: Option<usize>,
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self { text, at: None, other: None }
    }
}

/// A value to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// There is none.
    Unset,
    /// There is one, which is a secret: to be compared, never to be printed.
    Hidden(String),
    /// Something with secrets in it: in a few words, and all of it, to be compared and never to be printed.
    Described(String, String),
    /// A string.
    Text(String),
    /// A number or a truth.
    Bare(String),
    /// Strings.
    List(Vec<String>),
    /// Inline tables.
    Tables(Vec<String>),
}

impl Shown {
    /// As it stands in a file; `None` if there is no value. Tables take a line each if there are several.
    pub fn toml(&self) -> Option<String> {
        match self {
            Self::Unset | Self::Hidden(_) => None,
            // No table, so that it is not taken for one: what is left out must not be missing unnoticed.
            Self::Described(text, _) => Some(quoted(&format!("not shown: {text}"))),
            Self::Text(text) => Some(quoted(text)),
            Self::Bare(text) => Some(text.clone()),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
                Some(format!("[{}]", joined(&items, ", ")))
            }
            Self::Tables(tables) if tables.len() > 1 => Some(format!("[\n    {},\n]", joined(tables, ",\n    "))),
            Self::Tables(tables) => Some(format!("[{}]", joined(tables, ", "))),
        }
    }

    /// As it stands on the command line; a list without items is `none`.
    pub fn plain(&self) -> String {
        match self {
            Self::Unset => "unset".to_owned(),
            Self::Hidden(_) => "a secret".to_owned(),
            Self::Text(text) | Self::Bare(text) | Self::Described(text, _) => text.clone(),
            Self::List(items) | Self::Tables(items) if items.is_empty() => "none".to_owned(),
            Self::List(items) => joined(items, ","),
            Self::Tables(tables) => format!("[{}]", joined(tables, ", ")),
        }
    }
}

/// Texts with something between them. One loop for all: that of `join` is made large to be fast.
fn joined(texts: &[String], between: &str) -> String {
    let mut all = String::new();
    for (at, text) in texts.iter().enumerate() {
        all.push_str(if at == 0 { "" } else { between });
        all.push_str(text);
    }
    all
}

/// A basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Somebody's text for an error: on one line, and not too long.
pub(super) fn echo(text: &str) -> String {
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let mut line = String::new();
    for (at, c) in text.chars().enumerate() {
        match c {
            _ if at == ECHO_CHARS => return line + "…",
            '\n' | '\r' | '\t' => line.push(' '),
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// A kind of value.
pub(super) trait Kind: 'static {
    /// What it is read into.
    type Value: Clone;
    /// For the help, such as `TIME`.
    const NAME: &'static str;

    /// Reads a value.
    ///
    /// # Errors
    /// What is accepted.
    fn read(said: &Said<'_>) -> Result<Self::Value, String>;

    /// Shows a value as it is accepted.
    fn show(value: &Self::Value) -> Shown;
}

/// One field of [`Options`] without its type.
pub(super) trait Field: Sync {
    /// The kind of its value, for the help.
    fn kind(&self) -> &'static str;
    /// Reads its value; on an error nothing has changed.
    ///
    /// # Errors
    /// What is accepted.
    fn read(&self, options: &mut Options, said: &Said<'_>) -> Result<(), Fault>;
    /// Shows its value.
    fn show(&self, options: &Options) -> Shown;
    /// Takes its value from elsewhere.
    fn copy(&self, from: &Options, to: &mut Options);
}

/// A field of [`Options`] and the kind of its value.
pub(super) struct At<K: Kind> {
    pub(super) get: fn(&Options) -> &K::Value,
    pub(super) get_mut: fn(&mut Options) -> &mut K::Value,
}

impl<K: Kind> Field for At<K> {
    fn kind(&self) -> &'static str {
        K::NAME
    }

    fn read(&self, options: &mut Options, said: &Said<'_>) -> Result<(), Fault> {
        *(self.get_mut)(options) = K::read(said)?;
        Ok(())
    }

    fn show(&self, options: &Options) -> Shown {
        K::show((self.get)(options))
    }

    fn copy(&self, from: &Options, to: &mut Options) {
        (self.get)(from).clone_into((self.get_mut)(to));
    }
}

/// The text of something that is a string in a file, or what is accepted.
pub(super) fn text<'a>(said: &Said<'a>, accepted: &str) -> Result<&'a str, String> {
    match said {
        Said::Word(text) | Said::Text(text) => Ok(text),
        _ => Err(format!("{accepted}, in quotes")),
    }
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// A number with one of these units behind it, multiplied; `u64::MAX` if it is more.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some(number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(*factor))
}

/// A number in the largest unit that leaves no rest.
fn unscaled(number: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().find(|(_, factor)| number.is_multiple_of(*factor));
    whole.map_or_else(|| number.to_string(), |(unit, factor)| format!("{}{unit}", number / factor))
}

/// Milliseconds, or what is accepted.
fn milliseconds(said: &Said<'_>, accepted: &str) -> Result<u32, String> {
    let text = if matches!(said, Said::Whole(Some(0))) { "0" } else { text(said, accepted)? };
    let ms = if text == "0" { Some(0) } else { scaled(text, TIME_UNITS) };
    let ms = ms.ok_or_else(|| accepted.to_owned())?;
    u32::try_from(ms).map_err(|_| format!("{accepted}, and at most {MOST_HOURS}h"))
}

/// A time, ms; may be 0.
pub(super) struct Time;

impl Kind for Time {
    type Value = u32;
    const NAME: &'static str = "TIME";

    fn read(said: &Said<'_>) -> Result<u32, String> {
        milliseconds(said, "must be a time such as 500ms, 30s, 5m, 24h or 0")
    }

    fn show(value: &u32) -> Shown {
        Shown::Text(if *value == 0 { "0".to_owned() } else { unscaled(u64::from(*value), TIME_UNITS) })
    }
}

/// The bound of a wait, ms; never 0, which would end every wait at once.
pub(super) struct Patience;

impl Kind for Patience {
    type Value = u64;
    const NAME: &'static str = "TIME";

    fn read(said: &Said<'_>) -> Result<u64, String> {
        let accepted = "must be a time such as 500ms, 30s, 5m or 24h, and not 0";
        let ms = milliseconds(said, accepted)?;
        if ms > 0 { Ok(u64::from(ms)) } else { Err(accepted.to_owned()) }
    }

    fn show(value: &u64) -> Shown {
        Shown::Text(unscaled(*value, TIME_UNITS))
    }
}

/// A number of bytes, from 1.
pub(super) struct Size;

impl Kind for Size {
    type Value = usize;
    const NAME: &'static str = "SIZE";

    fn read(said: &Said<'_>) -> Result<usize, String> {
        let accepted = "must be a size such as 512B, 64KiB or 1MiB";
        let bytes = scaled(text(said, accepted)?, SIZE_UNITS).filter(|bytes| (1..u64::MAX).contains(bytes));
        bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| accepted.to_owned())
    }

    fn show(value: &usize) -> Shown {
        Shown::Text(unscaled(*value as u64, SIZE_UNITS))
    }
}

/// A whole number from 1, or what is accepted.
fn whole(said: &Said<'_>, accepted: &str) -> Result<u32, String> {
    let number = match said {
        Said::Word(text) | Said::Text(text) => digits(text),
        Said::Whole(number) => *number,
        _ => None,
    };
    number.and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(|| accepted.to_owned())
}

/// How many, from 1.
pub(super) struct Count;

impl Kind for Count {
    type Value = usize;
    const NAME: &'static str = "COUNT";

    fn read(said: &Said<'_>) -> Result<usize, String> {
        whole(said, "must be a whole number from 1 to 4294967295").map(|n| n as usize)
    }

    fn show(value: &usize) -> Shown {
        Shown::Bare(value.to_string())
    }
}

/// How many, from 1; unless it is said, the machine decides.
pub(super) struct Fitted;

impl Kind for Fitted {
    type Value = Option<usize>;
    const NAME: &'static str = Count::NAME;

    fn read(said: &Said<'_>) -> Result<Option<usize>, String> {
        Count::read(said).map(Some)
    }

    fn show(value: &Option<usize>) -> Shown {
        value.as_ref().map_or(Shown::Unset, Count::show)
    }
}

/// How many, from 1, or `unlimited`.
pub(super) struct Limit;

impl Kind for Limit {
    type Value = Option<u32>;
    const NAME: &'static str = "COUNT|unlimited";

    fn read(said: &Said<'_>) -> Result<Option<u32>, String> {
        match said {
            Said::Word("unlimited") | Said::Text("unlimited") => Ok(None),
            _ => whole(said, "must be a whole number from 1 to 4294967295, or unlimited").map(Some),
        }
    }

    fn show(value: &Option<u32>) -> Shown {
        value.map_or_else(|| Shown::Text("unlimited".to_owned()), |n| Shown::Bare(n.to_string()))
    }
}

/// One of some words, or what is accepted.
pub(super) fn choice<T: Copy>(said: &Said<'_>, words: &[(&str, T)], accepted: &str) -> Result<T, String> {
    let text = text(said, accepted)?;
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| accepted.to_owned())
}

/// What becomes of a session for which too much waits.
pub(super) struct Spill;

const OVERFLOWS: &[(&str, Overflow)] = &[("disconnect", Overflow::Disconnect), ("drop-oldest", Overflow::DropOldest)];

impl Kind for Spill {
    type Value = Overflow;
    const NAME: &'static str = "disconnect|drop-oldest";

    fn read(said: &Said<'_>) -> Result<Overflow, String> {
        choice(said, OVERFLOWS, "must be disconnect or drop-oldest")
    }

    fn show(value: &Overflow) -> Shown {
        let text = match value {
            Overflow::Disconnect => "disconnect",
            Overflow::DropOldest => "drop-oldest",
        };
        Shown::Text(text.to_owned())
    }
}

/// `true` or `false`.
pub(super) struct Truth;

impl Kind for Truth {
    type Value = bool;
    const NAME: &'static str = "BOOL";

    fn read(said: &Said<'_>) -> Result<bool, String> {
        match said {
            Said::Word("true") | Said::Truth(true) => Ok(true),
            Said::Word("false") | Said::Truth(false) => Ok(false),
            Said::Text(_) => Err("must be true or false, without quotes".to_owned()),
            _ => Err("must be true or false".to_owned()),
        }
    }

    fn show(value: &bool) -> Shown {
        Shown::Bare(value.to_string())
    }
}

/// Permissions of a file, in octal.
pub(super) struct Mode;

impl Kind for Mode {
    type Value = u32;
    const NAME: &'static str = "MODE";

    fn read(said: &Said<'_>) -> Result<u32, String> {
        let accepted = "must be permissions in octal, such as 660 or 600";
        let text = text(said, accepted)?;
        let octal = digits(text).and_then(|_| u32::from_str_radix(text, 8).ok()).filter(|mode| *mode <= MODE_BITS);
        octal.filter(|_| text.len() >= 3).ok_or_else(|| accepted.to_owned())
    }

    fn show(value: &u32) -> Shown {
        Shown::Text(format!("{value:03o}"))
    }
}

/// A secret, or none. It is never shown.
pub(super) struct Secret;

impl Kind for Secret {
    type Value = Option<String>;
    const NAME: &'static str = "TOKEN";

    fn read(said: &Said<'_>) -> Result<Option<String>, String> {
        let accepted = "must be a token of at least 16 letters, digits and - . _ ~ + / =";
        let text = text(said, accepted)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let good = text.len() >= 16 && text.bytes().all(plain);
        if good { Ok(Some(text.to_owned())) } else { Err(accepted.to_owned()) }
    }

    fn show(value: &Option<String>) -> Shown {
        value.clone().map_or(Shown::Unset, Shown::Hidden)
    }
}

/// The path of a file, or none.
pub(super) struct File;

impl Kind for File {
    type Value = Option<String>;
    const NAME: &'static str = "FILE";

    fn read(said: &Said<'_>) -> Result<Option<String>, String> {
        let accepted = "must be the path of a file";
        let text = text(said, accepted)?;
        if text.is_empty() { Err(accepted.to_owned()) } else { Ok(Some(text.to_owned())) }
    }

    fn show(value: &Option<String>) -> Shown {
        value.clone().map_or(Shown::Unset, Shown::Text)
    }
}

/// The path of the endpoint.
pub(super) struct Mount;

impl Kind for Mount {
    type Value = String;
    const NAME: &'static str = "PATH";

    fn read(said: &Said<'_>) -> Result<String, String> {
        let path = text(said, "must be a path such as /cometd")?;
        check_mount(path).map(|()| path.to_owned())
    }

    fn show(value: &String) -> Shown {
        Shown::Text(value.clone())
    }
}

/// A kind of items that lists have.
pub(super) trait Item: 'static {
    /// What one is read into.
    type Value: Clone + PartialEq;
    /// A list of them, for the help.
    const NAME: &'static str;
    /// A good one.
    const EXAMPLE: &'static str;
    /// Whether a list needs one.
    const NEEDED: bool;

    /// Reads one.
    ///
    /// # Errors
    /// What is accepted.
    fn read(text: &str) -> Result<Self::Value, String>;

    /// Shows one as it is accepted.
    fn show(value: &Self::Value) -> String;

    /// Whether the same one twice in a list is no mistake.
    fn may_repeat(_value: &Self::Value) -> bool {
        false
    }
}

/// The texts of a list, or what is accepted.
fn items<'a>(said: &Said<'a>, example: &str) -> Result<Vec<&'a str>, String> {
    match said {
        // As an empty list is shown.
        Said::Word("none") | Said::Text("none") => Ok(Vec::new()),
        Said::Word(text) | Said::Text(text) => {
            Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
        }
        Said::List(items) => Ok(items.clone()),
        _ => Err(format!("must be a list of strings, such as [\"{example}\"]")),
    }
}

/// Items: separated by commas, or in a file an array of strings.
pub(super) struct List<I>(PhantomData<I>);

impl<I: Item> Kind for List<I> {
    type Value = Vec<I::Value>;
    const NAME: &'static str = I::NAME;

    fn read(said: &Said<'_>) -> Result<Vec<I::Value>, String> {
        let items = items(said, I::EXAMPLE)?;
        if items.is_empty() && I::NEEDED {
            return Err(format!("needs at least one, such as {}", I::EXAMPLE));
        }
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            let value = I::read(item)?;
            if values.contains(&value) && !I::may_repeat(&value) {
                return Err(format!("{} is in it twice", echo(item)));
            }
            values.push(value);
        }
        Ok(values)
    }

    fn show(value: &Vec<I::Value>) -> Shown {
        Shown::List(value.iter().map(I::show).collect())
    }
}

/// A place to listen.
pub(super) struct Place;

impl Item for Place {
    type Value = Listen;
    const NAME: &'static str = "[tls:]ADDR:PORT|unix:PATH,…";
    const EXAMPLE: &'static str = "127.0.0.1:8080";
    const NEEDED: bool = true;

    fn read(text: &str) -> Result<Listen, String> {
        text.parse()
    }

    fn show(value: &Listen) -> String {
        value.to_string()
    }

    fn may_repeat(value: &Listen) -> bool {
        // Each takes a port of its own.
        value.address().is_some_and(|address| address.port() == 0)
    }
}

/// A transport.
pub(super) struct Transport;

impl Item for Transport {
    type Value = &'static str;
    const NAME: &'static str = "TRANSPORT,…";
    const EXAMPLE: &'static str = "long-polling";
    const NEEDED: bool = true;

    fn read(text: &str) -> Result<&'static str, String> {
        let known = framing::TRANSPORTS.iter().find(|name| **name == text);
        known.copied().ok_or_else(|| format!("{text:?} is not a transport; known: {}", framing::TRANSPORTS.join(", ")))
    }

    fn show(value: &&'static str) -> String {
        (*value).to_owned()
    }
}

/// A kind of items that are kept as they are written; a list may be without them.
pub(super) trait Verbatim: 'static {
    /// A list of them, for the help.
    const NAME: &'static str;
    /// A good one.
    const EXAMPLE: &'static str;

    /// Whether all of these are good.
    ///
    /// # Errors
    /// What is accepted.
    fn check(items: &[String]) -> Result<(), String>;
}

impl<V: Verbatim> Item for V {
    type Value = String;
    const NAME: &'static str = V::NAME;
    const EXAMPLE: &'static str = V::EXAMPLE;
    const NEEDED: bool = false;

    fn read(text: &str) -> Result<String, String> {
        V::check(&[text.to_owned()]).map(|()| text.to_owned())
    }

    fn show(value: &String) -> String {
        value.clone()
    }
}

/// An origin whose pages may use the server.
pub(super) struct Origin;

impl Verbatim for Origin {
    const NAME: &'static str = "ORIGIN,…";
    const EXAMPLE: &'static str = "https://app.example";

    fn check(items: &[String]) -> Result<(), String> {
        OriginRule::new(items).map(drop)
    }
}

/// A host that is answered for.
pub(super) struct Host;

impl Verbatim for Host {
    const NAME: &'static str = "HOST,…";
    const EXAMPLE: &'static str = "comet.example";

    fn check(items: &[String]) -> Result<(), String> {
        HostRule::new(items).map(drop)
    }
}

/// A proxy, or a network of them.
pub(super) struct Proxy;

impl Verbatim for Proxy {
    const NAME: &'static str = "NET,…";
    const EXAMPLE: &'static str = "10.0.0.0/8";

    fn check(items: &[String]) -> Result<(), String> {
        TrustedProxies::parse(items).map(drop)
    }
}

/// How fast one address may make sessions.
pub(super) struct PerSecond;

impl Kind for PerSecond {
    type Value = Option<Rate>;
    const NAME: &'static str = "COUNT/COUNT|unlimited";

    fn read(said: &Said<'_>) -> Result<Option<Rate>, String> {
        let accepted =
            "must be how many a second and, after a slash, how many at once, such as 1000/10000, or unlimited";
        let said = text(said, accepted)?;
        if said == "unlimited" {
            return Ok(None);
        }
        let number = |text: &str| text.parse().ok().filter(|count| *count > 0);
        let parts = said.split_once('/').and_then(|(per_second, burst)| Some((number(per_second)?, number(burst)?)));
        parts.map(|(per_second, burst)| Some(Rate { per_second, burst })).ok_or_else(|| accepted.to_owned())
    }

    fn show(value: &Option<Rate>) -> Shown {
        let shown = |rate: Rate| format!("{}/{}", rate.per_second, rate.burst);
        Shown::Text(value.map_or_else(|| "unlimited".to_owned(), shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_the_largest_whole_unit_and_reads_the_same() {
        for (text, shown) in [("0", "0"), ("1000ms", "1s"), ("90s", "90s"), ("60m", "1h"), ("1500ms", "1500ms")] {
            let ms = Time::read(&Said::Word(text)).unwrap();
            assert_eq!(Time::show(&ms), Shown::Text(shown.to_owned()), "{text}");
            assert_eq!(Time::read(&Said::Text(shown)), Ok(ms));
        }
        for (text, shown) in [("1024B", "1KiB"), ("1536KiB", "1536KiB"), ("2048MiB", "2GiB"), ("1023B", "1023B")] {
            let bytes = Size::read(&Said::Word(text)).unwrap();
            assert_eq!(Size::show(&bytes), Shown::Text(shown.to_owned()), "{text}");
            assert_eq!(Size::read(&Said::Text(shown)), Ok(bytes));
        }
    }

    #[test]
    fn times_and_sizes_have_units_and_bounds() {
        assert_eq!(Time::read(&Said::Word("4294967295ms")), Ok(u32::MAX));
        let beyond = Time::read(&Said::Word("1194h")).unwrap_err();
        assert!(beyond.ends_with("at most 1193h"), "{beyond}");
        for text in ["", "s", "30", "+5s", "-5s", "5 s", "1.5s", "5S", "5d", "00"] {
            assert!(Time::read(&Said::Word(text)).is_err(), "{text}");
        }
        for text in ["", "0B", "1KB", "1K", "1", "99999999999999999999GiB", "17179869184GiB"] {
            assert!(Size::read(&Said::Word(text)).is_err(), "{text}");
        }
        assert!(Patience::read(&Said::Word("0")).is_err() && Patience::read(&Said::Whole(Some(0))).is_err());
    }

    #[test]
    fn modes_are_octal_text() {
        for (text, mode) in [("660", 0o660), ("0600", 0o600), ("000", 0), ("777", 0o777)] {
            assert_eq!(Mode::read(&Said::Text(text)), Ok(mode));
        }
        for text in ["1777", "888", "0o660", "66", "rw-", "", "+660"] {
            assert!(Mode::read(&Said::Text(text)).is_err(), "{text}");
        }
        assert!(Mode::read(&Said::Whole(Some(660))).unwrap_err().ends_with("in quotes"));
    }

    #[test]
    fn a_list_says_what_is_there_twice() {
        let read = |text| List::<Place>::read(&Said::Word(text));
        assert_eq!(read("127.0.0.1:1, [::1]:1,").unwrap().len(), 2);
        assert!(read("127.0.0.1:1,127.0.0.1:1").unwrap_err().contains("twice"));
        assert_eq!(read("127.0.0.1:0,127.0.0.1:0").unwrap().len(), 2, "each has a port of its own");
        assert!(read(" , ").unwrap_err().contains("at least one"));
        assert!(List::<Place>::read(&Said::List(vec![""])).is_err());
    }

    #[test]
    fn text_for_an_error_is_one_short_line() {
        assert_eq!(echo("a\nb\t\u{1b}[2J"), "a b \\u{1b}[2J");
        assert_eq!(echo(&"x".repeat(1_000)).chars().count(), ECHO_CHARS + 1);
        assert_eq!(quoted("a\"b\\c\u{7f}"), r#""a\"b\\c\u007F""#);
    }
}
