//! What a request wants, judged by its head.
//!
//! Owns the paths, methods and content types that the server answers, and the cross-site rule. Must not read a message or
//! know a session.

use core::fmt::Write;
use std::rc::Rc;

use crate::framing::{self, Wire};
use crate::http::HttpError;
use crate::http::coding::Coding;
use crate::http::form::{self, MediaType};
use crate::http::forwarded::{Forwarded, Peer, TrustedProxies};
use crate::http::head::{self, Head, Method, Version};
use crate::http::host::HostRule;
use crate::http::origin::{Grant, OriginRule, Verdict};
use crate::http::response::Status;
use crate::limits::{self, Limits};
use crate::pages::Pages;
use crate::ws::close::CloseCode;
use crate::ws::handshake::{self, Accepted, Terms};

use super::plain;

/// What an operator sets.
#[derive(Debug)]
pub struct Site {
    /// The path of the Bayeux endpoint, such as `/cometd`; everything below it is the endpoint too.
    pub mount: String,
    /// Whether the embedder's program answers what is not the server's.
    pub has_fallback: bool,
    /// Which hosts are answered for.
    pub hosts: HostRule,
    /// Which other sites' pages may use this server.
    pub origins: OriginRule,
    /// Whose `X-Forwarded-*` header fields are believed.
    pub proxies: TrustedProxies,
    /// Who may publish by plain HTTP.
    pub publishing: plain::Publishing,
    /// The server's own files.
    pub pages: Pages,
}

/// A path, or the beginning of one whose rest may be the id of a session, which is a secret.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// All of it.
    Whole(&'a str),
    /// What stands before the rest.
    Below(&'a str),
}

/// `/path`, `/cometd/…`
impl core::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Whole(path) => f.write_str(&printable(path.as_bytes())),
            Self::Below(mount) => write!(f, "{}/…", printable(mount.as_bytes())),
        }
    }
}

/// Where load balancers and monitors ask whether the server takes requests. Outside the mount, whatever that is.
pub const HEALTH: &str = "/health";

/// How the JSON texts of a batch stand in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// The body is the text.
    Json,
    /// Each `message` field of the form that is the body is one.
    Form,
    /// Each `message` field of the query is one.
    Query,
}

/// How an answer goes back; kept while a connect is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// In which form.
    pub wire: Wire,
    /// What the cross-site rule said.
    pub grant: Grant,
    /// Whether a cookie must be kept to https.
    pub secure: bool,
    /// Whether the peer knows chunks (RFC 9112 section 7.1): a HTTP/1.0 peer does not.
    pub chunks: bool,
}

/// What a request wants.
#[derive(Debug)]
pub enum Route {
    /// A batch of messages.
    Bayeux(ReplyTo, BodyForm),
    /// The connection is to become a WebSocket.
    Upgrade(Accepted<'static>),
    /// The session of this client id wants a stream of its own.
    Attach(ReplyTo, String),
    /// Somebody who does not speak Bayeux listens to this channel or pattern, with events after this number or, from −1 on
    /// downwards, as in a replay.
    Listen(ReplyTo, String, Option<i64>),
    /// Somebody who does not speak Bayeux publishes to this channel.
    Publish(ReplyTo, String),
    /// A browser asks before it sends a cross-site request.
    Preflight(Grant),
    /// An `OPTIONS` outside the endpoint, as some proxies send to see whether a server lives: answered without content.
    NoContent,
    /// A health check, answered with or without a body.
    Health {
        /// Not for a `HEAD`.
        body: bool,
    },
    /// A file of the server's own.
    Page(PageForm),
    /// Nothing of the server's: the embedder's program may know what to answer.
    Elsewhere,
    /// Not to be had.
    Refuse(Refusal),
}

/// How much of a page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageForm {
    /// All of it, rather in this coding.
    Whole(Coding),
    /// The head of that.
    Head(Coding),
    /// Nothing: the client has it already.
    Known,
}

