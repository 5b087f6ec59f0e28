//! What the hooks do.
//!
//! Owns each of them. All take their choices from generators of their own, and say in the log whatever the model has to know.

use crate::bayeux::{OwnedMessage, ReplyAdvice};
use crate::clock::Now;
use crate::hooks::{
    Admission, Authorizer, Command, CommandsFull, Context, DataFilter, Denial, Extension, Fallback, Filtered, Listener,
    Operation, Opinion, OutgoingReply, Passage, Published, Query, Removal, Request, SecurityPolicy, Service, Session,
    Verdict, WebRequest, WebResponse,
};
use crate::sim::invariants::{Kind, Mark, marks};
use crate::sim::rng::Rng;

use super::log::{Aim, HANDED, Later, News, OWN, Running, Shared};

/// Channels on which hooks publish, and what they subscribe others to.
const CHANNELS: [&str; 4] = ["/a/b", "/x", "/hook/1", "/hook/2"];
const PATTERNS: [&str; 3] = ["/hook/1", "/hook/*", "/hook/**"];
/// What clients subscribe to, and lose.
const LOST: [&str; 3] = ["/a/b", "/a/**", "/x"];

/// What each hook has.
pub(super) struct Say {
    pub(super) rng: Rng,
    pub(super) shared: Shared,
}

impl Say {
    fn enter(&self, hook: &'static str, now: Now) -> Running {
        self.shared.enter(hook, now.mono_ms)
    }

    fn chance(&mut self, per_mille: u32) -> bool {
        !self.shared.log().quiet && self.rng.chance(per_mille)
    }

    fn denial(&mut self) -> Denial {
        let number = self.rng.next();
        let denial = Denial::new(format!("no-{number:x}"));
        let denial = match self.rng.below(3) {
            0 => denial.with_error(format!("409:{number:x}:own_words")),
            _ => denial,
        };
        let reconnect = *self.rng.pick(&[
            crate::bayeux::Reconnect::Retry,
            crate::bayeux::Reconnect::Handshake,
            crate::bayeux::Reconnect::None,
        ]);
        let interval = *self.rng.pick(&[0, 100]);
        let advice = ReplyAdvice { reconnect, interval, timeout: 0, multiple_clients: false, connection_type: None };
        if self.rng.chance(300) { denial.with_advice(advice) } else { denial }
    }

    /// Does a few things, mostly nothing.
    fn act(&mut self, context: &mut Context<'_>) {
        let act = self.shared.log().habits.act;
        if !self.chance(act) {
            return;
        }
        for _ in 0..1 + self.rng.below(3) {
            if self.shared.log().may_act() {
                self.command(context);
            }
        }
        if self.rng.chance(30) {
            self.flood(context);
        }
    }

    fn give(&self, context: &mut Context<'_>, command: Command) -> Result<(), CommandsFull> {
        let given = context.run(command);
        self.shared.log().gave(given.is_ok());
        given
    }

    fn command(&mut self, context: &mut Context<'_>) {
        let shared = self.shared.clone();
        let (end, rng) = (shared.log().habits.end, &mut self.rng);
        let somebody = shared.log().somebody(|count| rng.below(count));
        let Some((id, name)) = somebody else { return self.publish(context) };
        match self.rng.below(8) {
            0 | 1 => self.publish(context),
            2 => {
                let channel = *self.rng.pick(&["/a/b", "/service/note"]);
                self.hand(context, (id, &name), channel);
            }
            3 if self.rng.chance(end) => {
                if self.give(context, Command::Disconnect(id)).is_ok() {
                    shared.log().tell(News::Ending(name));
                }
            }
            4 | 5 => {
                let pattern = *self.rng.pick(&PATTERNS);
                if self.give(context, Command::Subscribe(id, pattern.to_owned())).is_ok() {
                    shared.log().tell(News::Subscribe(name, pattern));
                }
            }
            6 => {
                let pattern = if self.rng.chance(700) { *self.rng.pick(&PATTERNS) } else { *self.rng.pick(&LOST) };
                if self.give(context, Command::Unsubscribe(id, pattern.to_owned())).is_ok() {
                    shared.log().tell(News::Unsubscribe(name, pattern));
                }
            }
            _ => self.write(context, id),
        }
        self.try_stale(context);
    }

