//! The embedder's own pages on the same port.

use super::super::bench::Bench;
use super::Log;
use crate::hooks::{Context, Hooks, WebRequest, WebResponse};
use crate::http::head::Method;

/// Answers what its path asks for: a number is a status.
fn serves(log: &Log) -> Hooks {
    let log = log.clone();
    Hooks::default().fallback(move |request: &WebRequest<'_>, context: &mut Context<'_>| {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        log.note(format!("{:?} {} {:?} {body}", request.method(), request.path(), request.query()));
        if request.method() == Method::Post {
            context.publish("/posted", &format!("{:?}", body)).unwrap();
        }
        let host = request.header("hOST").map(|host| String::from_utf8_lossy(host).into_owned());
        match request.path() {
            "/none" => None,
            "/who" => Some(WebResponse::new("text/plain", format!("{:?} {host:?}", request.address()))),
            "/evil" => Some(WebResponse::new("text/html\r\nSet-Cookie: a=b\u{7f}\u{e9}", "x")),
            path => {
                let status = path.strip_prefix("/status/").map_or(200, |digits| digits.parse().unwrap());
                Some(WebResponse::new("text/html;charset=UTF-8", "<p>").with_status(status))
            }
        }
    })
}

fn bench(log: &Log) -> Bench {
    Bench::with(|setup| setup.hooks = serves(log))
}

fn request(b: &mut Bench, line: &str, fields: &str, body: &str) -> String {
    let conn = b.open();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let text =
        b.exchange_bare(conn, format!("{line} HTTP/1.1\r\nHost: h.example\r\n{fields}{length}\r\n{body}").as_bytes());
    if !b.is_closed(conn) {
        b.cut(conn);
    }
    text
}

fn status(response: &str) -> &str {
    response.strip_prefix("HTTP/1.1 ").and_then(|line| line.get(..3)).unwrap()
}

#[test]
fn pages_are_served_with_what_browsers_are_to_know_of_them() {
    let log = Log::default();
    let mut b = bench(&log);
    let page = request(&mut b, "GET /page?x=1", "", "");
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert_eq!((status(&page), body), ("200", "<p>"));
    for field in [
        "Content-Type: text/html;charset=UTF-8",
        "Content-Length: 3",
        "X-Content-Type-Options: nosniff",
        "Cache-Control: no-store",
    ] {
        assert!(head.lines().any(|line| line == field), "{field} in {head}");
    }
    let bare = request(&mut b, "HEAD /page", "", "");
    assert!(bare.ends_with("\r\n\r\n") && bare.contains("Content-Length: 3\r\n"), "{bare}");
    let posted = request(&mut b, "POST /form", "Content-Type: text/plain\r\n", "a=1");
    assert!(posted.ends_with("<p>"));
    assert_eq!(log.take(), ["Get /page Some(\"x=1\") ", "Head /page None ", "Post /form None a=1"]);
    assert_eq!(b.published(), 1, "what it wants done is done");
}

#[test]
fn statuses_are_as_they_are_set_and_some_have_no_body() {
    let log = Log::default();
    let mut b = bench(&log);
    for (wanted, sent) in
        [(201, "201"), (302, "302"), (404, "404"), (599, "599"), (100, "500"), (600, "500"), (0, "500")]
    {
        let response = request(&mut b, &format!("GET /status/{wanted}"), "", "");
        assert!(status(&response) == sent && response.ends_with("\r\n\r\n<p>"), "{response}");
    }
    for wanted in [204, 304] {
        let response = request(&mut b, &format!("GET /status/{wanted}"), "", "");
        assert!(response.ends_with("\r\n\r\n") && !response.contains("Content-Length"), "{response}");
    }
    // Nothing is left on the connection that the next response could be taken for.
    let conn = b.open();
    let both = b"GET /status/204 HTTP/1.1\r\nHost: h\r\n\r\nGET /page HTTP/1.1\r\nHost: h\r\n\r\n";
    let text = b.exchange_bare(conn, both);
    assert_eq!((text.matches("HTTP/1.1 ").count(), text.matches("<p>").count()), (2, 1));
}

#[test]
fn what_it_does_not_know_is_404_and_so_is_everything_without_one() {
    let log = Log::default();
    let mut b = bench(&log);
    let response = request(&mut b, "GET /none", "", "");
    assert!(status(&response) == "404" && response.contains("The Bayeux endpoint is /cometd"), "{response}");
    assert_eq!(status(&request(&mut Bench::new(), "GET /none", "", "")), "404");
}

