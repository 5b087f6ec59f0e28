//! How a server ends: held connects are answered one after another, and every connection is told that it is the last time.

use serde_json::json;

use super::bench::{Bench, Client, HANDSHAKE, Post, retry};

fn health(b: &mut Bench, conn: crate::conn::ConnKey) -> (u16, String) {
    let response = b.exchange(conn, b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n");
    (response.status, response.body)
}

/// The reply that ends a held connect when the server ends: go, at once, and as before.
fn farewell() -> serde_json::Value {
    json!([{"channel": "/meta/connect", "id": "c", "successful": true, "advice": retry()}])
}

fn held(b: &mut Bench, count: usize) -> Vec<Client> {
    let clients: Vec<Client> = (0..count).map(|_| b.client()).collect();
    for client in &clients {
        b.hold(client);
    }
    clients
}

/// How many of them have been answered by now; each answer is checked.
fn answered(b: &mut Bench, clients: &[Client]) -> usize {
    let mut count = 0;
    for client in clients {
        for response in b.take(client.down) {
            assert_eq!(response.json(), farewell());
            assert_eq!(response.field("Connection"), Some("close"));
            count += 1;
        }
    }
    count
}

#[test]
fn held_connects_are_answered_spread_over_three_quarters_of_the_time() {
    let mut b = Bench::new();
    let clients = held(&mut b, 400);
    b.drain(2_000);
    assert!(!b.engine.is_drained());
    let mut total = answered(&mut b, &clients);
    assert_eq!(total, 1, "the first at once");
    for quarter in 1..=3 {
        b.advance(500);
        total += answered(&mut b, &clients);
        let due = 400 * quarter / 3;
        assert!(total.abs_diff(due) <= 2, "{total} of {due} after {quarter} quarters");
    }
    assert_eq!(total, 400);
}

#[test]
fn few_clients_are_not_kept_waiting_for_each_other() {
    let mut b = Bench::new();
    let clients = held(&mut b, 3);
    b.drain(10_000);
    b.advance(20);
    assert_eq!(answered(&mut b, &clients), 3);
}

#[test]
fn a_connect_that_would_have_ended_sooner_still_does() {
    let mut b = Bench::new();
    let clients = held(&mut b, 200);
    b.advance(29_990);
    b.drain(10_000);
    b.advance(10);
    assert_eq!(answered(&mut b, &clients), 200);
}

#[test]
fn an_event_still_goes_out_with_the_connect_that_it_ends() {
    let mut b = Bench::new();
    let other = b.client();
    b.hold(&other);
    let client = b.subscriber("/a");
    b.hold(&client);
    b.drain(10_000);
    assert_eq!((b.take(other.down).len(), b.take(client.down).len()), (1, 0));
    b.inject("/a", "1");
    assert_eq!(b.one(client.down).json(), json!([{"channel": "/a", "data": 1}, farewell()[0]]));
}

#[test]
fn a_connection_that_has_asked_for_nothing_yet_is_waited_for_a_moment() {
    let mut b = Bench::new();
    let new = b.open();
    let used = b.open();
    assert_eq!(health(&mut b, used).0, 200);
    b.drain(10_000);
    b.advance(999);
    assert!(!b.engine.is_drained());
    b.advance(1);
    assert!(b.engine.is_drained());
    assert_eq!(health(&mut b, new).0, 503, "if the loop goes on, it is served");
}

#[test]
fn while_it_ends_requests_are_answered_for_the_last_time_and_no_connect_is_held() {
    let mut b = Bench::new();
    let client = b.client();
    let stranger = b.open();
    b.drain(10_000);
    b.give(client.down, &Post::json(&client.connect()).bytes());
    let reply = b.one(client.down);
    assert_eq!((reply.json(), reply.field("Connection")), (farewell(), Some("close")));
    assert!(b.is_shut(client.down));
    b.give(stranger, &Post::new(HANDSHAKE).bytes());
    let reply = b.one(stranger);
    assert_eq!((reply.status, reply.field("Connection")), (200, Some("close")));
}

#[test]
fn health_is_200_and_503_while_it_ends() {
    let mut b = Bench::new();
    let (conn, other) = (b.open(), b.open());
    assert_eq!(health(&mut b, conn), (200, "ok\n".to_owned()));
    let head = b.exchange_bare(conn, b"HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    b.drain(10_000);
    assert_eq!(health(&mut b, other), (503, "ending\n".to_owned()));
}

#[test]
fn it_has_ended_when_nothing_is_under_way() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    let idle = b.open();
    assert!(!b.engine.is_drained(), "it is not ending");
    b.drain(1_000);
    assert!(b.is_shut(client.down), "the answer has been written");
    assert!(!b.engine.is_drained(), "the peer may not have read it");
    b.fin(client.down);
    b.advance(1_000);
    assert!(b.engine.is_drained());
    b.give(idle, b"POST /cometd HTTP/1.1\r\n");
    assert!(!b.engine.is_drained(), "a request is under way");
}

#[test]
fn an_answer_that_is_not_taken_keeps_it_from_having_ended() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    b.stall(client.down);
    b.drain(1_000);
    b.advance(700);
    assert!(!b.engine.is_drained());
    b.unstall(client.down);
    b.fin(client.down);
    b.advance(300);
    assert!(b.engine.is_drained());
}

/// The answer to the poll says that it was the last: its client will send everything else again, elsewhere.
#[test]
fn what_stands_behind_the_last_answer_has_no_effect() {
    let publish = |client: &Client| Post::json(&client.publish("/a", 1)).bytes();
    let in_parts = |client: &Client| publish(client).split_at(40).0.to_vec();
    for behind in [&publish as &dyn Fn(&Client) -> Vec<u8>, &in_parts, &|_| b"\0".to_vec()] {
        let mut b = Bench::new();
        let clients = held(&mut b, 2);
        b.drain(10_000);
        let waiting = clients.iter().find(|client| b.take(client.down).is_empty()).unwrap();
        b.give(waiting.down, &behind(waiting));
        b.advance(6_000);
        let answers = b.take(waiting.down);
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(answers[0].field("Connection"), Some("close"));
        assert_eq!(b.engine.counters().published, 0);
    }
}