    fn publish(&mut self, context: &mut Context<'_>) {
        let channel = *self.rng.pick(&CHANNELS);
        let lazy = self.rng.chance(300);
        let data = self.shared.log().event(OWN, &Aim::All, (channel, lazy));
        if self.give(context, Command::Publish { channel: channel.to_owned(), data, lazy }).is_err() {
            self.shared.log().forget_event();
        }
    }

    fn hand(&mut self, context: &mut Context<'_>, (id, name): (crate::hooks::SessionId, &str), channel: &str) {
        let data = self.shared.log().event(HANDED, &Aim::One(name.to_owned()), (channel, false));
        let command = Command::Deliver { session: id, channel: channel.to_owned(), data };
        if self.give(context, command).is_err() {
            return self.shared.log().forget_event();
        }
        self.shared.log().handed += 1;
    }

    fn write(&mut self, context: &mut Context<'_>, id: crate::hooks::SessionId) {
        let value = self.shared.log().next_value(id);
        let command = Command::SetAttribute(id, "set".to_owned(), Some(value.to_string()));
        if self.give(context, command).is_ok() {
            self.shared.log().sets_value(id, value);
        }
    }

    /// Answers a question once more, or one that waits, from within.
    fn try_stale(&mut self, context: &mut Context<'_>) {
        let shared = self.shared.clone();
        let rng = &mut self.rng;
        let Some(ticket) = shared.log().stale(|count| rng.below(count)).filter(|_| rng.chance(200)) else { return };
        let denial = Denial::new("stale");
        if self.give(context, Command::Resolve(crate::hooks::PolicyTicket(ticket), Err(denial.clone()))).is_ok() {
            let mut log = shared.log();
            let now = log.now;
            log.resolve(ticket, Some(&denial), (now, false));
        }
    }

    /// Gives more commands than may wait.
    fn flood(&mut self, context: &mut Context<'_>) {
        let most = self.shared.log().limits.mailbox_commands;
        let rng = &mut self.rng;
        let Some((id, _)) = self.shared.log().somebody(|count| rng.below(count)) else { return };
        (0..=most).for_each(|_| self.write(context, id));
    }
}

/// Whose message it is: one of a model client has an id of its own, a plain listener says who it is.
fn key_of(query: &Query<'_>) -> String {
    let id = query.message.id.map(|id| id.as_json().to_owned()).filter(|id| id.starts_with("\"c"));
    let who = || query.header("x-who").map(|who| String::from_utf8_lossy(who).into_owned());
    id.or_else(who).unwrap_or_default()
}

fn own_key(message: &OwnedMessage) -> String {
    message.id().filter(|id| id.starts_with("\"c")).unwrap_or_default().to_owned()
}

/// Whether an operation is asked about for a publish.
fn publishes(query: &Query<'_>) -> bool {
    query.message.channel.as_deref() != Some("/meta/subscribe")
}

/// The policy.
pub(super) struct Policy(pub(super) Say);

impl Policy {
    fn verdict(&mut self, asked: Option<Operation>, query: &Query<'_>, session: Option<&mut Session<'_>>) -> Verdict {
        let key = key_of(query);
        let shared = self.0.shared.clone();
        let habits = shared.log().habits.clone();
        let mut defers = self.0.chance(habits.defer);
        if let Some(session) = session {
            shared.log().look(session);
            defers &= shared.log().may_defer(session.id());
        }
        if defers {
            return self.defer(&key, asked, query);
        }
        if self.0.chance(habits.deny) {
            let denial = self.0.denial();
            shared.log().deny(&key, asked, publishes(query), &denial);
            return Verdict::Deny(denial);
        }
        Verdict::Allow
    }