#[test]
fn what_is_the_servers_own_never_gets_there() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = serves(&log);
        setup.demo = true;
    });
    for (line, expected) in [
        ("GET /health", "200"),
        ("POST /health", "405"),
        ("GET /cometd", "405"),
        ("GET /cometd/x/y", "405"),
        ("POST /publish/a", "404"),
        ("GET /events/", "400"),
        ("OPTIONS /page", "204"),
        #[cfg(feature = "demo")]
        ("GET /", "200"),
    ] {
        let response = request(&mut b, line, "", "");
        assert_eq!(status(&response), expected, "{line}: {response}");
    }
    assert_eq!(log.take(), Vec::<String>::new());
}

#[test]
fn what_changes_something_is_not_for_pages_of_other_sites() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = serves(&log);
        setup.origins = vec!["https://friend.example"];
    });
    let origin = |origin: &str| format!("Origin: {origin}\r\nContent-Type: text/plain\r\n");
    for (line, from, expected) in [
        ("POST /form", "https://evil.example", "403"),
        ("POST /form", "null", "403"),
        ("PUT /form", "https://evil.example", "403"),
        ("DELETE /form", "https://evil.example", "403"),
        ("POST /form", "https://friend.example", "200"),
        ("POST /form", "http://h.example", "200"),
        ("GET /page", "https://evil.example", "200"),
    ] {
        let response = request(&mut b, line, &origin(from), "x");
        assert_eq!(status(&response), expected, "{line} {from}");
        assert_eq!(log.take().len(), usize::from(expected == "200"));
    }
}

#[test]
fn it_is_told_who_asks_and_cannot_break_the_response() {
    let log = Log::default();
    let mut b = Bench::with(|setup| {
        setup.hooks = serves(&log);
        setup.hosts = vec!["h.example"];
    });
    assert!(request(&mut b, "GET /who", "", "").ends_with("Some(192.0.2.1) Some(\"h.example\")"));
    let conn = b.open_from(super::super::bench::PROXY);
    let forwarded = b"GET /who HTTP/1.1\r\nHost: h.example\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
    assert!(b.exchange_bare(conn, forwarded).ends_with("Some(203.0.113.9) Some(\"h.example\")"));
    let evil = request(&mut b, "GET /evil", "", "");
    assert!(evil.contains("\r\nContent-Type: text/htmlSet-Cookie: a=b\r\n"), "{evil}");
    let conn = b.open();
    assert_eq!(status(&b.exchange_bare(conn, b"GET /page HTTP/1.1\r\nHost: other.example\r\n\r\n")), "421");
}

#[test]
fn a_page_ends_a_held_connect_on_its_connection_as_any_request_does() {
    let log = Log::default();
    let mut b = bench(&log);
    let client = b.subscriber("/posted");
    b.hold(&client);
    let post = "POST /form HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n1";
    b.give(client.down, post.as_bytes());
    let answers = b.take(client.down);
    assert_eq!((answers.len(), answers[1].body.as_str()), (2, "<p>"));
    assert_eq!(b.events(&client).len(), 1, "what it has published");
}

#[test]
fn a_page_may_have_header_fields_of_its_own_but_none_that_break_the_head() {
    let hooks = Hooks::default().fallback(|_: &WebRequest<'_>, _: &mut Context<'_>| {
        let page = WebResponse::new("text/plain", "gone").with_status(303);
        let moved =
            page.with_field("Location", "/there?a=1").and_then(|page| page.with_field("cache-control", "max-age=5"));
        Some(moved.unwrap())
    });
    let mut b = Bench::with(|setup| setup.hooks = hooks);
    let page = request(&mut b, "GET /here", "", "");
    let fields: Vec<&str> =
        page.lines().filter(|line| line.starts_with("Location") || line.contains("ache-")).collect();
    assert_eq!((status(&page), fields), ("303", vec!["Location: /there?a=1", "cache-control: max-age=5"]));
    for (name, value, why) in [
        ("", "x", "\"\" is no name of a header field"),
        ("A B", "x", "\"A B\" is no name of a header field"),
        ("A:", "x", "\"A:\" is no name of a header field"),
        ("content-LENGTH", "5", "the server writes content-LENGTH itself"),
        ("Transfer-Encoding", "chunked", "the server writes Transfer-Encoding itself"),
        ("X", "a\r\nSet-Cookie: b", "\"a\\r\\nSet-Cookie: b\" cannot be the value of a header field"),
        ("X", "\u{e9}", "\"\u{e9}\" cannot be the value of a header field"),
    ] {
        assert_eq!(WebResponse::new("a/b", "").with_field(name, value).unwrap_err().to_string(), why);
    }
}