/// A refusal of one request; the connection may go on.
#[derive(Debug)]
pub struct Refusal {
    /// The status.
    pub status: Status,
    /// One line for the body.
    pub text: String,
    /// For the `Allow` header field of a 405.
    pub allow: Option<&'static str>,
    /// What the cross-site rule said, so that a page that is let in can read why it is refused.
    pub grant: Grant,
    /// What is refused, for the log: one line per kind, not per request.
    pub kind: RefusalKind,
}

/// The kinds of refusals that an operator wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A page of a site that is not allowed.
    Origin,
    /// A path, method or content type that is not served.
    Request,
    /// Bytes that are not a proper request.
    Framing,
    /// A body that is not a proper batch.
    Batch,
    /// A request that did not arrive in time.
    Timeout,
    /// A head or a body beyond its limit.
    Size,
    /// A try at a transport that is not served. Common: clients fall back by themselves.
    Transport,
    /// Somebody who may not publish.
    Publisher,
    /// What there is no room for now.
    Overload,
    /// A host that is not answered for.
    Host,
    /// A TLS handshake that came to nothing.
    Handshake,
    /// An answer of which nothing was taken in time.
    Reader,
}

impl RefusalKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::Origin,
        Self::Request,
        Self::Framing,
        Self::Batch,
        Self::Timeout,
        Self::Size,
        Self::Transport,
        Self::Publisher,
        Self::Overload,
        Self::Host,
        Self::Handshake,
        Self::Reader,
    ];
    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The kind that a framing error of this status is.
    pub const fn of_fault(status: Status) -> Self {
        match status {
            Status::ContentTooLarge | Status::HeadersTooLarge | Status::UriTooLong => Self::Size,
            _ => Self::Framing,
        }
    }

    /// The kind that closing a WebSocket with this code is; `None` if it is no fault of the peer.
    pub const fn of_close(code: CloseCode) -> Option<Self> {
        match code {
            CloseCode::PROTOCOL => Some(Self::Framing),
            CloseCode::UNSUPPORTED | CloseCode::INVALID_DATA | CloseCode::POLICY => Some(Self::Batch),
            CloseCode::TOO_BIG => Some(Self::Size),
            _ => None,
        }
    }

    /// What a line of counts calls it.
    pub const fn short_name(self) -> &'static str {
        match self {
            Self::Origin => "cross-site",
            Self::Request => "unknown-request",
            Self::Framing => "malformed-http",
            Self::Batch => "malformed-batch",
            Self::Timeout => "slow-request",
            Self::Transport => "transport",
            Self::Publisher => "publisher",
            Self::Handshake => "tls",
            Self::Size => "large-request",
            Self::Overload => "overload",
            Self::Host => "unknown-host",
            Self::Reader => "slow-reader",
        }
    }

    /// What the log calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Origin => "refused a cross-site request",
            Self::Request => "refused an unknown request",
            Self::Framing => "refused malformed HTTP",
            Self::Batch => "refused a malformed batch",
            Self::Timeout => "refused a slow request",
            Self::Transport => "refused a transport",
            Self::Publisher => "refused a publisher",
            Self::Handshake => "a TLS handshake failed",
            Self::Size => "refused a large request",
            Self::Overload => "refused what there is no room for",
            Self::Host => "refused a request for another host",
            Self::Reader => "cut off who does not read",
        }
    }
}

impl Refusal {
    /// For a request that has not come in time.
    pub fn too_slow() -> Self {
        let text = "The request did not arrive in time: its head within head-timeout, its body within body-timeout";
        let refusal = Self::new(Status::RequestTimeout, text);
        Self { kind: RefusalKind::Timeout, ..refusal }
    }

