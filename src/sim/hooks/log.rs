//! What hooks have done, and must have been called for.
//!
//! Owns the log that hooks and the world share. Each hook says when it is called and when it returns, so that one within
//! another is seen at once; what is written on sessions and channels is compared with what was written there; and the book of
//! the clients learns from it what is refused, changed, dropped and delivered beside what they have asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::hooks::{Command, Denial, Operation, PolicyTicket, Removal, Session, SessionId};
use crate::limits::Limits;
use crate::sim::invariants::{Kind, Mark, Tally};

use super::Habits;

/// The first mark of what hooks publish; those of clients are below.
const FIRST_MARK: Mark = 1 << 40;
/// The error of a question that is not answered in time, but for its code and what is denied.
const TOO_LATE: &str = "no answer in time";
/// That of a message that no authorizer grants.
const NOT_GRANTED: &str = "denied_by_not_granting";

/// For whom an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// For whoever is subscribed.
    All,
    /// For one session, by the name that hooks know it by.
    One(String),
    /// For a service.
    Nobody,
}

/// What the book of the clients has to know.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// An event is to be published, or sent to somebody, by this publisher.
    Event {
        mark: Mark,
        by: usize,
        aim: Aim,
        channel: String,
        data: String,
        lazy: bool,
    },
    /// A session may end.
    Ending(String),
    /// A session is to be subscribed, or not to be any more.
    Subscribe(String, &'static str),
    Unsubscribe(String, &'static str),
    /// An event has other data now.
    Reshaped(Mark, String),
    /// An event goes to nobody.
    Dropped(Mark),
    /// All that was to be done has been; whether nothing of it failed.
    Settled(bool),
}

/// A question whose answer comes later.
#[derive(Clone, Debug)]
struct Pending {
    /// When it is no, if it has not been answered.
    deadline: u64,
    /// The errors that the reply may have: `None` if it may go on.
    outcomes: Vec<Option<String>>,
    /// It has been answered in time for sure.
    answered: bool,
    /// The errors of a denial, around its reason.
    around: (String, &'static str),
}

/// What hooks have said about one message.
#[derive(Clone, Debug, Default)]
pub(crate) struct Word {
    denied: Option<String>,
    deleted: bool,
    /// The tickets of its questions, each with the life of the server in which it was given.
    deferred: Vec<(usize, u64)>,
    opinions: Vec<(String, &'static str, bool)>,
    /// How often each extension has seen it.
    seen: [usize; 2],
}

/// A session, as the hooks have seen it.
#[derive(Debug, Default)]
struct Known {
    name: String,
    /// Its `session_added` has been told.
    added: bool,
    guest: bool,
    /// What hooks have written on it.
    count: u64,
    /// The newest value of an attribute that is set by commands, as it was last seen, and as it was last to be set.
    seen: u64,
    set: u64,
    /// That of it which has surely been set.
    sure: u64,
    subscribed: BTreeSet<String>,
    /// When a question of it was last deferred.
    deferred_at: Option<u64>,
}

/// Something that another thread does later.
#[derive(Clone, Debug)]
pub(crate) enum Later {
    Resolve { ticket: u64, no: bool },
    Answer(crate::hooks::RemoteCall),
    Publish(&'static str),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) habits: Habits,
    pub(crate) limits: Limits,
    /// Nobody does anything any more.
    pub(crate) quiet: bool,
    /// The time, ms.
    pub(crate) now: u64,
    pub(crate) tally: Tally,
    /// Deliveries and answers that were to be made.
    pub(crate) handed: u64,
    running: Option<&'static str>,
    /// The time of the last turn that is over.
    turned: u64,
    /// Commands that the hook that runs has given.
    given: usize,
    life: usize,
    commands_left: u64,
    marks: Mark,
    serial: u64,
    words: BTreeMap<String, Word>,
    pending: BTreeMap<(usize, u64), Pending>,
    /// Tickets of questions that have been answered, to be tried again.
    stale: Vec<u64>,
    later: BTreeMap<(u64, u64), Later>,
    news: Vec<News>,
    sessions: BTreeMap<SessionId, Known>,
    gone: BTreeSet<SessionId>,
    channels: BTreeMap<String, u64>,
    /// Terms on which sessions are admitted that have not been made yet; whether they end.
    terms: BTreeMap<u64, bool>,
}

/// The log, as hooks and the world hold it.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Log>>);

/// A hook runs.
pub(crate) struct Running(Shared);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.log().running = None;
    }
}

impl Shared {
    /// An empty log.
    pub(crate) fn new(habits: &Habits, limits: &Limits) -> Self {
        Self(Arc::new(Mutex::new(Log {
            commands_left: habits.commands,
            habits: habits.clone(),
            limits: limits.clone(),
            quiet: false,
            now: 0,
            tally: Tally::default(),
            handed: 0,
            running: None,
            turned: 0,
            given: 0,
            life: 0,
            marks: FIRST_MARK,
            serial: 0,
            words: BTreeMap::new(),
            pending: BTreeMap::new(),
            stale: Vec::new(),
            later: BTreeMap::new(),
            news: Vec::new(),
            sessions: BTreeMap::new(),
            gone: BTreeSet::new(),
            channels: BTreeMap::new(),
            terms: BTreeMap::new(),
        })))
    }

    /// What it says; a check that has failed elsewhere does not hide it.
    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A hook is called: no other one runs.
    pub(crate) fn enter(&self, hook: &'static str, now: u64) -> Running {
        let mut log = self.log();
        let running = log.running.replace(hook);
        (log.now, log.given) = (now, 0);
        drop(log);
        assert!(running.is_none(), "{hook} is called within {}", running.unwrap_or_default());
        Running(self.clone())
    }
}

impl Log {
    /// A life of the server begins: nothing of the one before is left.
    pub(crate) fn begin(&mut self, life: usize) {
        assert!(self.running.is_none(), "a server dies within a hook");
        self.life = life;
        self.stale.clear();
        self.later.clear();
        self.sessions.clear();
        self.gone.clear();
        self.channels.clear();
        self.terms.clear();
    }

    /// It has happened.
    pub(crate) fn count(&mut self, kind: Kind) {
        self.tally.add(kind, 1);
    }

    /// What has happened since the last time.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        core::mem::take(&mut self.news)
    }

    /// A turn is over.
    pub(crate) fn turned(&mut self, now: u64) {
        assert!(self.running.is_none(), "a hook has not returned");
        self.turned = now;
    }

    /// All commands have been run, and whether all of them could be.
    pub(crate) fn settled(&mut self, all: bool) {
        for known in self.sessions.values_mut().filter(|_| all) {
            known.sure = known.set;
        }
        self.news.push(News::Settled(all));
    }

    /// Whether a command may still be given, and what it costs is paid.
    pub(crate) fn may_act(&mut self) -> bool {
        let may = !self.quiet && self.commands_left > 0;
        self.commands_left -= u64::from(may);
        may
    }

    /// The command that a hook has given waits, or there is no room for it.
    pub(crate) fn gave(&mut self, taken: bool) {
        self.count(if taken { Kind::Commanded } else { Kind::CommandsFull });
        self.given += usize::from(taken);
        let most = self.limits.mailbox_commands;
        assert!(self.given <= most, "a hook has given {} commands, and {most} may wait", self.given);
    }

    /// A new event of a hook.
    pub(crate) fn event(&mut self, by: usize, aim: &Aim, (channel, lazy): (&str, bool)) -> String {
        self.marks += 1;
        let mark = self.marks;
        let data = format!("{{\"mark\":{mark},\"of\":\"a hook\"}}");
        let (aim, channel) = (aim.clone(), channel.to_owned());
        self.news.push(News::Event { mark, by, aim, channel, data: data.clone(), lazy });
        data
    }

    /// The last event that was made has not been taken.
    pub(crate) fn forget_event(&mut self) {
        self.news.pop();
    }

    /// Something that the clients' book has to know.
    pub(crate) fn tell(&mut self, news: News) {
        self.news.push(news);
    }

    /// What is done later.
    pub(crate) fn plan(&mut self, at: u64, later: Later) {
        self.serial += 1;
        self.later.insert((at, self.serial), later);
    }

    /// When something is to be done.
    pub(crate) fn next(&self) -> Option<u64> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }

    /// What another thread does by now.
    pub(crate) fn due(&mut self, now: u64) -> Option<Later> {
        self.next().filter(|at| *at <= now)?;
        self.later.pop_first().map(|(_, later)| later)
    }

    /// Somebody of these sessions, but nobody who does not speak Bayeux; `None` if there is nobody.
    pub(crate) fn somebody(&self, pick: impl FnOnce(u64) -> u64) -> Option<(SessionId, String)> {
        let remote = || self.sessions.iter().filter(|(_, known)| known.added && !known.guest);
        let count = remote().count() as u64;
        if count == 0 {
            return None;
        }
        remote().nth(pick(count) as usize).map(|(id, known)| (*id, known.name.clone()))
    }

    /// The name by which a client knows its session.
    pub(crate) fn name_of(&self, id: SessionId) -> String {
        format!("{}.{id}", self.life)
    }
}

