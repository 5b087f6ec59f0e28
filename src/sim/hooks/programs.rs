//! Any program of hook actions, against an engine by hand: small ones, and the smallest that breaks something is told.
//!
//! Owns the hooks that take their next action from a program, the clients that send any batches, and what must hold then: no
//! hook is called within another one, each message of a connection that lives gets one reply, nothing is left at the end, and
//! the same program gives the same bytes.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::bayeux::OwnedMessage;
use crate::broker;
use crate::clock::Now;
use crate::conn::route::Site;
use crate::conn::{ConnKey, Step};
use crate::engine::{Engine, Parts, Wake};
use crate::hooks::{
    Admission, Command, Context, DataFilter, Denial, Extension, Filtered, Hooks, Listener, OutgoingReply, Passage,
    PolicyTicket, Published, Query, Removal, Request, SecurityPolicy, Service, Session, SessionId, Verdict,
};
use crate::http::forwarded::TrustedProxies;
use crate::http::host::HostRule;
use crate::http::origin::OriginRule;
use crate::limits::Limits;
use crate::sim::rng::{Chance, SeededEntropy};
use crate::sim::speech::{self, Incoming, Responses};

/// Connections, each with a client.
const CLIENTS: usize = 3;
/// Commands that may wait, and those of one run: one may lead to another.
const COMMANDS: usize = 3;
const ALL_COMMANDS: usize = 60;
const DEFER_MS: u64 = 50;

/// What a hook does when it is called.
#[derive(Clone, Debug)]
enum Deed {
    Nothing,
    /// Says no, or ends what it is given.
    No,
    /// A policy: answers later, or never.
    Later,
    Command(Order),
}

/// A command, and whom it concerns.
#[derive(Clone, Debug)]
enum Order {
    Publish(usize),
    Deliver(usize),
    Disconnect(usize),
    Subscribe(usize),
    Unsubscribe(usize),
    Write(usize),
    Resolve(usize, bool),
}

/// What a client does.
#[derive(Clone, Debug)]
enum Act {
    /// Sends a batch.
    Send(usize, Vec<Message>),
    /// Closes its connection, and opens another one.
    Reconnect(usize),
    /// Nobody does anything for so long, ms.
    Wait(u64),
    /// Another thread.
    Order(Order),
}

#[derive(Clone, Copy, Debug)]
enum Message {
    Handshake,
    Subscribe,
    Unsubscribe,
    Publish,
    Call,
    Connect,
    Disconnect,
    /// The same as the session of the next client.
    Foreign,
}

/// What the hooks share.
#[derive(Debug, Default)]
struct Puppets {
    program: Vec<Deed>,
    next: usize,
    running: bool,
    left: usize,
    sessions: Vec<SessionId>,
    tickets: Vec<PolicyTicket>,
}

#[derive(Clone, Debug)]
struct Puppet(Arc<Mutex<Puppets>>);

struct Running(Puppet);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.share().running = false;
    }
}

impl Puppet {
    fn share(&self) -> MutexGuard<'_, Puppets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A hook is called: what it does.
    fn enter(&self) -> (Running, Deed) {
        let mut share = self.share();
        let within = core::mem::replace(&mut share.running, true);
        let deed = if share.program.is_empty() { Deed::Nothing } else { share.program[share.next].clone() };
        share.next = (share.next + 1) % share.program.len().max(1);
        drop(share);
        assert!(!within, "a hook is called within another one");
        (Running(self.clone()), deed)
    }

    fn command(&self, order: &Order) -> Option<Command> {
        let mut share = self.share();
        share.left = share.left.checked_sub(1)?;
        let somebody = |at: &usize| share.sessions.get(at % share.sessions.len().max(1)).copied();
        Some(match order {
            Order::Publish(n) => {
                Command::Publish { channel: format!("/c/{n}"), data: "7".to_owned(), lazy: n % 2 == 0 }
            }
            Order::Deliver(n) => {
                Command::Deliver { session: somebody(n)?, channel: "/service/d".to_owned(), data: "8".to_owned() }
            }
            Order::Disconnect(n) => Command::Disconnect(somebody(n)?),
            Order::Subscribe(n) => Command::Subscribe(somebody(n)?, format!("/c/{n}")),
            Order::Unsubscribe(n) => Command::Unsubscribe(somebody(n)?, format!("/c/{n}")),
            Order::Write(n) => Command::SetAttribute(somebody(n)?, "a".to_owned(), (n % 2 == 0).then(|| n.to_string())),
            Order::Resolve(n, yes) => {
                let ticket = *share.tickets.get(n % share.tickets.len().max(1))?;
                let result = if *yes { Ok(Admission::default()) } else { Err(Denial::new("late")) };
                Command::Resolve(ticket, result)
            }
        })
    }

