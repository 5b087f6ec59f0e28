//! The table of keys.
//!
//! Owns the names, the order and the meaning of everything that can be set. Reading, showing, comparing, the help and
//! what is tested all come from this one table.

use core::fmt;

use super::Options;
use super::auth::Authenticating;
use super::channel::Channels;
use super::value::{
    At, Count, Field, File, Fitted, Host, Limit, List, Mode, Mount, Origin, Patience, PerSecond, Place, Proxy,
};
use super::value::{Secret, Shown, Size, Spill, Time, Transport, Truth};

/// One thing that can be set.
pub struct Key {
    /// In kebab case, as CometD calls it where it has the same.
    pub name: &'static str,
    /// One line.
    pub help: &'static str,
    /// Whether a change takes effect while the server runs.
    pub live: bool,
    /// Whether it is about the sockets to listen on, which systemd may have opened.
    pub(super) of_sockets: bool,
    /// The default in words, where it is not one value.
    words: Option<&'static str>,
    pub(super) field: &'static dyn Field,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

impl Key {
    const fn new(name: &'static str, help: &'static str, field: &'static dyn Field) -> Self {
        Self { name, help, live: true, of_sockets: false, words: None, field }
    }

    const fn at_start_only(self) -> Self {
        Self { live: false, ..self }
    }

    const fn of_sockets(self) -> Self {
        Self { live: false, of_sockets: true, ..self }
    }

