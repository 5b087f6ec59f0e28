//! What the rooms below the sockets cost, through their public interfaces: `cargo bench --bench rooms [NAME]`.
//!
//! Each number is for one thing: one request head, one body, one match, one timer, one delivery. None of it touches a
//! socket; the cost of those is what `encke-loadtest fanout` adds.

use std::hint::black_box;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};

use encke::bayeux::{self, Channel, Pattern};
use encke::broker;
use encke::broker::policy::AllowAll;
use encke::broker::rules::{Keep, Rule};
use encke::broker::session::SessionKey;
use encke::broker::token::{Entropy, SECRET_BYTES};
use encke::broker::topics::{Subscriber, Topics};
use encke::clock::Now;
use encke::conn::route::Site;
use encke::conn::{ConnKey, Step};
use encke::engine::{Command, Engine, Parts};
use encke::http::forwarded::TrustedProxies;
use encke::http::head::{Head, HeadScan};
use encke::http::origin::OriginRule;
use encke::limits::Limits;
use encke::wheel::Wheel;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    head(&mut criterion);
    decode(&mut criterion);
    topics(&mut criterion);
    wheel(&mut criterion);
    fan_out(&mut criterion);
    criterion.final_summary();
}

/// What Chrome sends before the body of a connect, from a page of the same site.
const CHROME_HEAD: &str = "POST /cometd/connect HTTP/1.1\r\n\
    Host: app.example\r\n\
    Connection: keep-alive\r\n\
    Content-Length: 102\r\n\
    sec-ch-ua-platform: \"Windows\"\r\n\
    User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
    Safari/537.36\r\n\
    sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\"\r\n\
    Content-Type: application/json;charset=UTF-8\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    Accept: */*\r\n\
    Origin: https://app.example\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: cors\r\n\
    Sec-Fetch-Dest: empty\r\n\
    Referer: https://app.example/dashboard\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
    Cookie: BAYEUX_BROWSER=jis5wrdkvr3ky2dkrv2evbtt7a; theme=dark\r\n\
    \r\n";

fn head(criterion: &mut Criterion) {
    let limits = Limits::default();
    let bytes = CHROME_HEAD.as_bytes();
    let mut group = criterion.benchmark_group("head");
    group.bench_function("scan", |bencher| {
        bencher.iter(|| HeadScan::default().advance(black_box(bytes), &limits));
    });
    group.bench_function("scan and parse", |bencher| {
        bencher.iter(|| {
            let end = HeadScan::default().advance(black_box(bytes), &limits).unwrap().unwrap();
            Head::parse(&bytes[..end], &limits).unwrap().body
        });
    });
}

fn decode(criterion: &mut Criterion) {
    let limits = Limits::default();
    let connect = "[{\"id\":\"27\",\"channel\":\"/meta/connect\",\"connectionType\":\"long-polling\",\
        \"clientId\":\"aaaaaac3ejp6hnwjpvpawqmfhy5tgirg\"}]";
    let publish = "{\"id\":\"28\",\"channel\":\"/chat/tea\",\"clientId\":\"aaaaaac3ejp6hnwjpvpawqmfhy5tgirg\",\
        \"data\":{\"from\":\"Ada\",\"text\":\"Is there any left?\",\"tags\":[\"tea\",\"milk\"],\"at\":1700000000000}}";
    let ten = format!("[{}]", [publish; 10].join(","));
    let mut group = criterion.benchmark_group("decode");
    for (name, body) in [("connect", connect), ("batch of 10", &ten)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| bayeux::decode(black_box(body.as_bytes()), &limits).unwrap().len());
        });
    }
}

/// Numbers in no order, the same in each run.
struct Shuffle(u64);

impl Shuffle {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }
}