/// What is asked, and what comes of it.
impl Log {
    /// What has been said about a message so far; one without a key is nobody's of the model.
    pub(crate) fn word(&mut self, key: &str) -> Option<&mut Word> {
        (!key.is_empty()).then(|| self.words.entry(key.to_owned()).or_default())
    }

    /// Somebody says no.
    pub(crate) fn deny(&mut self, key: &str, asked: Option<Operation>, service: bool, denial: &Denial) {
        self.count(Kind::Denied);
        let error = error_of(around(asked, service), denial);
        if let Some(word) = self.word(key) {
            assert!(word.denied.is_none(), "message {key} is asked about after it was denied");
            word.denied = Some(error);
        }
    }

    /// A policy answers later.
    pub(crate) fn defer(&mut self, key: &str, (ticket, asked): (PolicyTicket, Option<Operation>), publishing: bool) {
        self.count(Kind::Deferred);
        let deadline = self.now + self.limits.defer_ms;
        let around = around(asked, publishing);
        let pending = Pending { deadline, outcomes: Vec::new(), answered: false, around };
        let before = self.pending.insert((self.life, ticket.0), pending);
        assert!(before.is_none(), "ticket {} of {key} was that of {before:?}", ticket.0);
        let life = self.life;
        if let Some(word) = self.word(key) {
            word.deferred.push((life, ticket.0));
        }
    }

