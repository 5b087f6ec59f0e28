//! A server without sockets, and a crowd of clients that are a few bytes each.
//!
//! Owns the loop around an [`Engine`]: what it wants written is taken at once, whole, and thrown away. So what is timed is
//! the engine alone. The clock is the bench's own and goes on by one millisecond a turn.

use std::io::IoSlice;
use std::ops::Range;
use std::time::Duration;

use encke::broker;
use encke::broker::rules::Rule;
use encke::broker::token::{Entropy, SECRET_BYTES};
use encke::clock::Now;
use encke::conn::route::Site;
use encke::conn::{ConnKey, Step};
use encke::engine::{Engine, Parts};
use encke::hooks::Command;
use encke::http::forwarded::TrustedProxies;
use encke::http::host::HostRule;
use encke::http::origin::OriginRule;
use encke::limits::Limits;
use rustix::time::{ClockId, clock_gettime};

/// What all are subscribed to.
pub(crate) const CHANNEL: &str = "/load";
/// Requests that come in one turn.
const REQUESTS_PER_TURN: usize = 512;
/// How long a session outlives the answer to its connect, ms: longer than any round of the crowd takes by its own clock.
const MAX_INTERVAL_MS: u32 = 60_000;

/// Numbers in no order, the same in each run.
pub(crate) struct Shuffle(pub(crate) u64);

impl Shuffle {
    /// The next one below a bound.
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    /// Brings things into no order.
    fn mix<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.next(last + 1));
        }
    }
}

/// Secrets that are unlike each other, and no secrets.
struct Counter(u128);

impl Entropy for Counter {
    fn secret(&mut self) -> [u8; SECRET_BYTES] {
        self.0 += 1;
        self.0.to_be_bytes()
    }
}

/// What a client has to know. Its requests are put together when they are sent, so that it takes as little room in the
/// processor's caches as it can.
struct Client {
    conn: ConnKey,
    id: [u8; 32],
    cookie: [u8; 26],
}

/// A connect, but for who sends it: the request of `encke-loadtest`.
struct Template {
    bytes: Vec<u8>,
    id: Range<usize>,
    cookie: Range<usize>,
}

impl Template {
    fn new() -> Self {
        let (id, cookie) = ("i".repeat(32), "c".repeat(26));
        let body = format!(
            "[{{\"channel\":\"/meta/connect\",\"clientId\":\"{id}\",\"connectionType\":\"long-polling\",\"id\":\"27\"}}]"
        );
        let text = post(&body, &cookie);
        let place = |part: &str| text.find(part).map(|at| at..at + part.len()).expect("it was put in");
        Self { id: place(&id), cookie: place(&cookie), bytes: text.into_bytes() }
    }

    fn of(&mut self, client: &Client) -> &[u8] {
        self.bytes[self.id.clone()].copy_from_slice(&client.id);
        self.bytes[self.cookie.clone()].copy_from_slice(&client.cookie);
        &self.bytes
    }
}

fn post(body: &str, cookie: &str) -> String {
    let length = body.len();
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: BAYEUX_BROWSER={cookie}\r\n") };
    let fields = format!("Host: app.example\r\nContent-Type: application/json;charset=UTF-8\r\n{cookie}");
    format!("POST /cometd HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

/// The time that this thread has been at work: what else the machine does is not in it.
pub(crate) fn worked() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a thread has not worked for less than nothing")
}

/// Where the time of some turns went.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Publishing: the event encoded, its channel matched, a pointer put into each outbox.
    pub(crate) publish: Duration,
    /// Timers that fired.
    pub(crate) timers: Duration,
    /// Answers framed and appended to what their connections have to write.
    pub(crate) flush: Duration,
    /// Hearing that it is written: what was pending is freed, the session is away, its timer is armed.
    pub(crate) written: Duration,
}

impl Spent {
    /// All of it.
    pub(crate) fn total(&self) -> Duration {
        self.publish + self.timers + self.flush + self.written
    }
}

/// An engine and its clients, each with a connection of its own.
pub(crate) struct Crowd {
    pub(crate) engine: Engine,
    pub(crate) now: Now,
    clients: Vec<Client>,
    template: Template,
    /// The order in which clients do things; `None`: that in which they came.
    order: Option<Shuffle>,
    /// What the engine wrote, if somebody wants to know.
    heard: Option<Vec<u8>>,
}

impl Crowd {
    /// An engine without clients, and room for so many.
    pub(crate) fn new(most: usize, channels: Vec<Rule>, order: Option<Shuffle>) -> Self {
        let parts = Parts {
            site: Site {
                mount: "/cometd".to_owned(),
                hosts: HostRule::default(),
                origins: OriginRule::new(&[]).expect("no origins are good ones"),
                proxies: TrustedProxies::default(),
                publishing: Default::default(),
                pages: encke::pages::Pages::new("/cometd", false),
                has_fallback: false,
            },
            broker: broker::Config { channels, max_interval_ms: MAX_INTERVAL_MS, ..broker::Config::default() },
            limits: Limits { sessions: most, connections: most, ..Limits::default() },
            entropy: Box::new(Counter(0)),
            hooks: Default::default(),
        };
        let now = Now { mono_ms: 1, unix_ms: 1_700_000_000_000 };
        let (engine, clients) = (Engine::new(parts, now), Vec::with_capacity(most));
        Self { engine, now, clients, template: Template::new(), order, heard: None }
    }

