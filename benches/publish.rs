//! How fast threads publish: `cargo bench --bench publish [-- SECONDS]`.
//!
//! A server on a thread of its own, without a client. One thread, and then eight, send it batches of 1,000 prices with
//! [`Handle::publish_batch`] for ten seconds; whoever hears that the mailbox is full sleeps for a moment and tries again.
//! Events count when the broker has published them ([`Counters::published`](encke::broker::Counters::published)), and each
//! one that was taken must be.
//!
//! The events are texts that are there before; names and JSON are checked by the threads, as they always are. In the second
//! pair of rows one client is subscribed to a channel, a `*` and a `**` that none of the events is for, so that each of them
//! is looked up, and in the third the settings have a rule for their channels as well.
//!
//! `cargo test` runs it with few events and takes no times.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use encke::broker::rules::Rule;
use encke::server::{Handle, HandleError, Running, Server, Settings};

/// Events of one batch.
const BATCH: usize = 1_000;
/// Prices that have a channel.
const SYMBOLS: usize = 500;
/// How long who hears that the mailbox is full waits.
const PAUSE: Duration = Duration::from_micros(200);
/// How long it is looked at, unless it is said.
const SECONDS: u64 = 10;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` says this, `cargo test` does not; whatever else that says is for tests that have names.
    let done = if words.iter().any(|word| word == "--bench") {
        let seconds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(SECONDS);
        measure(Duration::from_secs(seconds))
    } else {
        prove()
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("publish: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A server without clients.
fn server(rules: Vec<Rule>) -> io::Result<Running> {
    let mut settings = Settings::default();
    settings.broker.channels = rules;
    // Who has subscribed says nothing more.
    settings.broker.max_interval_ms = u32::MAX;
    Server::builder().listen([SocketAddr::from(([127, 0, 0, 1], 0))]).settings(settings).spawn()
}

/// Subscribes a client to what nobody publishes to.
fn subscribe(server: &Running) -> io::Result<()> {
    let address = server.addresses()[0];
    let say = |message: &str| {
        let mut socket = TcpStream::connect(address)?;
        let head = "POST /cometd HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json";
        write!(socket, "{head}\r\nContent-Length: {}\r\n\r\n{message}", message.len())?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        if answer.contains(r#""successful":true"#) { Ok(answer) } else { Err(io::Error::other(answer)) }
    };
    let hello = say(r#"{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}"#)?;
    let id = hello.split(r#""clientId":""#).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let names = r#"["/elsewhere/a","/elsewhere/*","/elsewhere/**"]"#;
    say(&format!(r#"{{"channel":"/meta/subscribe","clientId":"{id}","subscription":{names}}}"#)).map(drop)
}

/// The events of one batch: channel and data.
fn prices() -> Vec<(String, String)> {
    let price = |n: usize| {
        let symbol = n % SYMBOLS;
        (
            format!("/prices/S{symbol:03}"),
            format!(r#"{{"symbol":"S{symbol:03}","price":{}.25,"size":{n}}}"#, 100 + symbol),
        )
    };
    (0..BATCH).map(price).collect()
}

/// Publishes the events again and again while `more` says so; how many were taken, and how many times there was no room.
fn publish(handle: &Handle, events: &[(String, String)], mut more: impl FnMut() -> bool) -> Result<(u64, u64), String> {
    let (mut taken, mut full) = (0, 0);
    while more() {
        loop {
            match handle.publish_batch(events.iter().map(|(channel, data)| (channel, data))) {
                Ok(()) => break taken += events.len() as u64,
                Err(HandleError::Full) => full += 1,
                Err(error) => return Err(error.to_string()),
            }
            thread::sleep(PAUSE);
        }
    }
    Ok((taken, full))
}

/// Has so many threads do the same; the sums of what they return.
fn together(threads: usize, work: impl Fn() -> Result<(u64, u64), String> + Sync) -> Result<(u64, u64), String> {
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads).map(|_| scope.spawn(&work)).collect();
        all.into_iter().try_fold((0, 0), |(taken, full), thread| {
            let (more, times) = thread.join().map_err(|_| "a thread has panicked".to_owned())??;
            Ok((taken + more, full + times))
        })
    })
}

/// Waits until all that was taken has been published, and ends the server.
fn settle(server: Running, taken: u64) -> Result<(), String> {
    let handle = server.handle();
    while handle.counters().published < taken {
        thread::sleep(PAUSE);
    }
    handle.stop().map_err(|error| error.to_string())?;
    server.join().map_err(|error| error.to_string())?;
    let published = handle.counters().published;
    if published == taken { Ok(()) } else { Err(format!("{taken} events were taken, and {published} published")) }
}

/// How many events a second so many threads have published, and how many times there was no room.
fn rate(server: Running, threads: usize, time: Duration) -> Result<(f64, u64), String> {
    let (handle, events) = (server.handle(), prices());
    let start = Instant::now();
    let watch = thread::spawn({
        let handle = handle.clone();
        move || {
            thread::sleep(time);
            handle.counters().published as f64 / start.elapsed().as_secs_f64()
        }
    });
    let (taken, full) = together(threads, || publish(&handle, &events, || start.elapsed() < time))?;
    let rate = watch.join().map_err(|_| "the watch has panicked")?;
    settle(server, taken)?;
    Ok((rate, full))
}

fn measure(time: Duration) -> Result<(), String> {
    println!("| subscribed elsewhere | rules | threads | events a second | times full |\n|---|---|---|---|---|");
    let rule = Rule { pattern: "/prices/**".to_owned(), lazy: Some(true), ..Rule::default() };
    for (client, rules) in [(false, vec![]), (true, vec![]), (true, vec![rule])] {
        for threads in [1, 8] {
            let server = server(rules.clone()).map_err(|error| error.to_string())?;
            if client {
                subscribe(&server).map_err(|error| error.to_string())?;
            }
            let (rate, full) = rate(server, threads, time)?;
            println!("| {client} | {} | {threads} | {rate:.0} | {full} |", rules.len());
        }
    }
    Ok(())
}

/// Has everything counted that a run counts, and says nothing of times.
fn prove() -> Result<(), String> {
    let events = prices();
    for threads in [1, 8] {
        let server = server(Vec::new()).map_err(|error| error.to_string())?;
        let handle = server.handle();
        let (taken, _) = together(threads, || {
            let mut batches = 0..10;
            publish(&handle, &events, || batches.next().is_some())
        })?;
        if taken != (threads * 10 * BATCH) as u64 {
            return Err(format!("{taken} events of {threads} threads were taken"));
        }
        settle(server, taken)?;
    }
    println!("publish: all events count that were taken");
    Ok(())
}