    /// For bytes that are not a proper request. Of a limit, it says how much that is and whether it can be changed.
    pub fn of_fault(error: HttpError, limits: &Limits) -> Self {
        let limit = match error {
            head::LONG_REQUEST_LINE | head::LONG_HEADER_LINE => {
                format!(": at most {} bytes, which no option changes", limits.line_bytes)
            }
            head::MANY_FIELDS => format!(": at most {}, which no option changes", limits::HEADERS),
            head::LONG_HEAD => format!(": at most {} bytes, see the option max-head-size", limits.head_bytes),
            _ => String::new(),
        };
        let kind = RefusalKind::of_fault(error.status);
        Self { kind, ..Self::new(error.status, format!("{}{limit}", error.reason)) }
    }

    /// For a request of which no more can be kept.
    pub fn too_much() -> Self {
        let refusal = Self::new(Status::ServiceUnavailable, "Too much is being received; try again later");
        Self { kind: RefusalKind::Overload, ..refusal }
    }

    /// For an answer that there is no room for.
    pub fn too_much_waits() -> Self {
        let refusal = Self::new(Status::ServiceUnavailable, "Too much waits for clients already; try again later");
        Self { kind: RefusalKind::Overload, ..refusal }
    }

    /// For a poll of which more has come than it can be given.
    pub(super) fn overflowed(grant: Grant) -> Self {
        let refusal = Self::new(Status::ServiceUnavailable, "More came than may wait for one client; ask again");
        Self { grant, kind: RefusalKind::Overload, ..refusal }
    }

    pub(super) fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), allow: None, grant: Grant::SameOrigin, kind: RefusalKind::Request }
    }
}

impl Site {
    /// What the request from this peer wants; `transports` are the connection types that are offered.
    pub fn route(&self, head: &Head<'_>, peer: Peer, transports: &[&str]) -> Route {
        let reads = matches!(head.method, Method::Get | Method::Head);
        match head.method {
            Method::Get | Method::Head if head.path == HEALTH => {
                return Route::Health { body: head.method == Method::Get };
            }
            Method::Post | Method::Other if head.path == HEALTH => return Route::Refuse(read_only()),
            _ => {}
        }
        if let Some((field, host)) = self.unserved(head, peer) {
            return Route::Refuse(refused_host(field, host));
        }
        let plain = self.plain(head.path);
        if !self.is_mounted(head.path) && plain.is_none() {
            return self.route_elsewhere(head, peer, reads);
        }
        let forwarded = Forwarded::from_head(head, peer, &self.proxies);
        let (grant, cross) = match self.origins.check_head(head, &forwarded) {
            Verdict::NoOrigin if reads && self.is_foreign(head, forwarded) => {
                return Route::Refuse(refused_origin(head, self.origins.any_listed()));
            }
            Verdict::NoOrigin => (Grant::SameOrigin, false),
            Verdict::Granted(grant) => (grant, grant != Grant::SameOrigin),
            Verdict::Refused => return Route::Refuse(refused_origin(head, self.origins.any_listed())),
        };
        let secure = forwarded.https.unwrap_or(false);
        let to = ReplyTo { wire: Wire::Json, grant, secure, chunks: head.version == Version::Http11 };
        let route = match plain {
            Some(plain) => self.route_plain(head, peer.address, plain, to),
            None => route_endpoint(head, to, cross, || self.offered(head, peer, transports)),
        };
        route.unwrap_or_else(|refusal| Route::Refuse(Refusal { grant, ..refusal }))
    }

