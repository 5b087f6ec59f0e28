//! What TLS beneath a connection means: the time of handshakes, and records that are kept in part.

use super::bench::{Bench, Post};
use super::sockets;
use crate::conn::ConnKey;
use crate::conn::route::RefusalKind;
use crate::limits::Limits;

const HOUR: u64 = 3_600_000;

/// Something comes of a handshake, waits so long for its turn, and has it.
fn shake(b: &mut Bench, conn: ConnKey, waited_ms: u64) {
    b.engine.handshake_waits(conn, b.now());
    b.advance(waited_ms);
    b.engine.read_resumed(conn, b.now());
    b.turn();
}

/// A connection whose handshake is done.
fn secure(b: &mut Bench) -> ConnKey {
    let conn = b.open();
    shake(b, conn, 0);
    b.engine.handshake_done(conn, b.now());
    b.turn();
    conn
}

fn keep(b: &mut Bench, conn: ConnKey, incoming: usize, outgoing: usize) {
    b.engine.records_kept(conn, incoming, outgoing, b.now());
    b.turn();
}

#[test]
fn a_handshake_has_the_time_of_a_head_in_all_without_what_it_waits_for_its_turn() {
    let head_ms = Limits::default().head_ms;
    let mut b = Bench::new();
    let conn = b.open();
    shake(&mut b, conn, HOUR);
    b.advance(head_ms - 10);
    shake(&mut b, conn, HOUR);
    b.advance(9);
    assert!(!b.is_shut(conn) && b.engine.wants_handshake(conn));
    b.advance(1);
    assert!(b.is_shut(conn), "it is given up");
    assert!(!b.engine.wants_handshake(conn), "and not gone on with");
}

#[test]
fn a_first_message_that_waits_for_its_turn_is_under_way() {
    let mut b = Bench::new();
    let conn = b.open();
    b.engine.handshake_waits(conn, b.now());
    assert_eq!(b.engine.unfinished(), 1);
    b.engine.read_resumed(conn, b.now());
    b.engine.handshake_done(conn, b.now());
    assert_eq!(b.engine.unfinished(), 0);
}

#[test]
fn part_of_a_record_has_the_time_of_a_head_however_slowly_it_grows() {
    let head_ms = Limits::default().head_ms;
    for had_a_request in [false, true] {
        let mut b = Bench::new();
        let conn = secure(&mut b);
        if had_a_request {
            assert_eq!(b.exchange(conn, &Post::new("[]").bytes()).body, "[]");
        }
        keep(&mut b, conn, 100, 0);
        b.advance(head_ms - 1);
        keep(&mut b, conn, 200, 0);
        assert_eq!(b.raw(conn), "");
        b.advance(1);
        assert!(b.raw(conn).starts_with("HTTP/1.1 408 "), "it is told in time");
    }
}

