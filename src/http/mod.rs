//! HTTP/1.1 as a server reads and answers it (RFC 9110, RFC 9112, RFC 6265).
//!
//! Owns the request head, the framing of the request body, the response head, and the small grammars that stand in
//! header fields: cookies, origins, forwarded addresses, forms, dates, content codings. All of it is pure: bytes and
//! limits in, values and bytes out. It must not touch sockets, clocks, sessions or Bayeux messages, and it keeps nothing
//! between two requests except what [`head::HeadScan`] and [`body::ChunkedDecoder`] hold for a request that has not
//! arrived completely.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod authority;
pub mod body;
pub mod coding;
pub mod cookie;
pub mod date;
pub mod form;
pub mod forwarded;
pub mod head;
pub mod host;
pub mod origin;
pub mod response;
pub mod scan;
#[cfg(test)]
pub(crate) mod splits;

use response::Status;

/// The peer's fault, and what to answer. After one, nothing more of the connection is parsed: answer, then close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpError {
    /// The status of the answer.
    pub status: Status,
    /// One line for the body of the answer. Static, so that nothing of the request can appear in it.
    pub reason: &'static str,
}

impl HttpError {
    /// An error with this status and this line of text.
    pub const fn new(status: Status, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// A 400 with this line of text.
    pub const fn bad_request(reason: &'static str) -> Self {
        Self::new(Status::BadRequest, reason)
    }
}

/// Whether the byte may stand in a token: a method, a field name, a parameter (RFC 9110 section 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    is_in(TOKEN_BYTES, byte)
}

/// Whether the byte is one of a set that [`set`] made.
fn is_in(set: u128, byte: u8) -> bool {
    byte < 128 && set.wrapping_shr(u32::from(byte)) & 1 == 1
}

/// A bit for each ASCII character that may stand in a token.
const TOKEN_BYTES: u128 = set(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// A bit for each of these ASCII characters.
const fn set(mut characters: &[u8]) -> u128 {
    let mut set = 0;
    while let [first, rest @ ..] = characters {
        set |= 1_u128.wrapping_shl(*first as u32);
        characters = rest;
    }
    set
}

/// Whether the byte may stand in a field value: anything but controls, of which only HTAB is allowed (RFC 9110 section 5.5).
fn is_value_byte(byte: u8) -> bool {
    (byte == b'\t') | ((byte >= b' ') & (byte != 0x7f))
}