/// Each of so many sessions listens to a channel of its own, one of all to a pattern above them.
fn topics(criterion: &mut Criterion) {
    const NAMES: usize = 1 << 12;
    let mut group = criterion.benchmark_group("topic match");
    for subscriptions in [10, 10_000, 1_000_000] {
        let mut topics = Topics::default();
        let session = SessionKey::from_bits(1 << 32).unwrap();
        let subscriber = Subscriber { session, place: 0 };
        let own = |n: usize| format!("/user/{n}/inbox");
        topics.insert(Pattern::parse("/user/**").unwrap(), subscriber);
        for n in 1..subscriptions {
            topics.insert(Pattern::parse(&own(n)).unwrap(), subscriber);
        }
        let mut shuffle = Shuffle(1);
        let names: Vec<String> = (0..NAMES).map(|_| own(shuffle.next(subscriptions - 1) + 1)).collect();
        let mut at = 0;
        group.bench_function(BenchmarkId::from_parameter(subscriptions), |bencher| {
            bencher.iter(|| {
                at = (at + 1) % NAMES;
                topics.matching(Channel::parse(&names[at]).unwrap()).count()
            });
        });
        let found = topics.matching(Channel::parse(&names[0]).unwrap()).count();
        assert_eq!(found, 2, "the channel itself and the pattern");
    }
}

fn wheel(criterion: &mut Criterion) {
    const TIMERS: usize = 1_000_000;
    const WITHIN_MS: usize = 40_000;
    let mut shuffle = Shuffle(2);
    let mut wheel = Wheel::new(0);
    let mut timers: Vec<_> = (0_u32..).take(TIMERS).map(|n| wheel.arm(shuffle.next(WITHIN_MS) as u64, n)).collect();
    criterion.bench_function("wheel/cancel and arm one of 1,000,000", |bencher| {
        bencher.iter(|| {
            let at = shuffle.next(TIMERS);
            let owner = wheel.cancel(timers[at]).unwrap();
            timers[at] = wheel.arm(shuffle.next(WITHIN_MS) as u64, owner);
        });
    });
    assert_eq!(wheel.len(), TIMERS);
}

/// Secrets that are unlike each other, and no secrets.
struct Counter(u128);

impl Entropy for Counter {
    fn secret(&mut self) -> [u8; SECRET_BYTES] {
        self.0 += 1;
        self.0.to_be_bytes()
    }
}

/// An engine whose clients hold their connects, and the loop around it with memory in place of sockets.
struct World {
    engine: Engine,
    now: Now,
    /// Each connection, and the connect that it sends again and again.
    clients: Vec<(ConnKey, String)>,
    /// What was written to the connection written to last.
    written: Vec<u8>,
}

fn post(body: &str) -> String {
    let length = body.len();
    let fields = "Host: app.example\r\nContent-Type: application/json";
    format!("POST /cometd HTTP/1.1\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{body}")
}

impl World {
    fn with_parked(clients: usize, channels: Vec<Rule>) -> Self {
        let parts = Parts {
            site: Site {
                mount: "/cometd".to_owned(),
                origins: OriginRule::new(&[]).unwrap(),
                proxies: TrustedProxies::default(),
                publishing: Default::default(),
                pages: encke::pages::Pages::new("/cometd", false),
            },
            broker: broker::Config { channels, ..broker::Config::default() },
            limits: Limits::default(),
            entropy: Box::new(Counter(0)),
            policy: Box::new(AllowAll),
        };
        let now = Now { mono_ms: 1, unix_ms: 1_700_000_000_000 };
        let mut world = Self { engine: Engine::new(parts, now), now, clients: Vec::new(), written: Vec::new() };
        for _ in 0..clients {
            let client = world.client();
            world.clients.push(client);
        }
        world.park();
        world
    }