    /// The connection types that this request may use, where these are offered to everyone. The page that shows all
    /// techniques is ours, and so is what it asks for.
    pub fn offered<'a>(&self, head: &Head<'_>, peer: Peer, transports: &'a [&'a str]) -> &'a [&'a str] {
        if self.pages.shows() && self.is_ours(head, peer) { &framing::TRANSPORTS } else { transports }
    }

    /// Whether a browser says that the request comes from a page of this server. `Sec-Fetch-Site` is the field for it, but
    /// is not sent with a WebSocket, nor over plain HTTP to another machine.
    fn is_ours(&self, head: &Head<'_>, peer: Peer) -> bool {
        if let Some(site) = head.header("sec-fetch-site") {
            return site.eq_ignore_ascii_case(b"same-origin");
        }
        let referer = || origin_of(head.header("referer").unwrap_or_default());
        let origin = head.header("origin").unwrap_or_else(referer);
        let forwarded = Forwarded::from_head(head, peer, &self.proxies);
        self.origins.check_of(origin, head.host, &forwarded) == Some(Grant::SameOrigin)
    }

    /// Whether a request without `Origin` comes from a page that is not this server's, and whose site is not allowed: scripts
    /// and frames are loaded so. `Sec-Fetch-Site` says it, or else `Referer`.
    fn is_foreign(&self, head: &Head<'_>, forwarded: Forwarded<'_>) -> bool {
        let site = head.header("sec-fetch-site");
        let own = |site: &[u8]| site.eq_ignore_ascii_case(b"same-origin") || site.eq_ignore_ascii_case(b"none");
        let referer = head.header("referer");
        let allowed = || {
            let origin = origin_of(referer.unwrap_or_default());
            // Where it is said that the page is another one's, its host cannot make it ours.
            let is_open = site.is_none();
            let forwarded = Forwarded { host: forwarded.host.filter(|_| is_open), ..forwarded };
            self.origins.check_of(origin, head.host.filter(|_| is_open), &forwarded).is_some()
        };
        match site {
            Some(site) => !own(site) && !allowed(),
            None => referer.is_some() && !allowed(),
        }
    }

    /// A request for something beside the endpoint.
    fn route_elsewhere(&self, head: &Head<'_>, peer: Peer, reads: bool) -> Route {
        if head.method == Method::Options {
            return Route::NoContent;
        }
        let Some(page) = self.pages.find(head.path) else {
            if !self.has_fallback {
                return Route::Refuse(self.nothing());
            }
            // What changes something is not for pages of sites that are not allowed.
            let forwarded = Forwarded::from_head(head, peer, &self.proxies);
            if !reads && matches!(self.origins.check_head(head, &forwarded), Verdict::Refused) {
                return Route::Refuse(refused_origin(head, self.origins.any_listed()));
            }
            return Route::Elsewhere;
        };
        if !reads {
            return Route::Refuse(read_only());
        }
        let tag = page.tag();
        let known = head.values("if-none-match").any(|field| tag.is_among(field));
        Route::Page(match head.method {
            _ if known => PageForm::Known,
            Method::Head => PageForm::Head(Coding::wanted(head)),
            _ => PageForm::Whole(Coding::wanted(head)),
        })
    }

    /// There is nothing to be had under a path.
    pub fn nothing(&self) -> Refusal {
        Refusal::new(Status::NotFound, format!("Nothing here. The Bayeux endpoint is {}", self.mount))
    }

    /// The host that is not answered for, and the field that it stands in: the one that is asked for, or the one that a
    /// trusted proxy says it was asked for. Both count: a page can have its browser send any `X-Forwarded-Host`, and the
    /// browser is a trusted peer on this machine.
    #[inline(never)]
    fn unserved<'b>(&self, head: &Head<'b>, peer: Peer) -> Option<(&'static str, Option<&'b str>)> {
        if self.hosts.is_any() {
            return None;
        }
        let forwarded = Forwarded::from_head(head, peer, &self.proxies).host;
        let refused = |host: Option<&str>| !self.hosts.allows(host.map(str::as_bytes));
        if refused(head.host) {
            return Some(("Host", head.host));
        }
        forwarded.filter(|host| refused(Some(host))).map(|host| ("X-Forwarded-Host", Some(host)))
    }

    /// What the log may say of a path. What stands below the mount may be the id of a session.
    pub fn told_path<'a>(&self, path: &'a str) -> Path<'a> {
        let below = path.split_at_checked(self.mount.trim_end_matches('/').len());
        match below.filter(|(_, rest)| self.is_mounted(path) && rest.len() > 1) {
            Some((mount, _)) => Path::Below(mount),
            None => Path::Whole(path),
        }
    }

    /// The mount itself or anything below it.
    pub(super) fn is_mounted(&self, path: &str) -> bool {
        let mount = self.mount.trim_end_matches('/');
        path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A request to the endpoint.
fn route_endpoint<'a>(
    head: &Head<'_>,
    to: ReplyTo,
    cross: bool,
    offered: impl Fn() -> &'a [&'a str],
) -> Result<Route, Refusal> {
    match head.method {
        Method::Options => Ok(Route::Preflight(to.grant)),
        Method::Post => body_form(head, cross).map(|form| Route::Bayeux(to, form)),
        Method::Get if handshake::is_meant(head) => {
            if !offered().contains(&"websocket") {
                return Err(not_offered("websocket"));
            }
            let terms = Terms { protocols: &["bayeux", "cometd"], deflate: true };
            let accepted = handshake::judge(head, &terms).map_err(|HttpError { status, reason }| Refusal {
                kind: RefusalKind::Transport,
                allow: (status == Status::MethodNotAllowed).then_some("GET"),
                ..Refusal::new(status, reason)
            })?;
            Ok(Route::Upgrade(accepted))
        }
        Method::Get => route_get(head, to, offered()),
        Method::Head | Method::Other => Err(not_allowed()),
    }
}