    /// A hook that may give commands; whether it says no.
    fn act(&self, context: &mut Context<'_>) -> bool {
        let (_running, deed) = self.enter();
        if let Deed::Command(order) = &deed
            && let Some(command) = self.command(order)
        {
            // There may be no room for it.
            let _no_room = context.run(command).is_err();
        }
        matches!(deed, Deed::No)
    }

    fn ask(&self, query: &Query<'_>) -> Verdict {
        let (_running, deed) = self.enter();
        match deed {
            Deed::No => Verdict::deny("no"),
            Deed::Later => {
                self.share().tickets.push(query.ticket());
                Verdict::Defer
            }
            Deed::Nothing | Deed::Command(_) => Verdict::Allow,
        }
    }
}

impl SecurityPolicy for Puppet {
    fn can_handshake(&mut self, query: &Query<'_>, _: &mut Admission) -> Verdict {
        self.ask(query)
    }

    fn can_create(&mut self, query: &Query<'_>, _: Option<&mut Session<'_>>, _: &str) -> Verdict {
        self.ask(query)
    }

    fn can_subscribe(&mut self, query: &Query<'_>, _: &mut Session<'_>, _: &str) -> Verdict {
        self.ask(query)
    }

    fn can_publish(&mut self, query: &Query<'_>, _: Option<&mut Session<'_>>, _: &str) -> Verdict {
        self.ask(query)
    }
}

impl Extension for Puppet {
    fn incoming(
        &mut self,
        message: &mut OwnedMessage,
        _: Option<&mut Session<'_>>,
        context: &mut Context<'_>,
    ) -> Passage {
        message.set_ext("seen", "true").expect("JSON");
        if self.act(context) { Passage::Delete } else { Passage::Pass }
    }

    fn outgoing(&mut self, _: &mut OwnedMessage, context: &mut Context<'_>) -> Passage {
        if self.act(context) { Passage::Delete } else { Passage::Pass }
    }

    fn reply(&mut self, reply: &mut OutgoingReply<'_>, _: Option<&mut Session<'_>>, context: &mut Context<'_>) {
        reply.set_ext("signed", "true").expect("JSON");
        self.act(context);
    }
}

impl Listener for Puppet {
    fn session_added(&mut self, session: &mut Session<'_>, context: &mut Context<'_>) {
        self.share().sessions.push(session.id());
        self.act(context);
    }

    fn session_removed(&mut self, _: &mut Session<'_>, _: Removal, context: &mut Context<'_>) {
        self.act(context);
    }

    fn channel_added(&mut self, _: &str, context: &mut Context<'_>) {
        self.act(context);
    }

    fn subscribed(&mut self, _: &mut Session<'_>, _: &str, context: &mut Context<'_>) {
        self.act(context);
    }

    fn unsubscribed(&mut self, _: &mut Session<'_>, _: &str, context: &mut Context<'_>) {
        self.act(context);
    }

    fn message(&mut self, _: Published<'_>, _: Option<&mut Session<'_>>, context: &mut Context<'_>) {
        self.act(context);
    }
}

impl Service for Puppet {
    fn call(&mut self, request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>) {
        if self.act(context) {
            let _no_room = request.answer(context, Ok("9")).is_err();
        }
    }
}

impl DataFilter for Puppet {
    fn filter(&mut self, _: &str, _: &str, _: Option<&mut Session<'_>>, _: Now) -> Filtered {
        let (_running, deed) = self.enter();
        if matches!(deed, Deed::No) { Filtered::Drop } else { Filtered::Keep }
    }
}

/// One client: its connection, what it has asked for, and its session.
#[derive(Default)]
struct Caller {
    key: Option<ConnKey>,
    responses: Responses,
    /// The ids of each request that is not answered.
    asked: Vec<Vec<String>>,
    id: Option<String>,
}

struct Bench {
    engine: Engine,
    puppet: Puppet,
    now: Now,
    callers: Vec<Caller>,
    serial: u64,
    /// All that the engine has written.
    written: Vec<u8>,
}

