//! Section 2: one connection, many requests; a further request ends a parked poll.

use serde_json::json;

use super::bench::{Bench, Post, connected};

#[test]
fn must_2_pipelined_requests_are_answered_in_order() {
    let mut b = Bench::new();
    let conn = b.open();
    let mut bytes = Vec::new();
    for id in 0..40 {
        bytes.extend(Post::new(format!(r#"{{"channel":"/x","id":{id}}}"#)).bytes());
    }
    b.give(conn, &bytes);
    let ids: Vec<_> = b.take(conn).iter().map(|response| response.json()[0]["id"].clone()).collect();
    assert_eq!(ids, (0..40).map(|id| json!(id)).collect::<Vec<_>>());
}

#[test]
fn must_2_bytes_may_come_in_any_pieces() {
    let client_at = |cut: Option<usize>| {
        let mut b = Bench::new();
        let client = b.subscriber("/a");
        let mut bytes = Post::json(&json!([client.publish("/a", "é"), client.glance()])).bytes();
        bytes.extend(Post::json(&client.publish("/a", 2)).bytes());
        match cut {
            None => bytes.iter().for_each(|byte| b.give(client.up, &[*byte])),
            Some(cut) => {
                b.give(client.up, &bytes[..cut]);
                b.give(client.up, &bytes[cut..]);
            }
        }
        (b.raw(client.up), bytes.len())
    };
    let (whole, len) = client_at(Some(0));
    assert_eq!(whole.matches("HTTP/1.1 200 OK").count(), 2);
    assert_eq!(client_at(None).0, whole, "byte by byte");
    for cut in 1..len {
        assert_eq!(client_at(Some(cut)).0, whole, "cut at {cut}");
    }
}

#[test]
fn must_2_a_further_request_ends_a_parked_poll_and_is_then_handled() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    b.give(client.down, &Post::json(&client.subscribe("/a")).bytes());
    let answers = b.take(client.down);
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0].json(), json!([connected()]), "the poll ends with an empty batch");
    assert_eq!(
        answers[1].json(),
        json!([{"channel": "/meta/subscribe", "id": "s", "successful": true, "subscription": "/a"}])
    );
    b.hold(&client);
}

#[test]
fn must_2_one_connection_can_do_everything() {
    let mut b = Bench::new();
    let conn = b.open();
    let mut client = b.handshake();
    (client.down, client.up) = (conn, conn);
    assert_eq!(b.tell(conn, &client.connect())["successful"], true);
    assert_eq!(b.tell(conn, &client.subscribe("/a"))["successful"], true);
    b.hold(&client);
    // The poll is ended by the publish, whose event waits for the next poll.
    b.give(conn, &Post::json(&client.publish("/a", 1)).bytes());
    let answers = b.take(conn);
    assert_eq!(answers[0].json(), json!([connected()]));
    assert_eq!(answers[1].json(), json!([{"channel": "/a", "id": "p", "successful": true}]));
    assert_eq!(b.say(conn, &client.connect()), json!([{"channel": "/a", "data": 1}, connected()]));
    b.hold(&client);
    b.give(conn, &Post::json(&client.disconnect()).bytes());
    let answers = b.take(conn);
    assert_eq!(answers[0].json(), json!([connected()]));
    assert_eq!(answers[1].json(), json!([{"channel": "/meta/disconnect", "id": "d", "successful": true}]));
    assert_eq!(b.sessions(), 0);
}

#[test]
fn must_2_a_poll_ended_by_another_request_is_not_answered_500() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    b.give(client.down, &Post::json(&client.connect()).bytes());
    let answer = b.one(client.down);
    assert_eq!(answer.json(), json!([connected()]), "the older connect; the newer one is held");
    b.advance(29_999);
    assert_eq!(b.raw(client.down), "");
    b.advance(1);
    assert_eq!(b.one(client.down).json(), json!([connected()]));
}

#[test]
fn must_2_a_pipelined_publish_never_waits_behind_a_poll() {
    let mut b = Bench::new();
    let client = b.client();
    let mut bytes = Post::json(&client.connect()).bytes();
    bytes.extend(Post::json(&client.publish("/a", 1)).bytes());
    b.give(client.down, &bytes);
    let answers = b.take(client.down);
    assert_eq!(answers[0].json(), json!([connected()]));
    assert_eq!(answers[1].json(), json!([{"channel": "/a", "id": "p", "successful": true}]));
}

#[test]
fn must_2_the_poll_ends_as_soon_as_the_head_of_the_next_request_is_there() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    let bytes = Post::json(&client.publish("/a", 1)).bytes();
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    b.give(client.down, &bytes[..head - 1]);
    assert_eq!(b.raw(client.down), "");
    b.give(client.down, &bytes[head - 1..head]);
    assert_eq!(b.one(client.down).json(), json!([connected()]));
    b.give(client.down, &bytes[head..]);
    assert_eq!(b.one(client.down).json()[0]["id"], "p");
}

#[test]
fn must_2_a_poll_ended_by_bytes_that_are_not_http_is_answered_first() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    b.give(client.down, b"NOT HTTP\r\n\r\n");
    let answers = b.take(client.down);
    assert_eq!(answers[0].json(), json!([connected()]));
    assert_eq!((answers.len(), answers[1].status), (2, 400));
    assert_eq!(answers[1].field("Connection"), Some("close"));
    assert!(b.is_shut(client.down) && !b.is_closed(client.down), "our side is shut, theirs is read to its end");
    b.give(client.down, &[b'x'; 60_000]);
    assert!(!b.is_closed(client.down));
    b.advance(1_000);
    assert!(b.is_closed(client.down));
}

#[test]
fn must_2_a_further_request_to_another_place_ends_the_poll_too() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    b.give(client.down, b"OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n");
    let answers = b.take(client.down);
    assert_eq!((answers.len(), answers[1].status), (2, 204));
    assert_eq!(answers[0].json(), json!([connected()]));
}

#[test]
fn must_2_a_request_that_does_not_arrive_ends_the_poll_and_the_connection() {
    let mut b = Bench::new();
    let client = b.client();
    b.hold(&client);
    b.give(client.down, b"POST /cometd HT");
    b.advance(5_000);
    let answers = b.take(client.down);
    assert_eq!(answers[0].json(), json!([connected()]));
    assert_eq!((answers.len(), answers[1].status), (2, 408));
    assert!(answers[1].body.contains("head within head-timeout, its body within body-timeout"), "{}", answers[1].body);
}

#[test]
fn must_2_an_event_goes_out_although_the_next_request_has_begun() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.hold(&client);
    let bytes = Post::json(&client.publish("/b", 1)).bytes();
    b.give(client.down, &bytes[..20]);
    assert!(b.inject("/a", "1"));
    assert_eq!(b.one(client.down).json(), json!([{"channel": "/a", "data": 1}, connected()]));
    b.give(client.down, &bytes[20..]);
    assert_eq!(b.one(client.down).json(), json!([{"channel": "/b", "id": "p", "successful": true}]));
}