fn route_get(head: &Head<'_>, to: ReplyTo, transports: &[&str]) -> Result<Route, Refusal> {
    let transport = match head.query {
        _ if accepts(head, "text/event-stream") => "eventsource",
        Some(query) if names(query, "iframe") => "iframe",
        Some(query) if names(query, "message") => "callback-polling",
        _ => return Err(not_allowed()),
    };
    if !transports.contains(&transport) {
        return Err(not_offered(transport));
    }
    let wire = match transport {
        "eventsource" => {
            let id = head.path.rsplit('/').next().unwrap_or_default().to_owned();
            return Ok(Route::Attach(ReplyTo { wire: Wire::EventStream, ..to }, id));
        }
        "iframe" => Wire::Script(callback(head.query, "iframe", "")?),
        _ => Wire::Callback(callback(head.query, "jsonp", "jsonpcallback")?),
    };
    Ok(Route::Bayeux(ReplyTo { wire, ..to }, BodyForm::Query))
}

fn not_allowed() -> Refusal {
    let text = "The Bayeux endpoint takes POST with a JSON array of messages";
    Refusal { allow: Some("GET, POST, OPTIONS"), ..Refusal::new(Status::MethodNotAllowed, text) }
}

fn not_offered(transport: &str) -> Refusal {
    let text = format!("{transport} is not among the transports of this server; see its option transports");
    Refusal { kind: RefusalKind::Transport, ..Refusal::new(Status::BadRequest, text) }
}

/// Whether the `Accept` of a request names this type, and not only to say that it is not acceptable.
pub(super) fn accepts(head: &Head<'_>, media_type: &str) -> bool {
    head.elements("accept").any(|element| {
        let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        name.eq_ignore_ascii_case(media_type.as_bytes()) && !parts.any(is_weight_zero)
    })
}

/// `q=0`, `q=0.000` (RFC 9110 section 12.4.2).
fn is_weight_zero(parameter: &[u8]) -> bool {
    matches!(parameter, [b'q' | b'Q', b'=', weight @ ..] if weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
}

/// Whether a query has a parameter of this name.
fn names(query: &str, name: &str) -> bool {
    query.split('&').any(|field| field.split('=').next() == Some(name))
}

/// The function that a script is to call: an identifier, or several with dots between them. Nothing has been done yet when
/// it is not.
fn callback(query: Option<&str>, name: &str, default: &str) -> Result<Rc<Box<str>>, Refusal> {
    let fields = query.unwrap_or_default().split('&');
    let value = fields.filter_map(|field| field.split_once('=')).find(|(own, _)| *own == name).map(|(_, value)| value);
    let value = value.unwrap_or(default);
    let is_identifier = |part: &str| {
        let starts = part.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '_' | '$'));
        starts && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))
    };
    if value.len() <= limits::CALLBACK_BYTES && value.split('.').all(is_identifier) {
        return Ok(Rc::new(value.into()));
    }
    let text =
        format!("{name}= must name a function, such as cb or app.cb, of up to {} letters", limits::CALLBACK_BYTES);
    Err(Refusal { kind: RefusalKind::Batch, ..Refusal::new(Status::BadRequest, text) })
}