    /// An answer is given to a question: now, or when the server comes to it.
    pub(crate) fn resolve(&mut self, ticket: u64, denial: Option<&Denial>, (now, at_once): (u64, bool)) {
        let Some(pending) = self.pending.get_mut(&(self.life, ticket)) else { return };
        let outcome = denial.map(|denial| error_of(pending.around.clone(), denial));
        // In the turn of the deadline nobody knows which came first.
        if !pending.answered && self.turned < pending.deadline {
            pending.outcomes.push(outcome);
            pending.answered = at_once && now < pending.deadline;
        }
        self.stale.push(ticket);
    }

    /// A ticket that has been used already.
    pub(crate) fn stale(&self, pick: impl FnOnce(u64) -> u64) -> Option<u64> {
        if self.stale.is_empty() { None } else { self.stale.get(pick(self.stale.len() as u64) as usize).copied() }
    }

    /// What the reply to a message may say: the errors, if it has to be one of them; and whether it may also go on.
    pub(crate) fn expects(&self, key: &str, now: u64) -> (Vec<String>, bool) {
        let Some(word) = self.words.get(key) else { return (Vec::new(), true) };
        if word.deleted {
            return (vec!["404::message_deleted".to_owned()], false);
        }
        let mut errors: Vec<String> = Vec::new();
        let mut goes_on = true;
        for ticket in &word.deferred {
            let Some(pending) = self.pending.get(ticket) else { continue };
            let late = !pending.answered && now >= pending.deadline;
            goes_on &= pending.outcomes.contains(&None);
            errors.extend(pending.outcomes.iter().flatten().cloned());
            if late {
                let denial = Denial::new(TOO_LATE);
                errors.push(error_of(pending.around.clone(), &denial));
            }
        }
        if let Some(denied) = &word.denied {
            // It was asked about once more after the others had been answered.
            return (vec![denied.clone()], false);
        }
        for error in word.not_granted() {
            errors.push(error);
            goes_on = false;
        }
        (errors, goes_on)
    }

    /// Whether a message had to wait, so that there may have been too many that do.
    pub(crate) fn may_be_too_many(&self) -> bool {
        self.limits.deferred_batches < 100
    }