impl Bench {
    fn new(program: Vec<Deed>) -> Self {
        let puppet = Puppet(Arc::new(Mutex::new(Puppets { program, left: ALL_COMMANDS, ..Puppets::default() })));
        let hooks = Hooks::default().policy(puppet.clone()).extension(puppet.clone()).listener(puppet.clone());
        let hooks = hooks.filter("/**", puppet.clone()).and_then(|hooks| hooks.service("/service/**", puppet.clone()));
        let site = Site {
            mount: "/cometd".to_owned(),
            hosts: HostRule::new(&[]).unwrap(),
            origins: OriginRule::default(),
            proxies: TrustedProxies::parse(&[]).unwrap(),
            publishing: Default::default(),
            pages: crate::pages::Pages::new("/cometd", false),
            has_fallback: false,
        };
        let limits = Limits {
            mailbox_commands: COMMANDS,
            defer_ms: DEFER_MS,
            deferred_batches: 4,
            sweep_ms: 100,
            ..Limits::default()
        };
        let broker = broker::Config { timeout_ms: 200, max_interval_ms: 300, ..broker::Config::default() };
        let now = Now { mono_ms: 1_000, unix_ms: 1_795_210_000_000 };
        let entropy = Box::new(SeededEntropy(Chance::seeded(1).secret("entropy", 0)));
        let engine = Engine::new(Parts { site, broker, limits, entropy, hooks: hooks.unwrap() }, now);
        let callers = (0..CLIENTS).map(|_| Caller::default()).collect();
        Self { engine, puppet, now, callers, serial: 0, written: Vec::new() }
    }

    fn send(&mut self, who: usize, batch: &[Message]) {
        let next = self.callers[(who + 1) % CLIENTS].id.clone();
        let own = self.callers[who].id.clone();
        let (mut ids, mut texts) = (Vec::new(), Vec::new());
        let shakes = batch.iter().position(|message| matches!(message, Message::Handshake));
        for message in batch {
            self.serial += 1;
            let id = if matches!(message, Message::Foreign) { &next } else { &own };
            let of = id.as_ref().map(|id| format!("\"clientId\":\"{id}\",")).unwrap_or_default();
            let rest = match message {
                Message::Handshake => {
                    r#""channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]"#
                }
                Message::Subscribe => r#""channel":"/meta/subscribe","subscription":["/c/1","/c/*"]"#,
                Message::Unsubscribe => r#""channel":"/meta/unsubscribe","subscription":"/c/1""#,
                Message::Publish | Message::Foreign => r#""channel":"/c/1","data":1"#,
                Message::Call => r#""channel":"/service/ask","data":2"#,
                Message::Connect => r#""channel":"/meta/connect","connectionType":"long-polling""#,
                Message::Disconnect => r#""channel":"/meta/disconnect""#,
            };
            ids.push(format!("\"{}\"", self.serial));
            texts.push(format!("{{{of}\"id\":\"{}\",{rest}}}", self.serial));
        }
        // What stands beside a handshake is ignored.
        self.callers[who].asked.push(shakes.map_or(ids.clone(), |at| vec![ids[at].clone()]));
        let mut request = Vec::new();
        speech::post(&mut request, None, &format!("[{}]", texts.join(",")), false);
        let key = self.key(who);
        self.engine.receive(key, &request, self.now);
        self.turn();
    }

    fn key(&mut self, who: usize) -> ConnKey {
        let (engine, now) = (&mut self.engine, self.now);
        *self.callers[who].key.get_or_insert_with(|| engine.accept(None, now).expect("there is room"))
    }

    fn close(&mut self, who: usize) {
        if let Some(key) = self.callers[who].key.take() {
            self.engine.closed(key, self.now);
        }
        self.callers[who] = Caller { id: self.callers[who].id.take(), ..Caller::default() };
        self.turn();
    }

    /// The turns that are due now.
    fn turn(&mut self) {
        for _ in 0..1_000 {
            self.engine.resume(self.now);
            self.engine.handle_timeout(self.now);
            loop {
                let more = self.engine.flush(self.now);
                while let Some(key) = self.engine.next_dirty() {
                    self.drive(key);
                }
                if !more {
                    break;
                }
            }
            self.engine.check_links();
            if !matches!(self.engine.poll_timeout(), Some((_, Wake::Work))) {
                return;
            }
        }
        panic!("there is always something to be done");
    }

    fn drive(&mut self, key: ConnKey) {
        loop {
            match self.engine.step(key) {
                Step::Wait => return,
                Step::Write => {
                    let mut slices = [IoSlice::new(&[]); 8];
                    let used = self.engine.slices(key, &mut slices);
                    let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
                    self.engine.sent(key, bytes.len(), self.now);
                    self.read(key, &bytes);
                }
                step => panic!("the server ends a connection: {step:?}"),
            }
        }
    }