/// The origin of a URL, as far as it has one.
fn origin_of(url: &[u8]) -> &[u8] {
    let mut slashes = url.iter().enumerate().filter(|(_, byte)| matches!(byte, b'/' | b'?' | b'#'));
    let end = slashes.nth(2).map_or(url.len(), |(at, _)| at);
    url.get(..end).unwrap_or_default()
}

fn read_only() -> Refusal {
    Refusal { allow: Some("GET, HEAD"), ..Refusal::new(Status::MethodNotAllowed, "This page can only be read") }
}

/// How the body is to be read. Faye's browser client sends a cross-site form without a type of its own, which the browser
/// labels `text/plain`; that is taken only from another site that is allowed.
fn body_form(head: &Head<'_>, cross: bool) -> Result<BodyForm, Refusal> {
    let Some(value) = head.header("content-type") else { return Ok(BodyForm::Json) };
    match form::media_type(value) {
        MediaType::Json | MediaType::TextJson => Ok(BodyForm::Json),
        MediaType::Form => Ok(BodyForm::Form),
        MediaType::TextPlain if cross => Ok(BodyForm::Form),
        MediaType::TextPlain | MediaType::Other => Err(Refusal::new(
            Status::UnsupportedMediaType,
            "Content-Type must be application/json in UTF-8, or application/x-www-form-urlencoded with message=",
        )),
    }
}

/// The refusal names what counted, and the setting that would lift it.
fn refused_host(field: &str, host: Option<&str>) -> Refusal {
    let text = match host {
        Some(host) => {
            let host = printable(host.as_bytes());
            format!("{field} {host} is not answered for here. If it is this server's, add it to allowed-hosts")
        }
        None => "A request that names no Host is not answered here, where allowed-hosts is set".to_owned(),
    };
    Refusal { kind: RefusalKind::Host, ..Refusal::new(Status::MisdirectedRequest, text) }
}

/// Likewise.
fn refused_origin(head: &Head<'_>, others_listed: bool) -> Refusal {
    let referer = || origin_of(head.header("referer").unwrap_or(b"unknown"));
    let sent = head.header("origin").unwrap_or_else(referer);
    let origin = printable(sent);
    let host = printable(head.host.unwrap_or("none").as_bytes());
    // The line is there to be pasted into a shell or a file, so it holds nothing that either would act on.
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'/' | b'.' | b'-' | b'_' | b'[' | b']');
    let whole = sent.iter().copied().all(plain) && sent.len() == origin.len();
    let could_be_listed = whole && OriginRule::new(core::slice::from_ref(&origin)).is_ok();
    let help = match (could_be_listed, others_listed) {
        _ if sent == b"null" => {
            "That is a page without a site, such as a file or a sandboxed frame: any page can be one".to_owned()
        }
        (true, false) => {
            format!("To allow it, set allowed-origins = [\"{origin}\"] or start encke with: --allowed-origins {origin}")
        }
        (true, true) => format!("To allow it too, add to the list of allowed-origins: {origin}"),
        (false, _) => "It is none that allowed-origins takes as it stands".to_owned(),
    };
    let text = format!("Origin {origin} may not use Host {host}. {help}");
    Refusal { kind: RefusalKind::Origin, ..Refusal::new(Status::Forbidden, text) }
}

/// A peer's bytes as one line of bounded length for bodies and logs.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(limits::ECHO_BYTES) {
        if byte.is_ascii_graphic() || *byte == b' ' {
            text.push(char::from(*byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
