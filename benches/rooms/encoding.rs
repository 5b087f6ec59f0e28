//! What goes out: events and replies as JSON, batches in the form of each wire, and the HTTP around them.

use std::hint::black_box;
use std::rc::Rc;

use criterion::Criterion;

use encke::bayeux::encode::{self, Marks};
use encke::bayeux::{Channel, Id, Reply};
use encke::chunk::Pending;
use encke::conn::route::ReplyTo;
use encke::conn::{Conn, Env};
use encke::event::Event;
use encke::framing::{Batch, Opening, Wire};
use encke::http::date::HttpDate;
use encke::http::origin::{Grant, OriginRule};
use encke::http::response::Persistence;
use encke::limits::Limits;
use encke::reply::{Answer, Replies, Ticket};

/// The data of an event: 100 bytes, with a character that a script must not have.
const DATA: &str = "{\"from\":\"Ada\",\"text\":\"Is there any left? <3\",\"tags\":[\"tea\",\"milk\",\"sugar\"],\
    \"at\":1700000000000,\"n\":1}";
const CHANNEL: &str = "/chat/tea";
const TICKET: Ticket = Ticket(7);

fn event() -> Rc<Event> {
    let mut json = Vec::new();
    let places = encode::event_from_parts(&mut json, Channel::parse(CHANNEL).unwrap(), DATA, Marks::default());
    Event::new(&json, places.data)
}

fn reply() -> Reply<'static> {
    Reply { channel: "/meta/connect", id: Some(Id::from_kept("\"27\"")), successful: true, ..Reply::default() }
}

/// So many events, and the reply to the connect that they end.
fn answer(events: usize) -> Answer {
    let mut answer = Answer { events: vec![event(); events], ..Answer::default() };
    answer.replies.push(|out| reply().write(out));
    answer
}

/// One event, one reply.
pub(crate) fn json(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    let mut out = Vec::with_capacity(1_024);
    group.bench_function("event", |bencher| {
        bencher.iter(|| {
            out.clear();
            let channel = Channel::parse(black_box(CHANNEL)).unwrap();
            encode::event_from_parts(&mut out, channel, black_box(DATA), Marks::default())
        });
    });
    group.bench_function("reply to a connect", |bencher| {
        bencher.iter(|| {
            out.clear();
            reply().write(black_box(&mut out));
        });
    });
}

/// A batch on each wire, in pending bytes that are empty before and freed after.
pub(crate) fn wires(criterion: &mut Criterion) {
    let none = Replies::default();
    let callback = || Rc::new("jQuery_27".into());
    for events in [1, 20] {
        let mut group = criterion.benchmark_group(format!("frame {events}"));
        let Answer { events, replies, .. } = answer(events);
        for (name, wire, replies) in [
            ("JSON", Wire::Json, &replies),
            ("JSONP", Wire::Callback(callback()), &replies),
            ("line of a stream", Wire::Lines, &none),
            ("forever frame", Wire::Script(callback()), &none),
            ("EventSource of Bayeux", Wire::EventStream, &none),
            ("EventSource of channels", Wire::Events, &none),
            ("WebSocket", Wire::Frames { deflate: false }, &none),
        ] {
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    let mut pending = Pending::default();
                    Batch { gap: None, events: black_box(&events), replies }.write(&wire, &mut pending);
                    pending
                });
            });
        }
    }
}

/// The same with the HTTP around it, on a connection that then has written it.
pub(crate) fn responses(criterion: &mut Criterion) {
    let (limits, date) = (Limits::default(), HttpDate::from_unix_ms(1_700_000_000_000));
    let origins = OriginRule::new(&[]).unwrap();
    let Limits { stream_ms, output_bytes: share_bytes, .. } = limits;
    let env = Env { date: &date, origins: &origins, now_ms: 1, stream_ms, share_bytes, ending: false };
    let to = |wire| ReplyTo { wire, grant: Grant::SameOrigin, secure: false, chunks: true };
    for events in [1, 20] {
        let mut group = criterion.benchmark_group(format!("respond {events}"));
        let last = answer(events);
        let mut conn = Conn::new(None, 1);
        group.bench_function("to a held connect", |bencher| {
            bencher.iter(|| {
                conn.park(TICKET, to(Wire::Json), Persistence::KeepAlive);
                assert!(conn.fill(TICKET, black_box(&last), env));
                conn.sent(conn.pending(), &limits, env)
            });
        });
        let amid = Answer { events: vec![event(); events], ..Answer::default() };
        for (name, wire) in [("chunk of a stream", Wire::Lines), ("chunk of an EventSource", Wire::Events)] {
            let mut conn = Conn::new(None, 1);
            conn.open_stream(TICKET, Opening::default(), (to(wire), Persistence::KeepAlive), env);
            conn.sent(conn.pending(), &limits, env);
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    assert!(conn.fill(TICKET, black_box(&amid), env));
                    conn.sent(conn.pending(), &limits, env)
                });
            });
        }
    }
}