    /// Each request has one answer, in order, with one reply for each of its messages.
    fn read(&mut self, key: ConnKey, bytes: &[u8]) {
        self.written.extend(bytes);
        let caller = self.callers.iter_mut().find(|caller| caller.key == Some(key)).expect("whose connection it is");
        caller.responses.push(bytes);
        while let Some(response) = caller.responses.whole() {
            let mut asked = caller.asked.remove(0);
            if response.status == 500 {
                // A newer connect took its place.
                assert_eq!(asked.len(), 1);
                continue;
            }
            assert_eq!(response.status, 200, "{response:?}");
            for message in Incoming::batch(&response.body).iter().filter(|message| message.raw("data").is_none()) {
                // That the session is over is news, and no reply.
                let Some(id) = message.raw("id") else { continue };
                let at = asked.iter().position(|own| own == id);
                let at = at.unwrap_or_else(|| panic!("a reply to nothing: {message:?}"));
                asked.remove(at);
                assert_eq!(message.ext("signed").as_deref(), Some("true"), "{message:?}");
                caller.id = message.text("clientId").or(caller.id.take());
            }
            assert!(asked.is_empty(), "no replies to {asked:?}");
        }
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now.mono_ms + ms;
        while let Some((at, _)) = self.engine.poll_timeout().filter(|(at, _)| *at <= end) {
            let passed = at.saturating_sub(self.now.mono_ms);
            self.now = Now { mono_ms: self.now.mono_ms + passed, unix_ms: self.now.unix_ms + passed };
            self.turn();
        }
        self.now = Now { mono_ms: end, unix_ms: self.now.unix_ms + (end - self.now.mono_ms) };
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Send(who, batch) => self.send(who % CLIENTS, batch),
            Act::Reconnect(who) => self.close(who % CLIENTS),
            Act::Wait(ms) => self.wait(*ms),
            Act::Order(order) => {
                if let Some(command) = self.puppet.command(order) {
                    self.engine.command(command, self.now);
                    self.turn();
                }
            }
        }
    }
}

/// All that is written when this program meets these acts.
fn play(program: &[Deed], acts: &[Act]) -> Vec<u8> {
    let mut bench = Bench::new(program.to_vec());
    for act in acts {
        bench.act(act);
    }
    // Whatever has been asked is answered when its time is over, and every deadline is.
    bench.wait(2_000);
    let waiting: BTreeMap<usize, _> = bench.callers.iter().map(|caller| &caller.asked).enumerate().collect();
    assert!(waiting.values().all(|asked| asked.is_empty()), "not answered: {waiting:?}");
    (0..CLIENTS).for_each(|who| bench.close(who));
    bench.wait(5_000);
    // What the log is not told at once, it is a minute later.
    bench.wait(60_000);
    assert!(bench.engine.is_at_rest(), "something is left: {:?}", bench.engine.census());
    assert_eq!(bench.engine.poll_timeout(), None);
    bench.written
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![
        (0..4_usize).prop_map(Order::Publish),
        (0..4_usize).prop_map(Order::Deliver),
        (0..4_usize).prop_map(Order::Disconnect),
        (0..4_usize).prop_map(Order::Subscribe),
        (0..4_usize).prop_map(Order::Unsubscribe),
        (0..4_usize).prop_map(Order::Write),
        (0..4_usize, any::<bool>()).prop_map(|(n, yes)| Order::Resolve(n, yes)),
    ]
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => Just(Deed::Nothing),
        1 => Just(Deed::No),
        2 => Just(Deed::Later),
        4 => order().prop_map(Deed::Command),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        1 => Just(Message::Handshake),
        3 => Just(Message::Subscribe),
        1 => Just(Message::Unsubscribe),
        4 => Just(Message::Publish),
        2 => Just(Message::Call),
        3 => Just(Message::Connect),
        1 => Just(Message::Disconnect),
        1 => Just(Message::Foreign),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..CLIENTS, vec(message(), 1..4)).prop_map(|(who, batch)| Act::Send(who, batch)),
        3 => (0..CLIENTS).prop_map(|who| Act::Send(who, vec![Message::Handshake])),
        1 => (0..CLIENTS).prop_map(Act::Reconnect),
        2 => (0..120_u64).prop_map(Act::Wait),
        2 => order().prop_map(Act::Order),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_program_of_hooks_leaves_the_server_whole(program in vec(deed(), 0..24), acts in vec(act(), 0..24)) {
        let written = play(&program, &acts);
        prop_assert_eq!(written, play(&program, &acts), "the same program gives the same bytes");
    }
}
