//! The server's own files, and what is beside the endpoint.

use super::bench::{Bench, Post, Response};

fn demo(on: bool) -> Bench {
    Bench::with(|setup| setup.demo = on)
}

fn get(b: &mut Bench, path: &str, fields: &str) -> Response {
    let conn = b.open();
    b.exchange(conn, format!("GET {path} HTTP/1.1\r\nHost: h.example\r\n{fields}\r\n").as_bytes())
}

#[test]
fn the_page_is_there_with_demo_and_the_module_always() {
    for (path, on, off, media_type) in [
        ("/", 200, 404, "text/html;charset=UTF-8"),
        ("/demo.css", 200, 404, "text/css;charset=UTF-8"),
        ("/demo.js", 200, 404, "text/javascript;charset=UTF-8"),
        ("/techniques", 200, 404, "text/html;charset=UTF-8"),
        ("/techniques.css", 200, 404, "text/css;charset=UTF-8"),
        ("/techniques.js", 200, 404, "text/javascript;charset=UTF-8"),
        ("/encke.js", 200, 200, "text/javascript;charset=UTF-8"),
    ] {
        let response = get(&mut demo(true), path, "");
        assert_eq!((response.status, response.field("Content-Type")), (on, Some(media_type)), "{path}");
        assert_eq!(response.field("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(response.field("Cache-Control"), Some("no-cache"));
        assert_eq!(response.field("Content-Security-Policy").is_some(), media_type.contains("html"), "{path}");
        assert_eq!(get(&mut demo(false), path, "").status, off, "{path}");
    }
}

#[test]
fn a_file_that_the_browser_has_is_not_sent_again() {
    let mut b = demo(true);
    for path in ["/", "/encke.js"] {
        let tag = get(&mut b, path, "").field("ETag").unwrap().to_owned();
        let opaque = tag.strip_prefix("W/").expect("it is the same in each coding");
        for (field, status) in [
            (format!("If-None-Match: {tag}\r\n"), 304),
            (format!("If-None-Match: {tag}\r\nAccept-Encoding: gzip\r\n"), 304),
            (format!("If-None-Match: \"x\", {opaque}\r\n"), 304),
            ("If-None-Match: *\r\n".to_owned(), 304),
            ("If-None-Match: \"x\"\r\n".to_owned(), 200),
        ] {
            let response = get(&mut b, path, &field);
            assert_eq!((response.status, response.body.is_empty()), (status, status == 304), "{field}");
            assert_eq!(response.field("ETag"), Some(tag.as_str()));
            assert!(response.head.contains("\r\nVary: Accept-Encoding\r\n"), "{}", response.head);
            assert_eq!(response.field("Content-Encoding"), None);
        }
    }
}

#[test]
fn who_accepts_gzip_gets_files_as_they_are_kept() {
    let mut b = demo(true);
    let mut ask = |method: &str, path: &str, accept: &str| {
        let conn = b.open();
        let fields = format!("Host: h.example\r\nAccept-Encoding: {accept}\r\n");
        b.give(conn, format!("{method} {path} HTTP/1.1\r\n{fields}\r\n").as_bytes());
        let bytes = b.bytes(conn);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        (head, bytes[end..].to_vec())
    };
    for (path, accept, packed) in [
        ("/encke.js", "gzip, deflate, br", true),
        ("/encke.js", "br", false),
        ("/encke.js", "gzip;q=0", false),
        ("/demo.css", "gzip", true),
        // The path of the endpoint is filled in.
        ("/", "gzip", false),
        ("/techniques", "gzip, identity;q=0", false),
    ] {
        let (head, body) = ask("GET", path, accept);
        assert_eq!(head.contains("\r\nContent-Encoding: gzip\r\n"), packed, "{path} {accept}: {head}");
        assert_eq!(body.starts_with(&[0x1f, 0x8b]), packed, "{path} {accept}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert!(head.contains("\r\nVary: Accept-Encoding\r\n"), "{head}");
        assert_eq!(ask("HEAD", path, accept), (head, Vec::new()), "{path} {accept}");
    }
}

#[test]
fn pages_of_the_demonstration_may_use_all_transports_and_nobody_else() {
    for (on, (name, value), allowed) in [
        (true, ("Sec-Fetch-Site", "same-origin"), true),
        (true, ("Sec-Fetch-Site", "same-site"), false),
        (true, ("Sec-Fetch-Site", "none"), false),
        (true, ("Origin", "http://h.example"), true),
        (true, ("Referer", "https://h.example/techniques"), true),
        (true, ("Referer", "https://h.example.evil.example/"), false),
        (true, ("X-Nothing", "x"), false),
        (false, ("Sec-Fetch-Site", "same-origin"), false),
        (false, ("Referer", "http://h.example/"), false),
    ] {
        let mut b = Bench::with(|setup| {
            setup.demo = on;
            setup.broker.transports = vec!["long-polling"];
        });
        let client = b.client();
        let conn = b.open();
        b.give(conn, &Post::json(&client.connect_by("streaming")).field(name, value).bytes());
        let text = b.raw(conn);
        let told = (text.contains("chunked"), text.contains("/service/probe"), text.contains("301:streaming:"));
        assert_eq!(told, (allowed, allowed, !allowed), "{on} {value}: {text}");

        let client = b.client();
        let messages = client.connect_by("callback-polling").to_string();
        let query: String = messages.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let conn = b.open();
        let get = format!("GET /cometd?message={query} HTTP/1.1\r\nHost: h.example\r\n{name}: {value}\r\n\r\n");
        b.give(conn, get.as_bytes());
        assert_eq!(b.raw(conn).is_empty(), allowed, "it is held, or refused: {on} {value}");
    }
}

#[test]
fn pages_of_any_site_may_load_the_module_and_nothing_else() {
    let mut b = demo(true);
    for (path, origin) in [("/encke.js", Some("*")), ("/", None), ("/demo.js", None), ("/techniques", None)] {
        let response = get(&mut b, path, "Origin: https://app.example\r\n");
        assert_eq!((response.status, response.field("Access-Control-Allow-Origin")), (200, origin), "{path}");
    }
}

#[test]
fn files_can_only_be_read() {
    let mut b = demo(true);
    let conn = b.open();
    let response = b.exchange(conn, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!((response.status, response.field("Allow")), (405, Some("GET, HEAD")));
    let response = b.exchange(conn, b"POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n[]");
    assert_eq!((response.status, response.field("Allow")), (405, Some("GET, HEAD")));
    let conn = b.open();
    let head = b.exchange_bare(conn, b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let conn = b.open();
    assert_eq!(b.exchange(conn, b"OPTIONS / HTTP/1.0\r\n\r\n").status, 204, "HAProxy's check");
}

#[test]
fn an_endpoint_at_the_root_leaves_no_room_for_files_but_for_health() {
    let mut b = Bench::with(|setup| {
        setup.mount = "/";
        setup.demo = true;
    });
    assert_eq!(get(&mut b, "/", "").status, 405);
    assert_eq!(get(&mut b, "/encke.js", "").status, 405);
    assert_eq!(get(&mut b, "/health", "").status, 200);
}
