//! Which browser a session belongs to, and how many of a browser's sessions hold a connect.
//!
//! Owns the browser table. A browser is known by the value of its cookie; the table has an entry for as long as one of
//! its sessions lives. Most browsers have one session: then there is nothing to count, and no poll asks the table.

use core::num::NonZeroU32;
use std::collections::HashMap;

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

#[derive(Debug)]
enum Browser {
    /// One session has never had another one beside it. It stands there in the arena; whether it holds a connect is known
    /// to itself.
    Sole { slot: u32 },
    /// There have been several at once.
    Shared { sessions: NonZeroU32, holding: u32 },
}

/// What a session finds that joins a browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// No other session. It need not ask before it holds a connect, nor say so.
    None,
    /// One that has been alone until now, in that slot of the arena. Both ask from now on; if that one holds a connect
    /// which counts, it is to be counted with [`Browsers::count_hold`].
    First {
        /// Of the arena.
        slot: u32,
    },
    /// Some that ask already.
    Others,
}

/// The browsers that have a session. Never iterated, so its order never shows.
#[derive(Debug, Default)]
pub struct Browsers {
    table: HashMap<BrowserId, Browser>,
}

impl Browsers {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// A session of the browser begins, in that slot of the arena.
    pub fn join(&mut self, browser: &BrowserId, slot: u32) -> Company {
        let Some(entry) = self.table.get_mut(browser) else {
            self.table.insert(browser.clone(), Browser::Sole { slot });
            return Company::None;
        };
        match entry {
            Browser::Sole { slot } => {
                let first = Company::First { slot: *slot };
                *entry = Browser::Shared { sessions: NonZeroU32::MIN.saturating_add(1), holding: 0 };
                first
            }
            Browser::Shared { sessions, .. } => {
                *sessions = sessions.saturating_add(1);
                Company::Others
            }
        }
    }

    /// A session of the browser ends; it must not hold a connect any more.
    pub fn leave(&mut self, browser: &BrowserId) {
        let left = match self.table.get_mut(browser) {
            Some(Browser::Shared { sessions, .. }) => match NonZeroU32::new(sessions.get() - 1) {
                Some(fewer) => {
                    *sessions = fewer;
                    true
                }
                None => false,
            },
            Some(Browser::Sole { .. }) | None => false,
        };
        if !left {
            self.table.remove(browser);
        }
    }

    /// A session that shares the browser wants to hold a connect; whether fewer than `most` do, and if so it is counted.
    pub fn try_hold(&mut self, browser: &BrowserId, most: u32) -> bool {
        let Some(Browser::Shared { holding, .. }) = self.table.get_mut(browser) else { return most > 0 };
        if *holding >= most {
            return false;
        }
        *holding += 1;
        true
    }

    /// A session that shares the browser holds a connect.
    pub fn count_hold(&mut self, browser: &BrowserId) {
        if let Some(Browser::Shared { holding, .. }) = self.table.get_mut(browser) {
            *holding += 1;
        }
    }

    /// A session that shares the browser holds its connect no more.
    pub fn release(&mut self, browser: &BrowserId) {
        if let Some(Browser::Shared { holding, .. }) = self.table.get_mut(browser) {
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
    fn an_issued_value_takes_no_heap() {
        let text = token::browser_text(&[7; 16]);
        assert_eq!(BrowserId::from_cookie(&text), Some(BrowserId::Issued([7; 16])));
        assert!(size_of::<Option<BrowserId>>() <= 24);
    }

    #[test]
    fn an_entry_stays_small() {
        assert_eq!(size_of::<(BrowserId, Browser)>(), 32);
    }

    #[test]
    fn holds_are_counted_per_browser_and_forgotten_with_the_last_session() {
        let mut browsers = Browsers::default();
        let id = BrowserId::Adopted("x".into());
        assert_eq!(browsers.join(&id, 7), Company::None);
        assert_eq!(browsers.join(&id, 8), Company::First { slot: 7 });
        assert_eq!(browsers.join(&id, 9), Company::Others);
        browsers.count_hold(&id);
        assert!(!browsers.try_hold(&id, 1));
        assert!(browsers.try_hold(&id, 2));
        assert!(!browsers.try_hold(&id, 2));
        browsers.release(&id);
        assert!(browsers.try_hold(&id, 2));
        browsers.release(&id);
        browsers.release(&id);
        browsers.leave(&id);
        browsers.leave(&id);
        assert_eq!(browsers.count(), 1);
        assert_eq!(browsers.join(&id, 8), Company::Others, "the one that is left asks for ever");
        browsers.leave(&id);
        browsers.leave(&id);
        assert_eq!(browsers.count(), 0);
        assert_eq!(browsers.join(&id, 3), Company::None);
        browsers.leave(&id);
        assert_eq!(browsers.count(), 0);
    }
}
