//! The bounds that show only on a whole connection or a whole turn, each at one less, exactly, and one more.

use serde_json::json;

use super::bench::{Bench, Client, Post};
use crate::conn::route::RefusalKind;
use crate::limits::Limits;

const PART_OF_A_HEAD: &[u8] = b"POST /cometd HTTP/1.1\r\nHost: h.exa";

#[test]
fn limit_connections() {
    for (open, taken) in [(2, true), (3, false), (4, false)] {
        let mut b = Bench::with(|setup| setup.limits.connections = 3);
        for _ in 0..open.min(3) {
            b.open();
        }
        assert_eq!(b.accepts(), taken, "{open} are open");
    }
}

#[test]
fn limit_idle_ms() {
    let idle_ms = Limits::default().idle_ms;
    for (waited, closed) in [(idle_ms - 1, false), (idle_ms, true), (idle_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        assert_eq!(b.text(conn, "[]"), "[]");
        b.advance(waited);
        assert_eq!((b.is_closed(conn), b.raw(conn).as_str()), (closed, ""), "after {waited} ms, in silence");
    }
}

#[test]
fn limit_head_ms() {
    let head_ms = Limits::default().head_ms;
    for (waited, refused) in [(head_ms - 1, false), (head_ms, true), (head_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        b.give(conn, PART_OF_A_HEAD);
        b.advance(waited);
        assert_eq!(b.raw(conn).starts_with("HTTP/1.1 408 "), refused, "after {waited} ms");
    }
}

#[test]
fn limit_head_ms_without_a_byte() {
    let head_ms = Limits::default().head_ms;
    for (waited, closed) in [(head_ms - 1, false), (head_ms, true), (head_ms + 1, true)] {
        let mut b = Bench::new();
        let (silent, blank, slow) = (b.open(), b.open(), b.open());
        b.give(blank, b"\r\n");
        b.advance(head_ms - 1);
        b.give(slow, PART_OF_A_HEAD);
        b.advance(waited - (head_ms - 1));
        for conn in [silent, blank] {
            assert_eq!((b.is_closed(conn), b.raw(conn).as_str()), (closed, ""), "in silence, after {waited} ms");
        }
        assert_eq!(b.raw(slow).starts_with("HTTP/1.1 408 "), closed, "after {waited} ms since it was accepted");
        assert_eq!(b.engine.refusals.total(RefusalKind::Timeout), u64::from(closed), "only who began is told of");
    }
}

#[test]
fn limit_body_ms() {
    let body_ms = Limits::default().body_ms;
    let post = Post::new("[]").bytes();
    for (waited, refused) in [(body_ms - 1, false), (body_ms, true), (body_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        b.give(conn, &post[..post.len() - 1]);
        b.advance(waited);
        assert_eq!(b.raw(conn).starts_with("HTTP/1.1 408 "), refused, "after {waited} ms");
    }
}

#[test]
fn limit_write_ms() {
    let write_ms = Limits::default().write_ms;
    for (waited, closed) in [(write_ms - 1, false), (write_ms, true), (write_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        b.stall(conn);
        b.give(conn, &Post::new("[]").bytes());
        b.advance(waited);
        assert_eq!(b.is_closed(conn), closed, "after {waited} ms");
        let told = b.engine.refusals.total(RefusalKind::Reader);
        assert_eq!(told, u64::from(closed), "counted, for the log");
    }
}

#[test]
fn limit_linger_ms() {
    let linger_ms = Limits::default().linger_ms;
    for (waited, closed) in [(linger_ms - 1, false), (linger_ms, true), (linger_ms + 1, true)] {
        let mut b = Bench::new();
        let conn = b.open();
        b.give(conn, b"\n");
        assert!(b.is_shut(conn), "answered, and shut");
        b.advance(waited);
        assert_eq!(b.is_closed(conn), closed, "after {waited} ms");
    }
}

/// How many answers lie ready after each of three flushes, for so many waiting clients.
fn answers_after_flushes(clients: usize) -> [usize; 3] {
    let mut b = Bench::with(|setup| setup.limits.deliveries_per_turn = 3);
    let clients: Vec<_> = (0..clients).map(|_| b.subscriber("/a")).collect();
    for client in &clients {
        b.hold(client);
    }
    assert!(b.inject_without_a_turn("/a", "1"));
    core::array::from_fn(|_| b.flush())
}

#[test]
fn limit_fanout_per_turn() {
    let mut b = Bench::with(|setup| setup.limits.fanout_per_turn = 3);
    let _subscribers = [b.subscriber("/a"), b.subscriber("/a")];
    let (busy, other) = (b.client(), b.client());
    let publish = |client: &Client| Post::json(&client.publish("/a", 1)).bytes();
    b.receive(busy.up, &publish(&busy).repeat(10));
    b.receive(other.up, &publish(&other));
    let mut published = Vec::new();
    for _ in 0..5 {
        published.push(b.published());
        b.turn_once();
    }
    // What came in the first turn is cut off before it ends.
    assert_eq!(published, [2, 2, 4, 6, 8], "the publish under way is finished, the others wait");
    assert_eq!((b.take(busy.up).len(), b.take(other.up).len()), (9, 1), "who has waited comes first");
    b.turn();
    assert_eq!((b.published(), b.take(busy.up).len()), (11, 1));
}

#[test]
fn limit_deliveries_at_once() {
    let mut b = Bench::with(|setup| {
        setup.limits.deliveries_per_turn = 5;
        setup.limits.deliveries_at_once = 2;
    });
    let clients: Vec<_> = (0..6).map(|_| b.subscriber("/a")).collect();
    for client in &clients {
        b.hold(client);
    }
    assert!(b.inject_without_a_turn("/a", "1"));
    assert_eq!([(); 4].map(|()| b.flush()), [2, 2, 1, 1], "two at once, five in a turn");
}

#[test]
fn limit_deliveries_per_turn() {
    assert_eq!(answers_after_flushes(2), [2, 0, 0]);
    assert_eq!(answers_after_flushes(3), [3, 0, 0]);
    assert_eq!(answers_after_flushes(4), [3, 1, 0], "the rest in the next turn");
}

#[test]
fn limit_timers_per_turn() {
    for (clients, left) in [(2, 0), (3, 0), (4, 1)] {
        let mut b = Bench::with(|setup| setup.limits.timers_per_turn = 3);
        for _ in 0..clients {
            b.handshake();
        }
        assert_eq!(b.sessions(), clients);
        b.time_out_once(10_000);
        assert_eq!(b.sessions(), left, "of {clients} sessions that expire together");
        b.turn();
        assert_eq!(b.sessions(), 0, "the rest in the next turn");
    }
}

#[test]
fn the_bounds_of_a_turn_delay_and_lose_nothing() {
    let mut b = Bench::with(|setup| setup.limits.deliveries_per_turn = 1);
    let clients: Vec<_> = (0..5).map(|_| b.subscriber("/a")).collect();
    for client in &clients {
        b.hold(client);
    }
    assert!(b.inject("/a", "7"));
    for client in &clients {
        assert_eq!(b.one(client.down).json()[0], json!({"channel": "/a", "data": 7}));
    }
}

#[test]
fn a_byte_that_waits_for_its_turn_buys_no_time() {
    let Limits { head_ms, body_ms, .. } = Limits::default();
    let post = Post::new("[]").bytes();
    for (part, allowed_ms) in [(PART_OF_A_HEAD, head_ms), (&post[..post.len() - 2], body_ms)] {
        let mut b = Bench::with(|setup| {
            setup.limits.fanout_per_turn = 1;
            setup.broker.max_interval_ms = 3_600_000;
        });
        let _subscribers = [b.subscriber("/a"), b.subscriber("/a")];
        let conn = b.open();
        b.give(conn, part);
        b.advance(allowed_ms - 1_000);
        // The turn has done its share when the byte comes, and the next one comes late.
        assert!(b.inject_without_a_turn("/a", "1"));
        b.receive(conn, b" ");
        b.advance(10_000);
        b.advance(999);
        assert_eq!(b.raw(conn), "", "what was waited for us is not the peer's");
        b.advance(1);
        assert!(b.raw(conn).starts_with("HTTP/1.1 408 "), "after {allowed_ms} ms of its own");
    }
}