    fn defer(&mut self, key: &str, asked: Option<Operation>, query: &Query<'_>) -> Verdict {
        let (mut log, rng) = (self.0.shared.log(), &mut self.0.rng);
        let ticket = query.ticket();
        log.defer(key, (ticket, asked), publishes(query));
        if rng.chance(log.habits.never) {
            return Verdict::Defer;
        }
        let (now, most) = (log.now, log.limits.defer_ms);
        let no = rng.below(1_000) < u64::from(log.habits.deny);
        let at = now + rng.below(most + most / 10);
        log.plan(at, Later::Resolve { ticket: ticket.0, no });
        while rng.chance(200) {
            log.plan(at + rng.below(2 * most), Later::Resolve { ticket: ticket.0, no: rng.chance(500) });
        }
        Verdict::Defer
    }
}

impl SecurityPolicy for Policy {
    fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
        let _running = self.0.enter("can_handshake", query.now());
        let end = self.0.shared.log().habits.end;
        let ends = self.0.chance(end);
        let terms = self.0.shared.log().terms(ends);
        admission.attributes.set("terms", &terms.to_string()).expect("there is room");
        if ends {
            admission.ends_unix_ms = Some(query.now().unix_ms + self.0.rng.below(3_000));
        }
        self.verdict(None, query, None)
    }

    fn can_create(&mut self, query: &Query<'_>, session: Option<&mut Session<'_>>, _: &str) -> Verdict {
        let _running = self.0.enter("can_create", query.now());
        self.verdict(Some(Operation::Create), query, session)
    }

    fn can_subscribe(&mut self, query: &Query<'_>, session: &mut Session<'_>, _: &str) -> Verdict {
        let _running = self.0.enter("can_subscribe", query.now());
        self.verdict(Some(Operation::Subscribe), query, Some(session))
    }

    fn can_publish(&mut self, query: &Query<'_>, session: Option<&mut Session<'_>>, _: &str) -> Verdict {
        let _running = self.0.enter("can_publish", query.now());
        self.verdict(Some(Operation::Publish), query, session)
    }
}

/// An authorizer, with the pattern of its channels.
pub(super) struct Authorizing {
    pub(super) say: Say,
    pub(super) own: &'static str,
}

impl Authorizer for Authorizing {
    fn authorize(
        &mut self,
        operation: Operation,
        query: &Query<'_>,
        session: Option<&mut Session<'_>>,
        channel: &str,
    ) -> Opinion {
        let _running = self.say.enter("authorize", query.now());
        let (key, habits) = (key_of(query), self.say.shared.log().habits.clone());
        if let Some(session) = session {
            self.say.shared.log().look(session);
        }
        if self.say.chance(habits.deny) {
            let denial = self.say.denial();
            self.say.shared.log().deny(&key, Some(operation), publishes(query), &denial);
            return Opinion::Deny(denial);
        }
        let grant = !self.say.chance(habits.deny);
        let (start, end) = super::log::around(Some(operation), publishes(query));
        self.say.shared.log().opine(&key, format!("{start}|{end} {channel}"), self.own, grant);
        if grant { Opinion::Grant } else { Opinion::Ignore }
    }
}

/// An extension: for all sessions, or for some.
pub(super) struct Extending {
    pub(super) say: Say,
    pub(super) some: bool,
}

impl Extending {
    /// Whether a message may be ended: a model client would not know where its events go if it were one that says that.
    fn may_end(message: &OwnedMessage) -> bool {
        !matches!(message.channel(), "/meta/connect" | "/service/probe")
    }
}

/// Whether an extension that is for some is for this session.
fn is_served(session: &Session<'_>) -> bool {
    session.id().to_bits().is_multiple_of(2)
}

impl Extension for Extending {
    fn serves(&self, session: &Session<'_>) -> bool {
        !self.some || is_served(session)
    }