    /// Whether hooks have said no to a plain request, which cannot wait.
    pub(crate) fn denies(&self, key: &str) -> bool {
        let Some(word) = self.words.get(key) else { return false };
        word.denied.is_some() || !word.deferred.is_empty() || word.not_granted().next().is_some()
    }

    /// An authorizer says something about a name; whether it is a grant.
    pub(crate) fn opine(&mut self, key: &str, about: String, own: &'static str, grant: bool) {
        if let Some(word) = self.word(key) {
            word.opinions.push((about, own, grant));
        }
    }

    /// An extension looks at a message, and perhaps ends it.
    pub(crate) fn incoming(&mut self, key: &str, extension: usize, delete: bool) {
        if delete {
            self.count(Kind::Deleted);
        }
        let Some(word) = self.word(key) else { return };
        word.deleted |= delete;
        word.seen[extension] += 1;
        assert!(word.seen[extension] == 1, "extension {extension} sees {key} once more");
    }

    /// Whether a question of a session may be deferred, which it is then: one at a time is waited for, or nobody could say
    /// for how long.
    pub(crate) fn may_defer(&mut self, session: SessionId) -> bool {
        let (now, pause) = (self.now, 4 * self.limits.defer_ms);
        let at = &mut self.sessions.entry(session).or_default().deferred_at;
        let may = at.is_none_or(|at| now >= at + pause);
        *at = if may { Some(now) } else { *at };
        may
    }

    /// Terms on which a session is admitted, by their number.
    pub(crate) fn terms(&mut self, ends: bool) -> u64 {
        self.serial += 1;
        self.terms.insert(self.serial, ends);
        self.serial
    }
}

impl Word {
    /// The errors of what nobody grants who has a say in all of it.
    fn not_granted(&self) -> impl Iterator<Item = String> {
        let abouts: BTreeSet<&String> = self.opinions.iter().map(|(about, ..)| about).collect();
        abouts.into_iter().filter_map(|about| {
            let name = about.split(' ').nth(1).unwrap_or_default();
            let over_all = |own: &str| own == "/**" || name.starts_with("/a/");
            let granted = self.opinions.iter().any(|(own, by, grant)| own == about && *grant && over_all(by));
            let (start, end) = about.split_once(' ').map(|(kind, _)| kind.split_once('|').unwrap_or_default())?;
            (!granted && self.denied.is_none()).then(|| format!("{start}{NOT_GRANTED}{end}"))
        })
    }
}

/// What stands around the reason of a denial.
pub(crate) fn around(asked: Option<Operation>, publishing: bool) -> (String, &'static str) {
    let end = match asked {
        None => ":handshake_denied",
        Some(Operation::Create) if publishing => ":channel_create_denied",
        Some(Operation::Create) => ":create_denied",
        Some(Operation::Subscribe) => ":subscribe_denied",
        Some(Operation::Publish) => ":publish_denied",
    };
    ("403:".to_owned(), end)
}

