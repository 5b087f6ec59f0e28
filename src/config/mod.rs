//! The daemon's options.
//!
//! Owns the list of keys: name, default, meaning and how a value is read. The command line is one way in; each key reads
//! its text the same whatever way it came.

use crate::server::builder::check_mount;
use crate::server::{Builder, Listen, Server, Settings};

/// Everything that can be set, with its defaults.
#[derive(Debug)]
pub struct Options {
    listen: Vec<Listen>,
    mount: String,
    settings: Settings,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: vec![Listen::Tcp(std::net::SocketAddr::from(([127, 0, 0, 1], 8080)))],
            mount: "/cometd".to_owned(),
            settings: Settings { demo: true, ..Settings::default() },
        }
    }
}

/// One thing that can be set.
#[derive(Debug)]
pub struct OptionKey {
    /// In kebab case, as CometD calls it where it has the same.
    pub name: &'static str,
    /// The kind of value, for the help.
    pub value: &'static str,
    /// The default, for the help.
    pub default: &'static str,
    /// One line.
    pub help: &'static str,
    set: fn(&mut Options, &str) -> Result<(), String>,
}

/// All keys, in the order of the help.
pub const KEYS: &[OptionKey] = &[
    OptionKey {
        name: "listen",
        value: "ADDR:PORT,…",
        default: "127.0.0.1:8080",
        help: "addresses to listen on; port 0 takes any free port",
        set: |options, text| {
            let addresses = list(text).map(str::parse).collect::<Result<Vec<Listen>, String>>()?;
            if addresses.is_empty() {
                return Err("needs at least one address".to_owned());
            }
            options.listen = addresses;
            Ok(())
        },
    },
    OptionKey {
        name: "mount",
        value: "PATH",
        default: "/cometd",
        help: "path of the Bayeux endpoint; all below it is the endpoint too",
        set: |options, text| {
            check_mount(text)?;
            text.clone_into(&mut options.mount);
            Ok(())
        },
    },
    OptionKey {
        name: "timeout",
        value: "TIME",
        default: "30s",
        help: "how long a connect is held without an event",
        set: |options, text| milliseconds(text).map(|ms| options.settings.broker.timeout_ms = ms),
    },
    OptionKey {
        name: "interval",
        value: "TIME",
        default: "0",
        help: "how long clients are told to wait between connects (some read it as seconds)",
        set: |options, text| milliseconds(text).map(|ms| options.settings.broker.interval_ms = ms),
    },
    OptionKey {
        name: "max-interval",
        value: "TIME",
        default: "10s",
        help: "how long a session outlives its last connect, beyond interval",
        set: |options, text| milliseconds(text).map(|ms| options.settings.broker.max_interval_ms = ms),
    },
    OptionKey {
        name: "max-sessions-per-browser",
        value: "COUNT|unlimited",
        default: "4",
        help: "sessions of one browser that may hold a connect at once",
        set: |options, text| {
            options.settings.broker.max_sessions_per_browser =
                if text == "unlimited" { None } else { Some(count(text).map_err(|e| e + ", or unlimited")?) };
            Ok(())
        },
    },
    OptionKey {
        name: "multi-session-interval",
        value: "TIME",
        default: "2s",
        help: "the interval advised to sessions of a browser beyond that number",
        set: |options, text| milliseconds(text).map(|ms| options.settings.broker.multi_session_interval_ms = ms),
    },
    OptionKey {
        name: "require-browser-cookie",
        value: "BOOL",
        default: "false",
        help: "refuse requests without the BAYEUX_BROWSER cookie of their session",
        set: |options, text| boolean(text).map(|yes| options.settings.broker.require_browser_cookie = yes),
    },
    OptionKey {
        name: "allowed-origins",
        value: "ORIGIN,…",
        default: "none",
        help: "sites whose pages may use this server, such as https://app.example; or *",
        set: |options, text| {
            let origins: Vec<String> = list(text).map(str::to_owned).collect();
            crate::http::origin::OriginRule::new(&origins)?;
            options.settings.allowed_origins = origins;
            Ok(())
        },
    },
    OptionKey {
        name: "trusted-proxies",
        value: "NET,…",
        default: "loopback,unix",
        help: "whose X-Forwarded-For, -Proto and -Host are believed: addresses, networks",
        set: |options, text| {
            let proxies: Vec<String> = list(text).map(str::to_owned).collect();
            crate::http::forwarded::TrustedProxies::parse(&proxies)?;
            options.settings.trusted_proxies = proxies;
            Ok(())
        },
    },
    OptionKey {
        name: "max-message-size",
        value: "SIZE",
        default: "256KiB",
        help: "the largest request body",
        set: |options, text| bytes(text).map(|bytes| options.settings.limits.body_bytes = bytes),
    },
    OptionKey {
        name: "max-queue",
        value: "COUNT",
        default: "10000",
        help: "events waiting for one session before it is ended",
        set: |options, text| count(text).map(|n| options.settings.limits.outbox_events = n as usize),
    },
    OptionKey {
        name: "max-queue-size",
        value: "SIZE",
        default: "1MiB",
        help: "bytes of events waiting for one session before it is ended",
        set: |options, text| bytes(text).map(|bytes| options.settings.limits.outbox_bytes = bytes),
    },
    OptionKey {
        name: "max-queued-bytes",
        value: "SIZE",
        default: "256MiB",
        help: "bytes of events waiting for anyone before publishes are refused",
        set: |options, text| bytes(text).map(|bytes| options.settings.limits.queued_bytes = bytes),
    },
    OptionKey {
        name: "max-sessions",
        value: "COUNT",
        default: "1000000",
        help: "sessions before handshakes are refused",
        set: |options, text| count(text).map(|n| options.settings.limits.sessions = n as usize),
    },
    OptionKey {
        name: "max-connections",
        value: "COUNT",
        default: "what the limit of open files leaves",
        help: "open connections before accepting pauses",
        set: |options, text| count(text).map(|n| options.settings.limits.connections = n as usize),
    },
];

