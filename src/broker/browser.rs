//! Which browser a session belongs to, and how many of a browser's sessions hold a connect.
//!
//! Owns the browser table. A browser is known by the value of its cookie; the table has an entry for as long as one of
//! its sessions lives.

use std::collections::HashMap;
use std::num::NonZeroU32;

use crate::limits;

use super::token::{self, SECRET_BYTES};

/// A browser, by the value of its cookie.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BrowserId {
    /// A value that this server made.
    Issued([u8; SECRET_BYTES]),
    /// A well-formed value from somewhere else: another node, another server before this one.
    Adopted(Box<str>),
}

impl BrowserId {
    /// The browser of a cookie value; `None` if the value is not well formed.
    pub fn from_cookie(value: &str) -> Option<Self> {
        if let Some(secret) = token::browser_secret(value) {
            return Some(Self::Issued(secret));
        }
        let formed = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        let fits = (1..=limits::BROWSER_COOKIE_BYTES).contains(&value.len());
        (formed && fits).then(|| Self::Adopted(value.into()))
    }

    /// Whether it is the same browser, in a time that does not depend on where the values differ: who has stolen a client
    /// id must not find out the cookie piece by piece.
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Issued(own), Self::Issued(other)) => token::same_secret(own, other),
            (Self::Adopted(own), Self::Adopted(other)) => token::same_text(own, other),
            _ => false,
        }
    }
}

/// What a request says of its browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// There was no cookie.
    Nothing,
    /// There was a cookie that is not well formed: nobody's browser.
    Malformed,
    /// There was a well-formed cookie.
    Browser(BrowserId),
}

impl Presented {
    /// What a request presents whose cookie has this value.
    pub fn from_cookie(value: Option<&[u8]>) -> Self {
        match value.map(|value| core::str::from_utf8(value).ok().and_then(BrowserId::from_cookie)) {
            None => Self::Nothing,
            Some(None) => Self::Malformed,
            Some(Some(browser)) => Self::Browser(browser),
        }
    }
}

/// The sessions of one browser. Nearly all have one, whose connect is held without a look at this table.
#[derive(Debug)]
enum Browser {
    /// There has been no other than the one in this slot.
    Alone(u32),
    /// There has been more than one.
    Company { sessions: NonZeroU32, holding: u32 },
}

/// The browsers that have a session. Never iterated, so its order never shows.
#[derive(Debug, Default)]
pub struct Browsers {
    table: HashMap<BrowserId, Browser>,
}

/// What becomes of a browser with another session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The session is alone.
    Alone,
    /// The session in this slot was alone until now: what it holds counts from now on.
    With(u32),
    /// There were several before.
    Company,
}

impl Browsers {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// A session of the browser begins, in this slot.
    pub fn join(&mut self, browser: &BrowserId, slot: u32) -> Joined {
        match self.table.get_mut(browser) {
            None => {
                self.table.insert(browser.clone(), Browser::Alone(slot));
                Joined::Alone
            }
            Some(Browser::Company { sessions, .. }) => {
                *sessions = sessions.saturating_add(1);
                Joined::Company
            }
            Some(entry @ Browser::Alone(_)) => {
                let two = NonZeroU32::MIN.saturating_add(1);
                match core::mem::replace(entry, Browser::Company { sessions: two, holding: 0 }) {
                    Browser::Alone(first) => Joined::With(first),
                    Browser::Company { .. } => Joined::Company,
                }
            }
        }
    }

    /// A session of the browser ends; it must not hold a connect any more.
    pub fn leave(&mut self, browser: &BrowserId) {
        if let Some(Browser::Company { sessions, .. }) = self.table.get_mut(browser)
            && let Some(others) = NonZeroU32::new(sessions.get() - 1)
        {
            *sessions = others;
        } else {
            self.table.remove(browser);
        }
    }

    /// A session that is not alone wants to hold a connect; whether fewer than `most` do, and if so it is counted.
    pub fn try_hold(&mut self, browser: &BrowserId, most: u32) -> bool {
        let Some(Browser::Company { holding, .. }) = self.table.get_mut(browser) else { return true };
        if *holding >= most {
            return false;
        }
        *holding = holding.saturating_add(1);
        true
    }

    /// A session that was counted holds its connect no more.
    pub fn release(&mut self, browser: &BrowserId) {
        if let Some(Browser::Company { holding, .. }) = self.table.get_mut(browser) {
            *holding = holding.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_browser_cookie_bytes() {
        for (len, good) in [(0, false), (1, true), (63, true), (64, true), (65, false)] {
            assert_eq!(BrowserId::from_cookie(&"A".repeat(len)).is_some(), good, "{len}");
        }
        assert_eq!(BrowserId::from_cookie("a b"), None);
        assert_eq!(Presented::from_cookie(Some(b"a;b")), Presented::Malformed);
        assert_eq!(Presented::from_cookie(None), Presented::Nothing);
    }

    #[test]
    fn a_browser_is_itself_and_no_other() {
        let of = |value: &str| BrowserId::from_cookie(value).unwrap();
        let [issued, other] = [7, 8].map(|byte| of(&token::browser_text(&[byte; 16])));
        assert!(issued.is(&issued) && !issued.is(&other) && !issued.is(&of("x")) && !of("x").is(&issued));
        for (value, expected) in
            [("victim", true), ("victin", false), ("wictim", false), ("victi", false), ("victimx", false)]
        {
            assert_eq!(of("victim").is(&of(value)), expected, "{value}");
        }
    }

    #[test]
    fn an_issued_value_takes_no_heap() {
        let text = token::browser_text(&[7; 16]);
        assert_eq!(BrowserId::from_cookie(&text), Some(BrowserId::Issued([7; 16])));
        assert!(size_of::<Option<BrowserId>>() <= 24);
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Browser>(), 8);
    }

    #[test]
    fn holds_are_counted_per_browser_and_forgotten_with_the_last_session() {
        let mut browsers = Browsers::default();
        let id = BrowserId::Adopted("x".into());
        assert_eq!(browsers.join(&id, 7), Joined::Alone);
        assert_eq!(browsers.join(&id, 8), Joined::With(7));
        assert_eq!(browsers.join(&id, 9), Joined::Company);
        assert!(browsers.try_hold(&id, 1));
        assert!(!browsers.try_hold(&id, 1));
        browsers.release(&id);
        assert!(browsers.try_hold(&id, 1));
        browsers.release(&id);
        browsers.leave(&id);
        browsers.leave(&id);
        assert_eq!(browsers.count(), 1);
        assert_eq!(browsers.join(&id, 10), Joined::Company, "who was left has company already");
        browsers.leave(&id);
        browsers.leave(&id);
        assert_eq!(browsers.count(), 0);
        assert_eq!(browsers.join(&id, 11), Joined::Alone);
    }
}