fn error_of((start, end): (String, &'static str), denial: &Denial) -> String {
    match &denial.error {
        Some(error) => error.clone(),
        None => format!("{start}{}{end}", denial.reason),
    }
}

/// What hooks see of sessions and channels.
impl Log {
    /// A hook is given a session: what is written there is what was.
    pub(crate) fn look(&mut self, session: &mut Session<'_>) {
        let id = session.id();
        assert!(!self.gone.contains(&id), "session {id} is gone");
        let name = self.name_of(id);
        let known = self.sessions.entry(id).or_default();
        known.name = name;
        let number = |name: &str| session.attribute(name).map_or(0, |text| text.parse().expect("a number"));
        assert_eq!(number("count"), known.count, "what hooks have written on session {id}");
        let set = number("set");
        assert!((known.sure.max(known.seen)..=known.set).contains(&set), "{set} is written on session {id}: {known:?}");
        known.seen = set;
        known.count += 1;
        session.attributes.set("count", &known.count.to_string()).expect("there is room");
    }

    /// The value that an attribute of a session is to be given next.
    pub(crate) fn next_value(&mut self, id: SessionId) -> u64 {
        self.sessions.get(&id).map_or(1, |known| known.set + 1)
    }

    /// It will be.
    pub(crate) fn sets_value(&mut self, id: SessionId, value: u64) {
        if let Some(known) = self.sessions.get_mut(&id) {
            known.set = value;
        }
    }

    /// A session is there.
    pub(crate) fn added(&mut self, session: &mut Session<'_>) {
        let terms = session.attribute("terms").and_then(|text| text.parse().ok());
        let guest = session.kind() == crate::hooks::SessionKind::Guest;
        let id = session.id();
        let known = self.sessions.entry(id).or_default();
        assert!(!known.added, "session {id} is added once more");
        (known.added, known.guest) = (true, guest);
        let name = known.name.clone();
        let ends = terms.map(|terms: u64| self.terms.remove(&terms).expect("terms of this session"));
        assert!(ends.is_some(), "session {id} has lost its terms");
        if ends == Some(true) {
            self.news.push(News::Ending(name));
        }
    }

    /// A session is over.
    pub(crate) fn removed(&mut self, session: &Session<'_>, removal: Removal) {
        let id = session.id();
        let known = self.sessions.remove(&id).unwrap_or_default();
        assert!(known.added, "session {id} ends ({removal:?}) that was not there");
        assert!(known.subscribed.is_empty(), "session {id} ends ({removal:?}) with subscriptions: {known:?}");
        self.gone.insert(id);
    }

    /// A session has subscribed, or is not subscribed any more.
    pub(crate) fn subscribed(&mut self, session: &Session<'_>, name: &str, begins: bool) {
        let known = self.sessions.entry(session.id()).or_default();
        let changed = if begins { known.subscribed.insert(name.to_owned()) } else { known.subscribed.remove(name) };
        assert!(changed, "session {} and {name}, begins: {begins}, already", session.id());
        let noted = self.channels.contains_key(name) || self.limits.channels < 100;
        assert!(!begins || noted, "nobody was told of {name}");
    }

    /// A channel has come into being; what is to be written on it.
    pub(crate) fn channel_added(&mut self, name: &str) -> u64 {
        self.serial += 1;
        let before = self.channels.insert(name.to_owned(), self.serial);
        assert!(before.is_none(), "{name} is added once more");
        self.serial
    }

    /// A channel is gone.
    pub(crate) fn channel_removed(&mut self, name: &str) {
        let heard = self.sessions.values().any(|known| known.subscribed.contains(name));
        assert!(self.channels.remove(name).is_some() && !heard, "{name} is removed, heard: {heard}");
    }

    /// What is written on a channel.
    pub(crate) fn channel(&self, name: &str) -> Option<u64> {
        self.channels.get(name).copied()
    }

    /// What must hold when everyone has left.
    pub(crate) fn check_rest(&self) {
        assert!(
            self.sessions.values().all(|known| !known.added),
            "sessions of which nobody hears: {:?}",
            self.sessions
        );
        assert!(self.channels.is_empty(), "channels of which nobody hears: {:?}", self.channels);
    }

    /// What is done later, as a command. A ticket may be one that was used before.
    pub(crate) fn command(&mut self, later: &Later, now: u64) -> Command {
        match later {
            Later::Resolve { ticket, no } => {
                self.serial += 1;
                let denial = no.then(|| Denial::new(format!("later-{}", self.serial)));
                self.resolve(*ticket, denial.as_ref(), (now, true));
                let admission = self.admission();
                Command::Resolve(PolicyTicket(*ticket), denial.map_or(Ok(admission), Err))
            }
            Later::Answer(call) => {
                let data = self.event(PLANNED, &Aim::One(self.name_of(call.session())), (call.channel(), false));
                self.handed += 1;
                Command::Answer { call: call.clone(), result: Ok(data) }
            }
            Later::Publish(channel) => {
                let data = self.event(PLANNED, &Aim::All, (channel, false));
                Command::Publish { channel: (*channel).to_owned(), data, lazy: false }
            }
        }
    }

    /// Terms for whoever is let in.
    pub(crate) fn admission(&mut self) -> crate::hooks::Admission {
        let mut admission = crate::hooks::Admission::default();
        let terms = self.terms(false).to_string();
        admission.attributes.set("terms", &terms).expect("there is room");
        admission
    }
}

/// Publishers' numbers: of commands of hooks that publish, of those that hand over, and of what another thread does.
pub(crate) const OWN: usize = usize::MAX - 1;
pub(crate) const HANDED: usize = usize::MAX - 2;
pub(crate) const PLANNED: usize = usize::MAX - 3;
