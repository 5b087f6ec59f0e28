//! What an embedder or an operator sets.
//!
//! Owns the defaults, and the way from plain settings to what an engine is made of.

use crate::bayeux::Channel;
use crate::broker::rules::{Keep, Rule};
use crate::broker::{self, token::Entropy};
use crate::conn::plain::Publishing;
use crate::conn::route::Site;
use crate::hooks::Hooks;
use crate::http::forwarded::TrustedProxies;
use crate::http::host::HostRule;
use crate::http::origin::OriginRule;
use crate::limits::Limits;
use crate::pages::Pages;

use super::{Change, Parts};

/// What can be changed while a server runs. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The hosts that are answered for: `comet.example`, `comet.example:8080`, `*.example`. Empty by default: all.
    pub allowed_hosts: Vec<String>,
    /// The origins whose pages may use this server from elsewhere: `https://app.example`, or `*`. None by default.
    pub allowed_origins: Vec<String>,
    /// The addresses and networks whose `X-Forwarded-*` header fields are believed: `loopback` and `unix` by default.
    pub trusted_proxies: Vec<String>,
    /// Whether programs may publish with `POST /publish/<channel>`. Off by default.
    pub http_api: bool,
    /// The bearer token that they then need; without one they must be on this machine. None by default.
    pub http_token: Option<String>,
    /// Whether the policy alone decides who may publish so; without a policy, everybody may. Off by default.
    pub http_by_policy: bool,
    /// Whether the page at `/` is served that shows the server at work, and the last events of its chat are kept. Off by
    /// default.
    pub demo: bool,
    /// How long clients get to leave when the server is told to end. Default 10 s.
    pub shutdown_ms: u32,
    /// How sessions are treated.
    pub broker: broker::Config,
    /// Every bound.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            trusted_proxies: vec!["loopback".to_owned(), "unix".to_owned()],
            http_api: false,
            http_token: None,
            http_by_policy: false,
            demo: false,
            shutdown_ms: 10_000,
            broker: broker::Config::default(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// What an engine is told of these.
    ///
    /// # Errors
    /// A setting that is no good: what is wrong with it.
    pub fn into_change(self) -> Result<Change, String> {
        let publishing = match (self.http_api, self.http_token) {
            (false, _) => Publishing::Off,
            (true, _) if self.http_by_policy => Publishing::Policy,
            (true, None) => Publishing::Local,
            (true, Some(token)) => Publishing::Token(token),
        };
        Ok(Change {
            hosts: HostRule::new(&self.allowed_hosts)?,
            origins: OriginRule::new(&self.allowed_origins)?,
            proxies: TrustedProxies::parse(&self.trusted_proxies)?,
            publishing,
            demo: self.demo,
            broker: with_demo(self.broker, self.demo),
            limits: self.limits,
        })
    }
}

/// Where the page of the demonstration chats, and how many events of that are kept.
const DEMO_CHANNEL: &str = "/chat/demo";
const DEMO_KEPT: usize = 100;

impl Parts {
    /// What an engine is made of whose Bayeux endpoint is at this path, without hooks.
    ///
    /// # Errors
    /// A setting that is no good, or a path: what is wrong with it.
    pub fn new(mount: &str, settings: Settings, entropy: Box<dyn Entropy>) -> Result<Self, String> {
        check_mount(mount).map_err(|error| format!("mount {mount:?}: {error}"))?;
        let Change { hosts, origins, proxies, publishing, demo, broker, limits } = settings.into_change()?;
        let pages = Pages::new(mount, demo);
        let site = Site { mount: mount.to_owned(), hosts, origins, proxies, publishing, pages, has_fallback: false };
        Ok(Self { site, broker, limits, entropy, hooks: Hooks::default() })
    }

    /// The same with hooks.
    #[must_use]
    pub fn with_hooks(self, hooks: Hooks) -> Self {
        Self { hooks, ..self }
    }
}

/// With the demonstration, what was said on its page last is kept, unless a rule says otherwise: who comes finds it there.
fn with_demo(mut broker: broker::Config, demo: bool) -> broker::Config {
    let ruled = |channel| broker.channels.iter().any(|rule| rule.rules_history_of(channel));
    if demo && Channel::parse(DEMO_CHANNEL).is_ok_and(|channel| !ruled(channel)) {
        let keep = Keep { count: DEMO_KEPT, ..Keep::default() };
        broker.channels.push(Rule::new(DEMO_CHANNEL).with_history(keep));
    }
    broker
}

/// Whether a path can be a mount.
///
/// # Errors
/// What would be right.
pub fn check_mount(mount: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~');
    // Browsers take them out before they ask.
    let dots = mount.split('/').any(|segment| matches!(segment, "." | ".."));
    if mount.starts_with('/') && mount.bytes().all(plain) && !mount.contains("//") && !dots {
        return Ok(());
    }
    Err("must be a path such as /cometd, of letters, digits and - _ . ~".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_is_no_path_is_refused() {
        for (mount, good) in [
            ("/cometd", true),
            ("/", true),
            ("/.x", true),
            ("cometd", false),
            ("/a b", false),
            ("/a//b", false),
            ("", false),
            ("/.", false),
            ("/a/../b", false),
        ] {
            assert_eq!(check_mount(mount).is_ok(), good, "{mount}");
        }
    }
}
