//! Plain HTTP for those who do not speak Bayeux: `GET /events/<channel-or-pattern>`, `POST /publish/<channel>`.
//!
//! Owns what such a request looks like and who may publish with one.

use core::net::IpAddr;

use crate::framing::Wire;
use crate::http::authority::Authority;
use crate::http::form;
use crate::http::head::{Head, Method};
use crate::http::response::Status;

use super::route::{Refusal, RefusalKind, ReplyTo, Route, Site, accepts};

/// Below it one listens.
const EVENTS: &str = "/events/";
/// Below it one publishes.
const PUBLISH: &str = "/publish/";

/// Who may publish by plain HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Publishing {
    /// Nobody.
    #[default]
    Off,
    /// Programs on this machine that speak to it directly and mean it: from a loopback address, with a loopback `Host`,
    /// and without a sign of a proxy or of a page.
    Local,
    /// Whoever has this bearer token (RFC 6750 section 2.1).
    Token(String),
    /// Whoever the policy lets: nothing is asked before.
    Policy,
}

/// What a path outside the endpoint asks for, with a channel or a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    Events(String),
    Publish(String),
}

impl Site {
    /// What the path asks for. The endpoint has all paths below its own, whatever that is.
    pub(super) fn plain(&self, path: &str) -> Option<Plain> {
        if self.is_mounted(path) {
            return None;
        }
        let channel = |rest: &str| form::decode_path(rest).map_or_else(String::new, |rest| format!("/{rest}"));
        if let Some(rest) = path.strip_prefix(EVENTS) {
            return Some(Plain::Events(channel(rest)));
        }
        path.strip_prefix(PUBLISH).map(|rest| Plain::Publish(channel(rest)))
    }

    pub(super) fn route_plain(
        &self,
        head: &Head<'_>,
        peer: Option<IpAddr>,
        plain: Plain,
        to: ReplyTo,
    ) -> Result<Route, Refusal> {
        if head.method == Method::Options {
            return Ok(Route::Preflight(to.grant));
        }
        let only = |allow| {
            let text = format!("Only {allow} here");
            Err(Refusal { allow: Some(allow), ..Refusal::new(Status::MethodNotAllowed, text) })
        };
        match (plain, head.method) {
            (Plain::Events(pattern), Method::Get) => {
                let wires = [
                    ("text/event-stream", Wire::Events),
                    ("application/x-ndjson", Wire::Ndjson),
                    ("multipart/x-mixed-replace", Wire::Multipart),
                ];
                let wire = wires.into_iter().find(|(name, _)| accepts(head, name)).map_or(Wire::Json, |(_, wire)| wire);
                let since = since(head)?;
                Ok(Route::Listen(ReplyTo { wire, ..to }, pattern, since))
            }
            (Plain::Publish(channel), Method::Post) => {
                self.may_publish(head, peer)?;
                Ok(Route::Publish(to, channel))
            }
            (Plain::Events(_), _) => only("GET, OPTIONS"),
            (Plain::Publish(_), _) => only("POST, OPTIONS"),
        }
    }

    fn may_publish(&self, head: &Head<'_>, peer: Option<IpAddr>) -> Result<(), Refusal> {
        let refused = |status, text| Err(Refusal { kind: RefusalKind::Publisher, ..Refusal::new(status, text) });
        match &self.publishing {
            Publishing::Off => {
                Err(Refusal::new(Status::NotFound, "Publishing by plain HTTP is off; the option http-api turns it on"))
            }
            Publishing::Policy => Ok(()),
            Publishing::Local => match not_local(head, peer) {
                None => Ok(()),
                Some(why) => refused(
                    Status::Forbidden,
                    format!(
                        "Without http-token only programs on the server's own machine may publish, directly: {why}"
                    ),
                ),
            },
            Publishing::Token(token) if has_token(head, token) => Ok(()),
            Publishing::Token(_) => refused(
                Status::Unauthorized,
                "Publishing needs the token of the option http-token: Authorization: Bearer ...".to_owned(),
            ),
        }
    }
}

/// From where on the listener wants events: the `Last-Event-ID` that a browser sends when it opens a stream again (HTML,
/// "Server-sent events"), for the URL is the same then; else `since=` of the query.
fn since(head: &Head<'_>) -> Result<Option<i64>, Refusal> {
    let header = head.header("last-event-id").filter(|value| !value.is_empty());
    let query = head.query.unwrap_or_default().split('&').find_map(|field| field.strip_prefix("since="));
    let Some(text) = header.or(query.map(str::as_bytes)) else { return Ok(None) };
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    match number {
        Some(number @ -2..) => Ok(Some(number)),
        _ => {
            let name = if header.is_some() { "Last-Event-ID" } else { "since=" };
            let text = format!("{name} must be the id of an event, -2 for all that are kept, or -1 for new ones only");
            Err(Refusal { kind: RefusalKind::Batch, ..Refusal::new(Status::BadRequest, text) })
        }
    }
}

/// Why it does not count that the request was made on this machine, by a program that knows what it does: a page that a name
/// was bound to this machine for has another `Host`, and what a proxy passes on shows that.
fn not_local(head: &Head<'_>, peer: Option<IpAddr>) -> Option<String> {
    let host = head.host.and_then(|host| Authority::parse(host.as_bytes()));
    let here = host.is_some_and(|host| {
        let bare = host.host.trim_start_matches('[').trim_end_matches(']');
        bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    let forwarded = ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"];
    // Also of a site that is allowed, or of this one: it runs in a browser, on behalf of who made it.
    let page = ["Origin", "Sec-Fetch-Site"];
    let sent = |names: &[&'static str]| names.iter().find(|name| head.header(name).is_some()).copied();
    if peer.is_some_and(|peer| !peer.to_canonical().is_loopback()) {
        return Some("this request comes from another machine".to_owned());
    }
    if let Some(name) = sent(&page) {
        return Some(format!("this request has {name}, so it comes from a page in a browser"));
    }
    if let Some(name) = sent(&forwarded) {
        return Some(format!("this request has {name}, so it comes through a proxy"));
    }
    (!here).then(|| "the Host of this request is neither localhost nor a loopback address".to_owned())
}

/// Whether the request has the token. Takes as long for a token that begins right as for any other.
fn has_token(head: &Head<'_>, token: &str) -> bool {
    let mut values = head.values("authorization");
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, sent)) = value.split_at_checked("Bearer ".len()) else { return false };
    let sent = sent.trim_ascii();
    let same = sent.iter().zip(token.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0;
    scheme.eq_ignore_ascii_case(b"Bearer ") && sent.len() == token.len() && same
}
