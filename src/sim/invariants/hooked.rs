//! What the book learns from hooks.
//!
//! Owns what becomes of their news: events and subscriptions that no client has asked for, events that are changed or ended,
//! sessions that may end. What is to be done and may not have been done yet is expected of nobody.

use crate::sim::hooks::{Log, News, Shared};

use super::{Kind, Ledger, Mark, SessionNo, Window};

impl Ledger {
    /// What hooks have done, if there are any.
    pub(crate) fn log(&self) -> Option<std::sync::MutexGuard<'_, Log>> {
        self.hooked.as_ref().map(Shared::log)
    }

    /// Hooks have done something.
    pub(crate) fn learn(&mut self, news: Vec<News>, now: u64) {
        for news in news {
            match news {
                News::Event { mark, by, ref aim, ref channel, ref data, lazy } => {
                    self.put(mark, (by, aim.clone(), lazy), (channel, data.clone()), now);
                    self.unsettled.push(news);
                }
                News::Ending(name) => drop(self.ending.insert(name)),
                News::Subscribe(ref name, pattern) => {
                    let windows = self.own_windows.entry(name.clone()).or_default();
                    if !windows.iter().any(|window| window.pattern == pattern && window.sure_until.is_none()) {
                        windows.push(Window::asked(pattern, None, now));
                    }
                    self.unsettled.push(news);
                }
                News::Unsubscribe(ref name, pattern) => {
                    self.cut(name, pattern, now);
                    let own = self.own_windows.get_mut(name).into_iter().flatten();
                    for window in own.filter(|window| window.pattern == pattern) {
                        window.sure_until.get_or_insert(now);
                    }
                    self.unsettled.push(news);
                }
                News::Reshaped(mark, data) => {
                    if let Some(publication) = self.publications.get_mut(&mark) {
                        publication.reshaped = Some(data);
                    }
                }
                News::Dropped(mark) => {
                    self.count(Kind::Ended);
                    if let Some(publication) = self.publications.get_mut(&mark) {
                        (publication.dropped, publication.refused) = (true, true);
                    }
                }
                News::Settled(all) => self.settle(all, now),
            }
        }
    }

    /// What hooks want done has been done, all of it or perhaps not.
    fn settle(&mut self, all: bool, now: u64) {
        for news in core::mem::take(&mut self.unsettled) {
            match news {
                News::Event { mark, .. } if all => {
                    self.publications.entry(mark).and_modify(|publication| publication.acked_at = Some(now));
                }
                News::Subscribe(name, pattern) if all => {
                    let windows = self.own_windows.entry(name).or_default().iter_mut();
                    if let Some(window) = windows.rev().find(|window| window.pattern == pattern) {
                        window.sure_from.get_or_insert(now);
                    }
                }
                News::Unsubscribe(name, pattern) => {
                    // What its client has asked for meanwhile as well.
                    self.cut(&name, pattern, now);
                    let windows = self.own_windows.entry(name).or_default().iter_mut();
                    for window in windows.filter(|window| window.pattern == pattern && window.sure_until.is_some()) {
                        window.until.get_or_insert(now);
                    }
                }
                _ => {}
            }
        }
    }

    /// What hooks wanted done and was not is forgotten with the server.
    pub(crate) fn forget_unsettled(&mut self) {
        self.unsettled.clear();
    }

    /// From now on a session may not be subscribed any more to what its client has asked for.
    fn cut(&mut self, name: &str, pattern: &str, now: u64) {
        let seen = self.sessions.iter_mut().filter(|seen| seen.name.as_deref() == Some(name));
        for window in seen.flat_map(|seen| &mut seen.windows).filter(|window| window.pattern == pattern) {
            window.sure_until.get_or_insert(now);
        }
    }

    /// Whether hooks have ended an event.
    pub(crate) fn is_dropped(&self, mark: Mark) -> bool {
        self.publications[&mark].dropped
    }

    /// The name by which hooks know a session.
    pub(crate) fn is_called(&mut self, session: SessionNo, name: &str) {
        self.sessions[session].name = Some(name.to_owned());
    }

    /// The same.
    pub(crate) fn name_of(&self, session: SessionNo) -> Option<&str> {
        self.sessions[session].name.as_deref()
    }

    /// Whether hooks have given a session a reason to be gone.
    pub(crate) fn may_end(&self, session: SessionNo) -> bool {
        self.sessions[session].name.as_ref().is_some_and(|name| self.ending.contains(name))
    }

    /// A subscribe was refused by hooks.
    pub(crate) fn unasked(&mut self, session: SessionNo, pattern: &str) {
        let windows = &mut self.sessions[session].windows;
        if let Some(at) = windows.iter().rposition(|window| window.pattern == pattern && window.sure_from.is_none()) {
            windows.remove(at);
        }
    }
}