    fn incoming(
        &mut self,
        message: &mut OwnedMessage,
        session: Option<&mut Session<'_>>,
        context: &mut Context<'_>,
    ) -> Passage {
        let _running = self.say.enter("incoming", context.now());
        let (key, habits) = (own_key(message), self.say.shared.log().habits.clone());
        if let Some(session) = session {
            assert!(!self.some || is_served(session), "an extension that is not for this session");
            self.say.shared.log().look(session);
        }
        let delete = Self::may_end(message) && self.say.chance(habits.delete);
        self.say.shared.log().incoming(&key, usize::from(self.some), delete);
        self.say.act(context);
        if delete {
            return Passage::Delete;
        }
        message.set_field("hook", "[1]").expect("JSON");
        message.set_ext("hook", "{\"seen\":true}").expect("JSON");
        if let Some(data) = self.say.reshaped(message.data()) {
            message.set_data(data).expect("JSON");
        }
        Passage::Pass
    }

    fn outgoing(&mut self, event: &mut OwnedMessage, context: &mut Context<'_>) -> Passage {
        let _running = self.say.enter("outgoing", context.now());
        self.say.act(context);
        if self.say.drops(event.data()) {
            return Passage::Delete;
        }
        if let Some(data) = self.say.reshaped(event.data()) {
            event.set_data(data).expect("JSON");
        }
        Passage::Pass
    }

    fn reply(&mut self, reply: &mut OutgoingReply<'_>, session: Option<&mut Session<'_>>, context: &mut Context<'_>) {
        let _running = self.say.enter("reply", context.now());
        if let Some(session) = session {
            assert!(!self.some || is_served(session), "an extension that is not for this session");
            self.say.shared.log().look(session);
            let name = self.say.shared.log().name_of(session.id());
            reply.set_ext("session", format!("\"{name}\"")).expect("JSON");
            reply.set_ext("served", if is_served(session) { "true" } else { "false" }).expect("JSON");
        }
        // The last one that looks at it is the first that was added.
        reply.set_ext("last", if self.some { "2" } else { "1" }).expect("JSON");
        self.say.act(context);
    }
}

/// The mark in data, if it is that of the model.
fn mark_in(data: Option<&str>) -> Option<Mark> {
    marks(data?.as_bytes()).next()
}

impl Say {
    /// Other data with the same mark.
    fn reshaped(&mut self, data: Option<&str>) -> Option<String> {
        let reshape = self.shared.log().habits.reshape;
        let mark = mark_in(data).filter(|_| self.chance(reshape))?;
        let data = format!("{{\"mark\":{mark},\"reshaped\":\"{:x}\"}}", self.rng.next());
        let mut log = self.shared.log();
        log.count(Kind::Reshaped);
        log.tell(News::Reshaped(mark, data.clone()));
        Some(data)
    }

    fn drops(&mut self, data: Option<&str>) -> bool {
        let drop = self.shared.log().habits.drop;
        let dropped = self.chance(drop);
        if let Some(mark) = mark_in(data).filter(|_| dropped) {
            self.shared.log().tell(News::Dropped(mark));
        }
        dropped
    }
}

/// The filter.
pub(super) struct Filter(pub(super) Say);

impl DataFilter for Filter {
    fn filter(&mut self, _: &str, data: &str, session: Option<&mut Session<'_>>, now: Now) -> Filtered {
        let _running = self.0.enter("filter", now);
        if let Some(session) = session {
            self.0.shared.log().look(session);
        }
        if self.0.drops(Some(data)) {
            return Filtered::Drop;
        }
        self.0.reshaped(Some(data)).map_or(Filtered::Keep, Filtered::Replace)
    }
}

/// A listener; the first one keeps the list of what there is.
pub(super) struct Hearing {
    pub(super) say: Say,
    pub(super) first: bool,
}

impl Hearing {
    fn hear(&mut self, what: &'static str, session: Option<&mut Session<'_>>, context: &mut Context<'_>) -> Running {
        let running = self.say.enter(what, context.now());
        if let Some(session) = session {
            self.say.shared.log().look(session);
        }
        self.say.act(context);
        running
    }
}

impl Listener for Hearing {
    fn session_added(&mut self, session: &mut Session<'_>, context: &mut Context<'_>) {
        let _running = self.hear("session_added", Some(session), context);
        if self.first {
            self.say.shared.log().added(session);
        }
    }

