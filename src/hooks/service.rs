//! What the embedder's program does for clients: services, and pages of its own.
//!
//! Owns [`Service`] and [`Fallback`], with what they are given and give back.

use core::net::IpAddr;

use crate::http::head::{Head, Method};

use super::command::{CommandsFull, Context, RemoteCall};
use super::session::Session;

/// A message to a service channel.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub(crate) call: &'a RemoteCall,
    pub(crate) data: &'a str,
    pub(crate) ext: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// The channel: `/service/…`.
    #[must_use]
    pub fn channel(&self) -> &'a str {
        &self.call.channel
    }

    /// The data: JSON.
    #[must_use]
    pub fn data(&self) -> &'a str {
        self.data
    }

    /// The `ext` of the message: JSON.
    #[must_use]
    pub fn ext(&self) -> Option<&'a str> {
        self.ext
    }

    /// To be kept, or given to another thread, if the answer to a remote call comes later.
    #[must_use]
    pub fn call(&self) -> &'a RemoteCall {
        self.call
    }

    /// Sends data to the sender, on the channel of the service (CometD's `ServerSession.deliver`).
    ///
    /// # Errors
    /// Too many commands of hooks wait.
    pub fn reply(&self, context: &mut Context<'_>, data: &str) -> Result<(), CommandsFull> {
        context.deliver(self.call.session, &self.call.channel, data)
    }

    /// Answers a remote call: with what came of it, or what went wrong. JSON, both.
    ///
    /// # Errors
    /// Too many commands of hooks wait.
    pub fn answer(&self, context: &mut Context<'_>, result: Result<&str, &str>) -> Result<(), CommandsFull> {
        context.answer(self.call.clone(), result)
    }
}

/// Handles what clients publish to the channels of a pattern such as `/service/echo` or `/service/**`: a service, or the
/// target of remote calls. Of several whose pattern matches, all are asked, in the order in which they were added.
/// There is an [example](crate::hooks#services-and-remote-calls).
pub trait Service: Send {
    /// A message has come.
    fn call(&mut self, request: Request<'_>, session: &mut Session<'_>, context: &mut Context<'_>);
}

impl<F> Service for F
where
    F: FnMut(Request<'_>, &mut Session<'_>, &mut Context<'_>) + Send,
{
    fn call(&mut self, request: Request<'_>, session: &mut Session<'_>, context: &mut Context<'_>) {
        self(request, session, context);
    }
}

/// A request that is for no part of the server.
#[derive(Clone, Copy, Debug)]
pub struct WebRequest<'a> {
    pub(crate) head: &'a Head<'a>,
    pub(crate) body: &'a [u8],
    pub(crate) address: Option<IpAddr>,
}

impl<'a> WebRequest<'a> {
    /// `GET`, `HEAD`, `POST`, `OPTIONS`, or another one.
    #[must_use]
    pub fn method(&self) -> Method {
        self.head.method
    }

    /// The path, as it was sent.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.head.path
    }

    /// What follows the first question mark, as it was sent.
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        self.head.query
    }

    /// A header field, by its name in any case; of several the first.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.head.header(name)
    }

    /// The body; at most [`Limits::body_bytes`](crate::limits::Limits::body_bytes).
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Where it came from; behind a trusted proxy, the client's address. `None` for a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }
}

/// What it is answered. Goes with `X-Content-Type-Options: nosniff`, and with `Cache-Control: no-store` unless it has a
/// `Cache-Control` of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebResponse {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// What cannot be a header field of a [`WebResponse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidField(String);

impl core::fmt::Display for InvalidField {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for InvalidField {}

/// Fields that the server writes itself.
const OWN_FIELDS: [&str; 9] = [
    "connection",
    "content-length",
    "content-type",
    "date",
    "keep-alive",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-content-type-options",
];

impl WebResponse {
    /// 200 with a body of this type, such as `text/html;charset=UTF-8`. What cannot stand in a header field is taken out of
    /// the type.
    #[must_use]
    pub fn new(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let visible = |letter: &char| letter.is_ascii_graphic() || *letter == ' ';
        let content_type = content_type.chars().filter(visible).collect();
        Self { status: 200, content_type, fields: Vec::new(), body: body.into() }
    }

    /// The same with another status from 200 to 599; any other one is 500.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self { status: if (200..600).contains(&status) { status } else { 500 }, ..self }
    }

    /// The same with one more header field, such as `Location` or `Content-Security-Policy`.
    ///
    /// # Errors
    /// No name of a field (RFC 9110 section 5.6.2), one that the server writes itself, or a value of other than visible ASCII
    /// letters and spaces.
    pub fn with_field(mut self, name: &str, value: &str) -> Result<Self, InvalidField> {
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(in_name) {
            return Err(InvalidField(format!("{name:?} is no name of a header field")));
        }
        if OWN_FIELDS.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            return Err(InvalidField(format!("the server writes {name} itself")));
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(InvalidField(format!("{value:?} cannot be the value of a header field")));
        }
        self.fields.push((name.to_owned(), value.to_owned()));
        Ok(self)
    }

    /// Whether it says itself what caches may do.
    pub(crate) fn is_cached_its_way(&self) -> bool {
        self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("cache-control"))
    }
}

/// Answers what is neither for the Bayeux endpoint nor for another part of the server: the embedder's own pages, on the same
/// port. It is asked on the server's thread, so it must not wait for anything. `None` is answered 404.
///
/// What other sites' pages ask for gets here with `GET` and `HEAD` only, unless their origin is allowed: so those must not
/// change anything.
pub trait Fallback: Send {
    /// What is it answered?
    fn serve(&mut self, request: &WebRequest<'_>, context: &mut Context<'_>) -> Option<WebResponse>;
}

impl<F> Fallback for F
where
    F: FnMut(&WebRequest<'_>, &mut Context<'_>) -> Option<WebResponse> + Send,
{
    fn serve(&mut self, request: &WebRequest<'_>, context: &mut Context<'_>) -> Option<WebResponse> {
        self(request, context)
    }
}
