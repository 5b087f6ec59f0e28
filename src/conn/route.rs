//! What a request wants, judged by its head.
//!
//! Owns the paths, methods and content types that the server answers, and the cross-site rule. Must not read a message or
//! know a session.

use core::fmt::Write;
use core::net::IpAddr;

use crate::framing::Wire;
use crate::http::form::{self, MediaType};
use crate::http::forwarded::{Forwarded, TrustedProxies};
use crate::http::head::{Head, Method};
use crate::http::origin::{Grant, OriginRule, Verdict};
use crate::http::response::Status;
use crate::limits;
use crate::pages::Pages;

/// What an operator sets.
#[derive(Debug)]
pub struct Site {
    /// The path of the Bayeux endpoint, such as `/cometd`; everything below it is the endpoint too.
    pub mount: String,
    /// Which other sites' pages may use this server.
    pub origins: OriginRule,
    /// Whose `X-Forwarded-*` header fields are believed.
    pub proxies: TrustedProxies,
    /// The server's own files.
    pub pages: Pages,
}

/// Where load balancers and monitors ask whether the server takes requests. Outside the mount, whatever that is.
pub const HEALTH: &str = "/health";

/// How the JSON texts of a batch stand in a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyForm {
    /// The body is the text.
    Json,
    /// Each `message` field of a form is one.
    Form,
}

/// How an answer goes back; kept while a connect is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// In which form.
    pub wire: Wire,
    /// What the cross-site rule said.
    pub grant: Grant,
    /// Whether a cookie must be kept to https.
    pub secure: bool,
}

/// What a request wants.
#[derive(Debug)]
pub enum Route {
    /// A batch of messages.
    Bayeux(ReplyTo, BodyForm),
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
    /// Not to be had.
    Refuse(Refusal),
}

/// How much of a page is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageForm {
    /// All of it.
    Whole,
    /// Its head.
    Head,
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
}

impl RefusalKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Origin, Self::Request, Self::Framing, Self::Batch, Self::Timeout, Self::Size, Self::Transport];
    /// How many kinds there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The kind that a framing error of this status is.
    pub const fn of_fault(status: Status) -> Self {
        match status {
            Status::ContentTooLarge | Status::HeadersTooLarge | Status::UriTooLong => Self::Size,
            _ => Self::Framing,
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
            Self::Size => "large-request",
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
            Self::Transport => "did not upgrade to WebSocket",
            Self::Size => "refused a large request",
        }
    }
}

impl Refusal {
    fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), allow: None, grant: Grant::SameOrigin, kind: RefusalKind::Request }
    }
}

impl Site {
    /// What the request wants. `peer` is the address that the connection came from, `None` on a Unix socket.
    pub fn route(&self, head: &Head<'_>, peer: Option<IpAddr>) -> Route {
        let reads = matches!(head.method, Method::Get | Method::Head);
        match head.method {
            Method::Get | Method::Head if head.path == HEALTH => {
                return Route::Health { body: head.method == Method::Get };
            }
            Method::Post | Method::Other if head.path == HEALTH => return Route::Refuse(read_only()),
            _ => {}
        }
        if !self.is_mounted(head.path) {
            return self.route_elsewhere(head, reads);
        }
        let forwarded = Forwarded::from_head(head, peer, &self.proxies);
        let (grant, cross) = match self.origins.check_head(head, forwarded.host) {
            Verdict::NoOrigin => (Grant::SameOrigin, false),
            Verdict::Granted(grant) => (grant, grant != Grant::SameOrigin),
            Verdict::Refused => return Route::Refuse(refused_origin(head, self.origins.any_listed())),
        };
        match head.method {
            Method::Options => Route::Preflight(grant),
            Method::Post => match body_form(head, cross) {
                Ok(form) => {
                    let secure = forwarded.https.unwrap_or(false);
                    Route::Bayeux(ReplyTo { wire: Wire::Json, grant, secure }, form)
                }
                Err(refusal) => Route::Refuse(Refusal { grant, ..refusal }),
            },
            Method::Get if head.header("upgrade").is_some() => {
                let refusal = Refusal::new(Status::BadRequest, "WebSocket is not served here; use long-polling");
                Route::Refuse(Refusal { kind: RefusalKind::Transport, ..refusal })
            }
            Method::Get | Method::Head | Method::Other => {
                let text = "The Bayeux endpoint takes POST with a JSON array of messages";
                let refusal = Refusal::new(Status::MethodNotAllowed, text);
                Route::Refuse(Refusal { allow: Some("POST, OPTIONS"), grant, ..refusal })
            }
        }
    }

    /// A request for something beside the endpoint.
    fn route_elsewhere(&self, head: &Head<'_>, reads: bool) -> Route {
        if head.method == Method::Options {
            return Route::NoContent;
        }
        let Some(page) = self.pages.find(head.path) else {
            let text = format!("Nothing here. The Bayeux endpoint is {}", self.mount);
            return Route::Refuse(Refusal::new(Status::NotFound, text));
        };
        if !reads {
            return Route::Refuse(read_only());
        }
        let known = head.values("if-none-match").any(|field| page.tag.is_among(field));
        Route::Page(match head.method {
            _ if known => PageForm::Known,
            Method::Head => PageForm::Head,
            _ => PageForm::Whole,
        })
    }

    /// The mount itself or anything below it.
    fn is_mounted(&self, path: &str) -> bool {
        let mount = self.mount.trim_end_matches('/');
        path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
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

/// The refusal names the setting that would lift it.
fn refused_origin(head: &Head<'_>, others_listed: bool) -> Refusal {
    let sent = head.header("origin").unwrap_or_default();
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