    const fn by_default(self, words: &'static str) -> Self {
        Self { words: Some(words), ..self }
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("ENCKE_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// The kind of its value, for the help.
    pub fn kind(&self) -> &'static str {
        self.field.kind()
    }

    /// The default, as it stands on the command line, or in words.
    pub fn default(&self) -> String {
        self.words.map_or_else(|| self.shown(&Options::default()).plain(), str::to_owned)
    }

    /// Its value.
    pub fn shown(&self, options: &Options) -> Shown {
        self.field.show(options)
    }
}

/// A field of [`Options`] by its path.
macro_rules! at {
    ($kind:ty, $($path:ident).+) => {
        &At::<$kind> { get: |options| &options.$($path).+, get_mut: |options| &mut options.$($path).+ }
    };
}

/// All keys, in the order of the help. Not a constant: the table and all its code would be in each crate that names it.
#[rustfmt::skip]
pub static KEYS: &[Key] = &[
    Key::new("listen", "where to listen; port 0 takes any free port", at!(List<Place>, listen)).of_sockets(),
    Key::new("backlog", "connections waiting to be accepted", at!(Count, backlog)).of_sockets(),
    Key::new("socket-mode", "permissions of Unix sockets", at!(Mode, socket_mode)).of_sockets(),
    Key::new("tls-certificate", "PEM file of the certificate and its chain", at!(File, tls_certificate)),
    Key::new("tls-key", "PEM file of its key", at!(File, tls_key)),
    Key::new("mount", "path of the Bayeux endpoint; all below it is the endpoint too", at!(Mount, mount))
        .at_start_only(),
    Key::new("demo", "serve a page that shows the server at work", at!(Truth, settings.demo))
        .by_default("true, with a file false"),

    Key::new("transports", "connection types to offer, best first",
        at!(List<Transport>, settings.broker.transports)).by_default("all but callback-polling, iframe"),
    Key::new("timeout", "how long a connect is held without an event", at!(Time, settings.broker.timeout_ms)),
    Key::new("interval", "how long clients wait between connects (some read it as seconds)",
        at!(Time, settings.broker.interval_ms)),
    Key::new("max-interval", "how long a session outlives its last connect, beyond interval",
        at!(Time, settings.broker.max_interval_ms)),
    Key::new("max-activity", "how long a session lives without events or messages; 0 for ever",
        at!(Time, settings.broker.max_activity_ms)),
    Key::new("max-sessions-per-browser", "sessions of one browser that may hold a connect at once",
        at!(Limit, settings.broker.max_sessions_per_browser)),
    Key::new("multi-session-interval", "the interval advised to sessions of a browser beyond that",
        at!(Time, settings.broker.multi_session_interval_ms)),
    Key::new("require-browser-cookie", "refuse requests without the BAYEUX_BROWSER cookie",
        at!(Truth, settings.broker.require_browser_cookie)),
    Key::new("timestamp", "put a timestamp into events and replies", at!(Truth, settings.broker.timestamps)),
    Key::new("message-delivery-during-handshake", "tell with a handshake how many events follow",
        at!(Truth, settings.broker.delivery_during_handshake)),

    Key::new("ping-interval", "silence of a WebSocket before it is pinged; 0 for never",
        at!(Time, settings.limits.ping_ms)),
    Key::new("max-stream-age", "how long a stream stays open before its client opens the next",
        at!(Patience, settings.limits.stream_ms)),
    Key::new("heartbeat-interval", "silence of a stream before it shows that it is alive",
        at!(Patience, settings.limits.heartbeat_ms)),
    Key::new("probe-timeout", "for a client to confirm that a stream gets through; 0 to trust",
        at!(Time, settings.limits.confirm_ms)),

    Key::new("channel", "what holds for channels: {pattern = \"/chat/**\", history = true}, …", &Channels),
    Key::new("max-lazy-timeout", "how long an event of a lazy channel waits at most",
        at!(Time, settings.broker.max_lazy_ms)),
    Key::new("max-history-size", "bytes of events kept for all channels together",
        at!(Size, settings.limits.history_bytes)),
    Key::new("max-history-channels", "channels of which events are kept",
        at!(Count, settings.limits.history_channels)),

    Key::new("allowed-hosts", "hosts that are answered for: comet.example, *.example; none for all",
        at!(List<Host>, settings.allowed_hosts)),
    Key::new("allowed-origins", "sites whose pages may use it, such as https://app.example; or *",
        at!(List<Origin>, settings.allowed_origins)),
    Key::new("trusted-proxies", "whose X-Forwarded-* are believed: addresses, networks",
        at!(List<Proxy>, settings.trusted_proxies)),

    Key::new("auth", "who may do what, by tokens: [auth] in a file; none for all",
        &Authenticating),
    Key::new("http-api", "let programs publish with POST /publish/CHANNEL", at!(Truth, settings.http_api)),
    Key::new("http-token", "what they need for that; without, only this machine may",
        at!(Secret, settings.http_token)),

    Key::new("shutdown-timeout", "how long clients get to leave when it ends", at!(Time, settings.shutdown_ms)),
    Key::new("max-message-size", "the largest request body", at!(Size, settings.limits.body_bytes)),
    Key::new("max-batch", "messages in one request", at!(Count, settings.limits.batch_messages)),
    Key::new("max-subscriptions", "subscriptions of one session", at!(Count, settings.limits.subscriptions)),
    Key::new("max-subscribed-bytes", "memory for all subscriptions", at!(Size, settings.limits.subscribed_bytes)),
    Key::new("max-queue", "events waiting for one session before overflow",
        at!(Count, settings.limits.outbox_events)),
    Key::new("max-queue-size", "bytes of events waiting for one session before overflow",
        at!(Size, settings.limits.outbox_bytes)),
    Key::new("overflow", "what a session loses then: itself, or its oldest events",
        at!(Spill, settings.broker.overflow)),
    Key::new("max-queued-bytes", "for all that waits for clients, one half of it for events",
        at!(Size, settings.limits.queued_bytes)),
    Key::new("max-sessions", "sessions before handshakes are refused", at!(Count, settings.limits.sessions)),
    Key::new("handshake-rate", "sessions of one address, a second / at once; not loopback",
        at!(PerSecond, settings.broker.handshake_rate)),
    Key::new("max-connections", "connections; beyond them it is 503", at!(Fitted, max_connections))
        .by_default("what the limit of open files leaves"),
    Key::new("max-head-size", "the largest request head", at!(Size, settings.limits.head_bytes)),
    Key::new("head-timeout", "for a request head to arrive; for the first, from the start", at!(Patience, settings.limits.head_ms)),
    Key::new("body-timeout", "for a request body to arrive", at!(Patience, settings.limits.body_ms)),
    Key::new("idle-timeout", "for a connection between two requests", at!(Patience, settings.limits.idle_ms)),
    Key::new("write-timeout", "for a client to take 4 KiB of its answer, or the rest", at!(Patience, settings.limits.write_ms)),
];

/// Headings of the help, each with the key that it stands above.
const HEADINGS: &[(&str, &str)] = &[
    ("listen", "Where it listens:"),
    ("transports", "Sessions:"),
    ("channel", "Channels:"),
    ("allowed-hosts", "Who is let in:"),
    ("shutdown-timeout", "Bounds:"),
];

/// The place of a key in the table.
pub(super) fn find(name: &str) -> Option<usize> {
    KEYS.iter().position(|key| key.name == name)
}

/// The place of a key that the code knows by its name: of one that is not in the table, it does not compile.
macro_rules! key {
    ($name:literal) => {{
        const PLACE: usize = $crate::config::keys::place($name);
        PLACE
    }};
}
pub(super) use key;

/// See [`key!`].
pub(super) const fn place(name: &str) -> usize {
    let mut at = 0;
    while at < KEYS.len() {
        if is_same(KEYS[at].name.as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("there is no such key")
}

/// Whether two texts are the same; `==` is not for constants.
const fn is_same(mut a: &[u8], mut b: &[u8]) -> bool {
    while let ([first, rest @ ..], [other, others @ ..]) = (a, b) {
        if *first != *other {
            return false;
        }
        (a, b) = (rest, others);
    }
    a.is_empty() && b.is_empty()
}

/// The table for `--help`.
pub fn help() -> String {
    let mut text = String::new();
    for key in KEYS {
        if let Some((_, heading)) = HEADINGS.iter().find(|(above, _)| *above == key.name) {
            text.push_str(&format!("\n{heading}\n"));
        }
        let left = format!("--{} {}", key.name, key.kind());
        text.push_str(&format!("  {left:<43} {} [{}]\n", key.help, key.default()));
    }
    text
}

/// The key that an unknown name is most likely meant to be. Names in camel case, in snake case or in capitals are
/// understood.
pub fn meant(name: &str) -> Option<&'static str> {
    nearest(name, &mut KEYS.iter().map(|key| key.name))
}

/// The one of some names that an unknown one is most likely meant to be.
pub(super) fn nearest(name: &str, names: &mut dyn Iterator<Item = &'static str>) -> Option<&'static str> {
    let mut kebab = String::new();
    let shouted = !name.contains(|c: char| c.is_ascii_lowercase());
    for c in name.chars() {
        match c {
            '_' => kebab.push('-'),
            c if c.is_ascii_uppercase() && !shouted => kebab.extend(['-', c.to_ascii_lowercase()]),
            c => kebab.push(c.to_ascii_lowercase()),
        }
    }
    let edits = (kebab.len() / 3).clamp(1, 3);
    let near = names.map(|name| (distance(&kebab, name), name)).min();
    near.filter(|(far, _)| *far <= edits).map(|(_, name)| name)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_headings_stand_above_one() {
        for (at, key) in KEYS.iter().enumerate() {
            assert_eq!((find(key.name), place(key.name)), (Some(at), at));
        }
        assert!(HEADINGS.iter().all(|(above, _)| find(above).is_some()));
        for heading in HEADINGS {
            assert!(help().contains(heading.1));
        }
        assert!(help().lines().all(|line| line.chars().count() <= 120), "{}", help());
    }

    #[test]
    fn a_near_miss_is_understood() {
        for (name, key) in [
            ("time-out", Some("timeout")),
            ("TIME_OUT", Some("timeout")),
            ("maxInterval", Some("max-interval")),
            ("maxSessionsPerBrowser", Some("max-sessions-per-browser")),
            ("max_queue", Some("max-queue")),
            ("listne", Some("listen")),
            ("tls", None),
            ("frobnicate-all", None),
            ("", None),
        ] {
            assert_eq!(meant(name), key, "{name}");
        }
    }
}
