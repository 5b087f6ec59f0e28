//! 10,000 prices a second from a thread of the program's own, for clients that need not hear each one at once.
//!
//! ```text
//! $ cargo run --release --example ticker
//! listening on http://127.0.0.1:40123/cometd
//! published 10000, refused 0
//! ```
//!
//! In a second terminal, with the port that it printed:
//!
//! ```sh
//! curl -sSN 'http://127.0.0.1:40123/events/summary/*' -H 'Accept: application/x-ndjson'
//! curl -sSN 'http://127.0.0.1:40123/events/prices/S07'
//! ```
//!
//! There are a hundred symbols, `S00` to `S99`, and each has a new price a hundred times a second. Clients may subscribe
//! only. They choose what they can use:
//!
//! | channel | carries |
//! |---|---|
//! | `/prices/<symbol>` | each price: `{"tick":217,"price":100.31}`. It is lazy: prices wait for up to a quarter of a second and then go together |
//! | `/summary/<symbol>` | a price at most every quarter of a second, at once, with the time: `{"ms":5250,"last":{…}}` |
//!
//! A line a second says how many prices the server's mailbox has taken, and how many not, for it was full. Another place to
//! listen on than a free port is its argument: `ticker 0.0.0.0:8080`. It serves until it is killed.

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, thread};

use encke::hooks::{DataFilter, Denial, Filtered, Hooks, Now, Operation, Opinion, Query, Session};
use encke::server::{Handle, HandleError, Overflow, Rule, Server, Settings};

/// Symbols, and how often each has a new price in a second.
const SYMBOLS: usize = 100;
const TICKS: u32 = 100;
/// How long a price waits for others, and how long a summary is good for, ms.
const QUARTER_MS: u32 = 250;

fn main() -> ExitCode {
    let at = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let Ok(at) = at.parse::<SocketAddr>() else {
        eprintln!("{at:?}: must be an address and a port, such as 127.0.0.1:8080");
        return ExitCode::FAILURE;
    };
    match serve(at) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(at: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::default();
    settings.broker.channels = vec![Rule { lazy: Some(true), ..Rule::new("/prices/*") }];
    settings.broker.max_lazy_ms = QUARTER_MS;
    // Who is too slow misses old prices, and is told so. By default he would lose his session.
    settings.broker.overflow = Overflow::DropOldest;
    let hooks = Hooks::default().authorizer("/**", listeners_only)?.filter("/summary/*", Throttle::default())?;
    // The server has a thread of its own; this one is free for the prices.
    let server = Server::builder().listen([at]).settings(settings).hooks(hooks).spawn()?;
    for url in server.urls() {
        println!("listening on {url}");
    }
    publish(&server.handle());
    // There is no server any more; perhaps it knows why.
    Ok(server.join()?)
}

/// Clients may do anything but publish. What the program itself publishes needs nobody's consent.
fn listeners_only(operation: Operation, _: &Query<'_>, _: Option<&mut Session<'_>>, _: &str) -> Opinion {
    match operation {
        Operation::Publish => Opinion::Deny(Denial::new("prices are made here")),
        _ => Opinion::Grant,
    }
}

/// Lets an event of a channel pass if the one before it has passed a while ago, by the clock that the server gives it.
#[derive(Default)]
struct Throttle {
    passed_ms: HashMap<String, u64>,
}

impl DataFilter for Throttle {
    fn filter(&mut self, channel: &str, data: &str, _: Option<&mut Session<'_>>, now: Now) -> Filtered {
        let now_ms = now.mono_ms;
        match self.passed_ms.get_mut(channel) {
            Some(before_ms) if now_ms - *before_ms < u64::from(QUARTER_MS) => return Filtered::Drop,
            Some(before_ms) => *before_ms = now_ms,
            // There are as many as there are symbols: nobody else publishes.
            None => _ = self.passed_ms.insert(channel.to_owned(), now_ms),
        }
        Filtered::Replace(format!(r#"{{"ms":{now_ms},"last":{data}}}"#))
    }
}

/// Publishes prices until there is no server any more.
fn publish(handle: &Handle) {
    let channels: Vec<[String; 2]> =
        (0..SYMBOLS).map(|n| ["prices", "summary"].map(|name| format!("/{name}/S{n:02}"))).collect();
    let mut cents = [10_000_u64; SYMBOLS];
    let mut random = 88_172_645_463_325_252;
    let mut next = Instant::now();
    for second in 0_u64.. {
        let (mut published, mut refused) = (0, 0);
        for tick in 0..TICKS {
            let tick = second * u64::from(TICKS) + u64::from(tick);
            // All or none of a batch are taken, and with few calls: the server is woken once.
            let mut batch = handle.batch();
            for (channels, cents) in channels.iter().zip(&mut cents) {
                *cents = (*cents + step(&mut random)).saturating_sub(3).max(1);
                let data = format!(r#"{{"tick":{tick},"price":{}.{:02}}}"#, *cents / 100, *cents % 100);
                for channel in channels {
                    batch.publish(channel, &data).expect("these are channels, and that is JSON");
                }
            }
            match batch.send() {
                Ok(()) => published += SYMBOLS,
                // The server is behind. Prices that are late are worth nothing: the next ones are on their way.
                Err(HandleError::Full) => refused += SYMBOLS,
                Err(error) => return eprintln!("{error}"),
            }
            next += Duration::from_secs(1) / TICKS;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        println!("published {published}, refused {refused}");
    }
}

/// Chance is enough for prices: 0 to 6, by Marsaglia's xorshift.
fn step(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random % 7
}
