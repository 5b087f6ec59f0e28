//! Tests of the whole room: raw bytes in, a verdict out, however the bytes are cut.

mod conformance;
#[cfg(feature = "deflate")]
mod deflate;
mod frames;
mod strict;

use super::frame::{Decoder, Incoming, Opcode, Role, Rules};
use super::write::Frame;
use crate::http::splits::same_however_split;
use crate::limits::Limits;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame of a client: the first byte as given, whatever it says; the rest as it should be.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    Frame { mask: Some(MASK), ..Frame::whole(Opcode::Text) }.write(&mut raw, payload);
    raw[0] = first;
    raw
}

/// What came in, short: the kind, and the payload or its length.
fn shown(incoming: &Incoming) -> String {
    let payload = |bytes: &[u8]| match bytes.len() {
        0..=40 => format!("{:?}", String::from_utf8_lossy(bytes)),
        length => length.to_string(),
    };
    match incoming {
        Incoming::Text(bytes) => format!("text {}", payload(bytes)),
        Incoming::Binary(bytes) => format!("binary {}", payload(bytes)),
        Incoming::Deflated { text, payload } => format!("deflated {text} {}", payload.len()),
        Incoming::Ping(bytes) => format!("ping {}", payload(bytes)),
        Incoming::Pong(bytes) => format!("pong {}", payload(bytes)),
        Incoming::Close { code: None, reason } => format!("close {reason:?}"),
        Incoming::Close { code: Some(code), reason } => format!("close {} {}", code.get(), payload(reason.as_bytes())),
    }
}

/// Shows the pieces to a decoder and tells all that came in, then the fault if there was one, then `…` if something has
/// begun. With `dropped`, the decoder is replaced by a new one wherever it says that it may be.
fn decoded(pieces: &[&[u8]], rules: &Rules<'_>, dropped: bool) -> String {
    let mut decoder = Decoder::default();
    let mut told = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match decoder.next(rest, rules) {
                Ok((used, incoming)) => {
                    assert!(used > 0, "no progress");
                    assert!(incoming.is_some() || used == rest.len(), "nothing whole, but not all used up");
                    told.extend(incoming.as_ref().map(shown));
                    rest = &rest[used..];
                }
                Err(fault) => {
                    assert!(fault.reason.len() <= 123, "{} does not fit into a Close", fault.reason);
                    assert!(!decoder.is_idle(), "idle after a fault");
                    assert_eq!(decoder.next(rest, rules), Ok((rest.len(), None)), "not deaf after a fault");
                    told.push(format!("!{} {}", fault.code.get(), fault.reason));
                    return told.join(", ");
                }
            }
            if decoder.is_idle() && dropped {
                decoder = Decoder::default();
            }
        }
    }
    if !decoder.is_idle() && !told.last().is_some_and(|last| last.starts_with("close")) {
        told.push("…".to_owned());
    }
    told.join(", ")
}

fn verdict(raw: &[u8], rules: &Rules<'_>) -> String {
    same_however_split(raw, |pieces| {
        let kept = decoded(pieces, rules, false);
        assert_eq!(decoded(pieces, rules, true), kept, "another verdict if idle decoders are dropped");
        kept
    })
}

/// The verdict of a server without compression.
fn served(raw: &[u8]) -> String {
    verdict(raw, &Rules { role: Role::Server, deflate: false, limits: &Limits::default() })
}
