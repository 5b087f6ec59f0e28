//! A bug where one peer's bytes are read costs that peer its connection, and nobody else anything.

use serde_json::json;

use super::bench::{Bench, Post, connected};
use crate::conn::route::{Refusal, RefusalKind};
use crate::engine::requests::{guarded, guarded_decode};
use crate::http::origin::Grant;
use crate::http::response::Status;

#[test]
fn a_panic_while_bytes_are_read_becomes_an_error_of_that_request() {
    let error = guarded(|| -> Result<(), _> { panic!("planted") }).unwrap_err();
    assert_eq!(error.status, Status::InternalServerError);
    let refusal = guarded_decode(|| panic!("planted")).unwrap_err();
    assert_eq!((refusal.status, refusal.text.as_str()), (Status::InternalServerError, error.reason));
    assert_eq!(guarded(|| Ok(1)).unwrap(), 1);
}

#[test]
fn the_connection_on_which_it_was_ends_and_the_others_go_on() {
    let mut b = Bench::new();
    let client = b.subscriber("/a");
    b.give(client.down, &Post::json(&client.connect()).bytes());
    let unlucky = b.open();
    b.give(unlucky, &Post::json(&json!([])).bytes()[..20]);
    let error = guarded(|| -> Result<(), _> { panic!("planted") }).unwrap_err();
    let (status, text) = (error.status, error.reason.to_owned());
    let refusal = Refusal { status, text, allow: None, grant: Grant::SameOrigin, kind: RefusalKind::of_fault(status) };
    b.engine.fail(unlucky, &refusal);
    // What follows on a failed connection is not read.
    b.give(unlucky, b"GET / HTTP/1.1\r\n");
    let answer = b.one(unlucky);
    assert_eq!((answer.status, answer.field("Connection")), (500, Some("close")));
    b.inject("/a", "1");
    assert_eq!(b.one(client.down).json(), json!([{"channel": "/a", "data": 1}, connected()]));
    b.fin(unlucky);
    assert!(b.is_closed(unlucky));
}