    /// A connection with a session that is subscribed and has had its first connect answered.
    fn client(&mut self) -> (ConnKey, String) {
        let key = self.engine.accept(None, self.now).unwrap();
        let ask = |world: &mut Self, body: &str| {
            world.engine.receive(key, post(body).as_bytes(), world.now);
            world.turn();
            String::from_utf8(world.written.clone()).unwrap()
        };
        let reply = ask(
            self,
            "[{\"channel\":\"/meta/handshake\",\"version\":\"1.0\",\"supportedConnectionTypes\":[\"long-polling\"]}]",
        );
        let (_, rest) = reply.split_once("\"clientId\":\"").unwrap();
        let (id, _) = rest.split_once('"').unwrap();
        let connect = format!(
            "{{\"channel\":\"/meta/connect\",\"clientId\":\"{id}\",\"connectionType\":\"long-polling\",\"id\":\"7\"}}"
        );
        let subscribe = format!("{{\"channel\":\"/meta/subscribe\",\"clientId\":\"{id}\",\"subscription\":\"/load\"}}");
        let replies = ask(self, &format!("[{subscribe},{connect}]"));
        assert_eq!(replies.matches("\"successful\":true").count(), 2, "{replies}");
        (key, post(&format!("[{connect}]")))
    }

    /// Each client sends its next connect.
    fn park(&mut self) {
        for (key, connect) in &self.clients {
            self.engine.receive(*key, connect.as_bytes(), self.now);
        }
        self.turn();
    }

    /// What the loop does after it has read: turns until nothing is left over. Bytes go nowhere.
    fn turn(&mut self) {
        loop {
            self.engine.handle_timeout(self.now);
            self.engine.flush(self.now);
            let mut idle = true;
            while let Some(key) = self.engine.next_dirty() {
                idle = false;
                while self.engine.step(key) == Step::Write {
                    self.write(key);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn write(&mut self, key: ConnKey) {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = self.engine.slices(key, &mut slices);
        self.written.clear();
        for slice in slices.iter().take(used) {
            self.written.extend_from_slice(slice);
        }
        let length = self.written.len();
        self.engine.sent(key, length, self.now);
    }

    fn publish(&mut self, data: &str) {
        let command = Command::Publish { channel: "/load".to_owned(), data: data.to_owned(), lazy: false };
        assert!(self.engine.command(&command, self.now));
        self.turn();
    }
}

fn fan_out(criterion: &mut Criterion) {
    const CLIENTS: u32 = 1_000;
    const NEW: u32 = 100;
    let mut group = criterion.benchmark_group(format!("fan-out to {CLIENTS}"));
    let history = Rule { pattern: "/**".to_owned(), history: Some(Some(Keep::default())), ..Rule::default() };
    let mut keeping = World::with_parked(CLIENTS as usize, vec![history]);
    let mut world = World::with_parked(CLIENTS as usize, Vec::new());
    for (size, kept) in [(100, false), (100, true), (8_000, false), (8_000, true)] {
        let world = if kept { &mut keeping } else { &mut world };
        let data = format!("\"{}\"", "x".repeat(size));
        let before = world.engine.counters();
        let of = if kept { "kept in a history, " } else { "" };
        // A round is a publish; what criterion is told is the share of one delivery.
        group.bench_function(format!("a delivery of {size} bytes, {of}from publish to written"), |bencher| {
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    let start = Instant::now();
                    world.publish(&data);
                    spent += start.elapsed();
                    world.park();
                    world.now.mono_ms += 1;
                }
                spent / CLIENTS
            });
        });
        let after = world.engine.counters();
        let (published, encoded) = (after.published - before.published, after.encoded - before.encoded);
        assert_eq!(
            after.delivered - before.delivered,
            published * u64::from(CLIENTS),
            "each event to each client, once"
        );
        assert_eq!(encoded, published, "one encoding for all");
    }
    group.bench_function("the next connect, from bytes to parked", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                world.publish("0");
                let start = Instant::now();
                world.park();
                spent += start.elapsed();
                world.now.mono_ms += 1;
            }
            spent / CLIENTS
        });
    });
    group.bench_function("a new client, from handshake to first connect answered", |bencher| {
        bencher.iter_custom(|rounds| {
            let mut spent = Duration::ZERO;
            for _ in 0..rounds {
                let mut world = World::with_parked(0, Vec::new());
                let start = Instant::now();
                for _ in 0..NEW {
                    black_box(world.client());
                }
                spent += start.elapsed();
            }
            spent / NEW
        });
    });
}