    fn session_removed(&mut self, session: &mut Session<'_>, removal: Removal, context: &mut Context<'_>) {
        let _running = self.hear("session_removed", Some(session), context);
        if !self.first {
            self.say.shared.log().removed(session, removal);
        }
    }

    fn channel_added(&mut self, channel: &str, context: &mut Context<'_>) {
        let _running = self.hear("channel_added", None, context);
        if self.first {
            let written = self.say.shared.log().channel_added(channel).to_string();
            let attributes = context.channel_attributes(channel).expect("it is there");
            assert!(attributes.is_empty(), "{channel} begins with {attributes:?}");
            attributes.set("written", &written).expect("there is room");
        }
    }

    fn channel_removed(&mut self, channel: &str, context: &mut Context<'_>) {
        let _running = self.hear("channel_removed", None, context);
        if self.first {
            self.say.shared.log().channel_removed(channel);
            assert!(context.channel_attributes(channel).is_none(), "{channel} is removed and there");
        }
    }

    fn subscribed(&mut self, session: &mut Session<'_>, channel: &str, context: &mut Context<'_>) {
        let _running = self.hear("subscribed", Some(session), context);
        if self.first {
            self.say.shared.log().subscribed(session, channel, true);
        }
    }

    fn unsubscribed(&mut self, session: &mut Session<'_>, channel: &str, context: &mut Context<'_>) {
        let _running = self.hear("unsubscribed", Some(session), context);
        if self.first {
            self.say.shared.log().subscribed(session, channel, false);
        }
    }

    fn message(&mut self, event: Published<'_>, session: Option<&mut Session<'_>>, context: &mut Context<'_>) {
        let _running = self.hear("message", session, context);
        let own = self.say.shared.log().channel(event.channel()).map(|number| number.to_string());
        let written = context.channel_attributes(event.channel()).and_then(|all| all.get("written").map(str::to_owned));
        assert_eq!(written, own, "what hooks have written on {}", event.channel());
    }

    fn queue_overflow(&mut self, session: &mut Session<'_>, context: &mut Context<'_>) {
        drop(self.hear("queue_overflow", Some(session), context));
    }
}

/// The service.
pub(super) struct Clerk(pub(super) Say);

impl Service for Clerk {
    fn call(&mut self, request: Request<'_>, session: &mut Session<'_>, context: &mut Context<'_>) {
        let _running = self.0.enter("call", context.now());
        self.0.shared.log().look(session);
        assert_eq!(request.call().session(), session.id());
        if mark_in(Some(request.data())).is_none() || !self.0.shared.log().may_act() {
            return;
        }
        let id = session.id();
        let name = self.0.shared.log().name_of(id);
        match self.0.rng.below(5) {
            0 => self.0.hand(context, (id, &name), request.channel()),
            1 => {
                let data = self.0.shared.log().event(HANDED, &Aim::One(name), (request.channel(), false));
                let result = if self.0.rng.chance(500) { Ok(data) } else { Err(data) };
                let given = self.0.give(context, Command::Answer { call: request.call().clone(), result });
                let mut log = self.0.shared.log();
                if given.is_err() {
                    return log.forget_event();
                }
                log.handed += 1;
            }
            2 => {
                let mut log = self.0.shared.log();
                let at = log.now + self.0.rng.below(2_000);
                log.plan(at, Later::Answer(request.call().clone()));
            }
            3 => {
                let mut log = self.0.shared.log();
                let at = log.now + self.0.rng.below(500);
                let channel = *self.0.rng.pick(&CHANNELS);
                log.plan(at, Later::Publish(channel));
            }
            _ => {}
        }
        self.0.act(context);
    }
}

/// The pages of the embedder.
pub(super) struct Page(pub(super) Say);

impl Fallback for Page {
    fn serve(&mut self, request: &WebRequest<'_>, context: &mut Context<'_>) -> Option<WebResponse> {
        let _running = self.0.enter("serve", context.now());
        self.0.act(context);
        request.path().starts_with("/own").then(|| WebResponse::new("text/plain", request.path()))
    }
}