/// File descriptors that are not for connections: listeners, poll, waker, signals, standard streams, and a reserve.
const OTHER_FILES: u64 = 32;

impl Options {
    /// Sets one key.
    ///
    /// # Errors
    /// One line for the operator, with the key, the value and what would be right.
    pub fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
        let key = KEYS.iter().find(|key| key.name == name).ok_or_else(|| unknown(name))?;
        (key.set)(self, text).map_err(|error| format!("--{name} {text}: {error}"))
    }

    /// Keeps the number of connections below the limit of open files.
    pub fn fit_into_files(&mut self, files: u64) {
        let most = usize::try_from(files.saturating_sub(OTHER_FILES)).unwrap_or(usize::MAX).max(1);
        self.settings.limits.connections = self.settings.limits.connections.min(most);
    }

    /// How many connections may be open.
    pub fn connections(&self) -> usize {
        self.settings.limits.connections
    }

    /// A builder with these settings.
    pub fn into_builder(self) -> Builder {
        Server::builder().listen(self.listen).mount(&self.mount).settings(self.settings)
    }
}

/// The table of keys for `--help`.
pub fn help() -> String {
    let mut text = String::new();
    for key in KEYS {
        let left = format!("--{} {}", key.name, key.value);
        text.push_str(&format!("  {left:<42} {} [{}]\n", key.help, key.default));
    }
    text
}

fn unknown(name: &str) -> String {
    let near = KEYS.iter().map(|key| (distance(name, key.name), key.name)).min().filter(|(far, _)| *far <= 3);
    match near {
        Some((_, near)) => format!("unknown option --{name}: did you mean --{near}?"),
        None => format!("unknown option --{name}: see encke --help"),
    }
}

/// Edits that turn one word into the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn count(text: &str) -> Result<u32, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "must be a whole number from 1".to_owned())
}

/// A number with one of these units behind it, multiplied.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn milliseconds(text: &str) -> Result<u32, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let ms = if text == "0" { Some(0) } else { scaled(text, &units) };
    ms.and_then(|ms| u32::try_from(ms).ok()).ok_or_else(|| "must be a time such as 500ms, 30s, 5m or 0".to_owned())
}

fn bytes(text: &str) -> Result<usize, String> {
    let units = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let bytes = scaled(text, &units).and_then(|bytes| usize::try_from(bytes).ok());
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| "must be a size such as 512B, 64KiB or 1MiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_in_the_help_is_the_default() {
        let mut options = Options::default();
        let before = format!("{options:?}");
        for key in KEYS.iter().filter(|key| key.default != "none" && key.name != "max-connections") {
            options.set(key.name, key.default).unwrap();
        }
        assert_eq!(format!("{options:?}"), before);
    }

    #[test]
    fn a_bad_value_names_the_key_the_value_and_what_is_right() {
        let mut options = Options::default();
        let before = format!("{options:?}");
        for (name, text, says) in [
            ("timeout", "30", "--timeout 30: must be a time such as 500ms, 30s, 5m or 0"),
            ("timeout", "9999999h", "must be a time"),
            ("max-message-size", "1MB", "must be a size such as"),
            ("max-queue", "0", "must be a whole number from 1"),
            ("listen", "localhost", "is not an address such as"),
            ("listen", "", "needs at least one address"),
            ("mount", "cometd", "must be a path such as /cometd"),
            ("require-browser-cookie", "yes", "must be true or false"),
            ("allowed-origins", "app.example", "app.example"),
            ("trusted-proxies", "10.0.0.1/99", "10.0.0.1/99"),
            ("max-sessions-per-browser", "-1", "or unlimited"),
            ("time-out", "30s", "did you mean --timeout?"),
            ("frobnicate-all", "1", "see encke --help"),
        ] {
            let error = options.set(name, text).unwrap_err();
            assert!(error.contains(says), "{name} {text}: {error}");
        }
        assert_eq!(format!("{options:?}"), before, "a refused value changes nothing");
    }

    #[test]
    fn connections_fit_under_the_limit_of_open_files() {
        for (files, connections) in [(20_000, 19_968), (33, 1), (32, 1), (0, 1), (u64::MAX, 1_000_000)] {
            let mut options = Options::default();
            options.fit_into_files(files);
            assert_eq!(options.connections(), connections, "{files}");
        }
    }
}