    /// How many clients there are.
    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// So many clients more open a connection.
    pub(crate) fn accept(&mut self, more: usize) {
        for _ in 0..more {
            let conn = self.engine.accept(None, self.now).expect("the limit is theirs");
            self.clients.push(Client { conn, id: [0; 32], cookie: [0; 26] });
        }
    }

    /// Clients from there on shake hands; then they subscribe, and have their first connect answered by the same reply.
    pub(crate) fn join(&mut self, from: usize) {
        for at in self.sequence(from) {
            let body = "[{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\
                \"supportedConnectionTypes\":[\"long-polling\"]}]";
            let reply = self.ask(at, &post(body, ""));
            let client = &mut self.clients[at];
            client.id = between(&reply, "\"clientId\":\"", "\"");
            client.cookie = between(&reply, "BAYEUX_BROWSER=", ";");
            self.pass(at);
        }
        for at in self.sequence(from) {
            let Client { id, cookie, .. } = &self.clients[at];
            let [id, cookie] = [id.as_slice(), cookie].map(String::from_utf8_lossy);
            let subscribe =
                format!("{{\"channel\":\"/meta/subscribe\",\"clientId\":\"{id}\",\"subscription\":\"{CHANNEL}\"}}");
            let connect = format!(
                "{{\"channel\":\"/meta/connect\",\"clientId\":\"{id}\",\"connectionType\":\"long-polling\",\"id\":\"1\"}}"
            );
            let request = post(&format!("[{subscribe},{connect}]"), &cookie);
            let reply = self.ask(at, &request);
            assert_eq!(reply.matches("\"successful\":true").count(), 2, "{reply}");
            self.pass(at);
        }
    }

    /// Clients from there on send a connect, so many each turn; how long the engine takes from the bytes until the connect
    /// is held.
    pub(crate) fn park(&mut self, from: usize) -> Duration {
        let sequence = self.sequence(from);
        let mut spent = Duration::ZERO;
        for batch in sequence.chunks(REQUESTS_PER_TURN) {
            let start = worked();
            for at in batch {
                let client = &self.clients[*at];
                self.engine.receive(client.conn, self.template.of(client), self.now);
            }
            spent += worked() - start + self.turn().total();
        }
        spent
    }

    /// Publishes an event to all, and answers those who wait.
    pub(crate) fn publish(&mut self, data: &str) -> Spent {
        let command = Command::Publish { channel: CHANNEL.to_owned(), data: data.to_owned(), lazy: false };
        let start = worked();
        assert!(self.engine.command(command, self.now));
        let publish = worked() - start;
        Spent { publish, ..self.turn() }
    }

    /// What the loop does after it has read: turns until nothing is left over.
    pub(crate) fn turn(&mut self) -> Spent {
        let mut spent = Spent::default();
        loop {
            let start = worked();
            self.engine.resume(self.now);
            self.engine.handle_timeout(self.now);
            let fired = worked();
            while self.engine.flush(self.now) {}
            let flushed = worked();
            while let Some(key) = self.engine.next_dirty() {
                self.write(key);
            }
            spent.timers += fired - start;
            spent.flush += flushed - fired;
            spent.written += worked() - flushed;
            self.now.mono_ms += 1;
            if self.engine.poll_timeout().is_none_or(|(at, _)| at > self.now.mono_ms) {
                return spent;
            }
        }
    }

    /// All connections break, and the sessions expire.
    pub(crate) fn leave(&mut self) {
        for client in self.clients.drain(..) {
            self.engine.closed(client.conn, self.now);
        }
        self.now.mono_ms += u64::from(MAX_INTERVAL_MS);
        self.turn();
    }

    fn write(&mut self, key: ConnKey) {
        while self.engine.step(key) == Step::Write {
            let mut slices = [IoSlice::new(&[]); 16];
            let used = self.engine.slices(key, &mut slices);
            if let Some(heard) = &mut self.heard {
                slices.iter().take(used).for_each(|slice| heard.extend_from_slice(slice));
            }
            let length = slices.iter().take(used).map(|slice| slice.len()).sum();
            self.engine.sent(key, length, self.now);
        }
    }

    /// What a client is answered.
    fn ask(&mut self, at: usize, request: &str) -> String {
        self.heard = Some(Vec::new());
        self.engine.receive(self.clients[at].conn, request.as_bytes(), self.now);
        while self.engine.flush(self.now) {}
        while let Some(key) = self.engine.next_dirty() {
            self.write(key);
        }
        String::from_utf8(self.heard.take().unwrap_or_default()).expect("answers are text")
    }

    /// A turn ends after so many requests.
    fn pass(&mut self, requests: usize) {
        if requests.is_multiple_of(REQUESTS_PER_TURN) {
            self.turn();
        }
    }

    /// Clients from there on, in the order in which they do things.
    fn sequence(&mut self, from: usize) -> Vec<usize> {
        let mut sequence: Vec<usize> = (from..self.clients.len()).collect();
        if let Some(order) = &mut self.order {
            order.mix(&mut sequence);
        }
        sequence
    }
}

/// The text between two others, which has exactly that length.
fn between<const N: usize>(text: &str, before: &str, after: &str) -> [u8; N] {
    let rest = text.split_once(before).map(|(_, rest)| rest);
    let found = rest.and_then(|rest| rest.split_once(after)).map(|(found, _)| found.as_bytes());
    found.and_then(|found| found.try_into().ok()).unwrap_or_else(|| panic!("no {before}… of {N} bytes in {text}"))
}