#[test]
fn part_of_a_record_behind_a_request_is_another_one() {
    let head_ms = Limits::default().head_ms;
    let mut b = Bench::new();
    let conn = secure(&mut b);
    keep(&mut b, conn, 100, 0);
    b.advance(head_ms - 1);
    // The record is whole, and another has begun, of which as much has come.
    assert_eq!(b.exchange(conn, &Post::new("[]").bytes()).body, "[]");
    keep(&mut b, conn, 100, 0);
    b.advance(head_ms - 1);
    assert_eq!(b.raw(conn), "");
    b.advance(1);
    assert!(b.raw(conn).starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_record_that_is_whole_and_empty_is_no_part_of_a_request() {
    let Limits { head_ms, idle_ms, .. } = Limits::default();
    for (had_a_request, left_ms) in [(true, idle_ms), (false, 1)] {
        let mut b = Bench::new();
        let conn = secure(&mut b);
        if had_a_request {
            assert_eq!(b.exchange(conn, &Post::new("[]").bytes()).body, "[]");
        }
        keep(&mut b, conn, 20, 0);
        b.advance(head_ms - 1);
        keep(&mut b, conn, 0, 0);
        b.advance(left_ms - 1);
        assert!(!b.is_closed(conn) && b.raw(conn).is_empty());
        b.advance(1);
        assert!(b.is_closed(conn) && b.raw(conn).is_empty(), "it has been idle, or had the time of the first head");
    }
}

#[test]
fn part_of_a_record_on_a_websocket_has_the_time_of_a_message() {
    let body_ms = Limits::default().body_ms;
    let mut b = sockets::bench();
    let conn = sockets::upgrade(&mut b, "");
    keep(&mut b, conn, 100, 0);
    b.advance(body_ms - 1);
    assert!(!b.is_shut(conn));
    b.advance(1);
    assert!(b.is_shut(conn));
    let conn = sockets::upgrade(&mut b, "");
    keep(&mut b, conn, 100, 0);
    keep(&mut b, conn, 0, 0);
    b.advance(body_ms);
    assert!(!b.is_shut(conn), "it was whole in time");
}

#[test]
fn records_that_the_socket_does_not_take_have_the_time_of_an_answer() {
    let write_ms = Limits::default().write_ms;
    let mut b = Bench::new();
    let (stuck, taken) = (secure(&mut b), secure(&mut b));
    for conn in [stuck, taken] {
        assert_eq!(b.exchange(conn, &Post::new("[]").bytes()).body, "[]");
    }
    keep(&mut b, stuck, 0, 300);
    keep(&mut b, taken, 0, 300);
    b.advance(write_ms - 1);
    keep(&mut b, stuck, 0, 200);
    keep(&mut b, taken, 0, 0);
    assert!(!b.is_closed(stuck));
    b.advance(1);
    assert_eq!((b.is_closed(stuck), b.is_closed(taken)), (true, false));
}

#[test]
fn records_in_part_count_as_received_and_those_that_wait_as_unsent() {
    let mut b = Bench::new();
    let conn = secure(&mut b);
    keep(&mut b, conn, 16_000, 300);
    let counts = |b: &Bench| (b.engine.census().received_bytes, b.engine.census().unsent_bytes);
    assert_eq!(counts(&b), (16_000, 300));
    keep(&mut b, conn, 0, 0);
    assert_eq!(counts(&b), (0, 0));
    keep(&mut b, conn, 1, 1);
    b.cut(conn);
    assert!(b.engine.is_at_rest());
}

#[test]
fn who_sends_in_part_what_there_is_no_room_for_is_refused() {
    let mut b = Bench::with(|setup| setup.limits.received_bytes = 20_000);
    let (one, two, fresh) = (secure(&mut b), secure(&mut b), b.open());
    keep(&mut b, one, 16_000, 0);
    keep(&mut b, two, 4_000, 0);
    assert_eq!(b.raw(two), "", "just so");
    keep(&mut b, two, 4_001, 0);
    assert!(b.raw(two).starts_with("HTTP/1.1 503 "));
    shake(&mut b, fresh, 0);
    keep(&mut b, fresh, 1_000, 0);
    assert!(b.is_shut(fresh) && b.raw(fresh).is_empty(), "in the middle of a handshake there is nothing to be said");
    assert!(!b.is_shut(one));
}

#[test]
fn who_is_done_with_stays_no_longer_for_sending_records_in_part() {
    let Limits { head_ms, linger_ms, .. } = Limits::default();
    let mut b = Bench::new();
    let conn = secure(&mut b);
    keep(&mut b, conn, 100, 0);
    b.advance(head_ms);
    assert!(b.is_shut(conn) && !b.is_closed(conn));
    for _ in 0..2 {
        b.advance(linger_ms / 2);
        keep(&mut b, conn, 0, 0);
        keep(&mut b, conn, 100, 0);
    }
    assert!(b.is_closed(conn));
}

#[test]
fn who_never_begins_a_handshake_has_the_time_of_one_and_nothing_is_said() {
    let head_ms = Limits::default().head_ms;
    let mut b = Bench::new();
    let (silent, late) = (b.open(), b.open());
    b.advance(head_ms - 1);
    shake(&mut b, late, HOUR);
    assert!(b.is_closed(silent) && b.raw(silent).is_empty());
    assert_eq!(b.engine.refusals.total(RefusalKind::Handshake), 0);
    assert!(!b.is_shut(late), "what it has waited for its turn is not its own");
    b.advance(1);
    assert!(b.is_shut(late), "the time runs from the beginning on");
    assert_eq!(b.engine.refusals.total(RefusalKind::Handshake), 1);
}
