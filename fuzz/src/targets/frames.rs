//! WebSocket frames, with compression and without: any bytes, in any pieces.
//!
//! - What comes out, and the fault that ends it, do not depend on the pieces.
//! - No message is longer than its limit, decompressed or not, and no text is anything but UTF-8.
//! - What came out, written again as frames, comes out again; and compressed and opened again it is the same.
//!
//! The first byte of the input says which side this is, whether compression was negotiated and which limits hold.

use core::cell::RefCell;

use encke::limits::{CONTROL_FRAME_BYTES, Limits};
use encke::ws::close::Fault;
use encke::ws::deflate::{Deflater, Inflater};
use encke::ws::frame::{Decoder, Incoming, Opcode, Role, Rules};
use encke::ws::write::{self, Frame};

use super::{both_limits, meter, pieces};

/// A list of bytes begins with eight; the reason of a Close is copied once.
const CONSTANT: usize = 64;
/// Bytes behind a compressed message, and what the output begins with if the limit allows.
const OPENING: usize = 8 * 1024;

thread_local! {
    /// One for all inputs, as a server has one for all connections; it is large.
    static DEFLATER: RefCell<Deflater> = RefCell::default();
}

/// What came out before the fault, and the fault.
type Story = (Vec<Incoming>, Option<Fault>);

/// Plays an input.
pub(crate) fn run(data: &[u8]) {
    let Some((&mode, data)) = data.split_first() else { return };
    let limits = &both_limits()[usize::from(mode >> 2 & 1)];
    let role = if mode & 1 == 0 { Role::Server } else { Role::Client };
    let rules = Rules { role, deflate: mode & 2 != 0, limits };
    let whole = read(data, &[], &rules);
    for ends in pieces::cuts(data) {
        assert_eq!(read(data, &ends, &rules), whole, "cut at {ends:?}");
    }
    write_again(&whole.0, limits);
}

fn read(data: &[u8], ends: &[usize], rules: &Rules<'_>) -> Story {
    let mut decoder = Decoder::default();
    let mut inflater = Inflater::default();
    let mut story = Vec::new();
    let mut seen = 0;
    for mut piece in pieces::pieces(data, ends) {
        seen += piece.len();
        while !piece.is_empty() {
            let found = meter::within(seen, CONSTANT, || decoder.next(piece, rules));
            let (used, incoming) = match found {
                Ok(found) => found,
                Err(fault) => return (story, Some(fault)),
            };
            assert!(used > 0, "a step that uses nothing up");
            piece = &piece[used..];
            let Some(incoming) = incoming else { continue };
            match meter::within(seen, opening(&incoming, rules.limits), || inflater.open(incoming, rules.limits)) {
                Ok(incoming) => {
                    check(&incoming, rules.limits);
                    story.push(incoming);
                }
                Err(fault) => return (story, Some(fault)),
            }
        }
    }
    (story, None)
}

/// What opening may allocate beyond its share of the input: the whole of a message that is compressed well.
fn opening(incoming: &Incoming, limits: &Limits) -> usize {
    if matches!(incoming, Incoming::Deflated { .. }) { limits.body_bytes + OPENING } else { 0 }
}

fn check(incoming: &Incoming, limits: &Limits) {
    match incoming {
        Incoming::Text(text) => {
            assert!(text.len() <= limits.body_bytes, "a text of {} bytes", text.len());
            assert!(core::str::from_utf8(text).is_ok(), "a text that is not UTF-8");
        }
        Incoming::Binary(bytes) => assert!(bytes.len() <= limits.body_bytes, "a message of {} bytes", bytes.len()),
        Incoming::Deflated { .. } => panic!("still compressed"),
        Incoming::Ping(payload) | Incoming::Pong(payload) => assert!(payload.len() <= CONTROL_FRAME_BYTES),
        Incoming::Close { code, reason } => {
            assert!(reason.len() + 2 <= CONTROL_FRAME_BYTES && (code.is_some() || reason.is_empty()))
        }
    }
}

/// Writes what came out as a client would, compressed where that makes it shorter, and reads it.
fn write_again(story: &[Incoming], limits: &Limits) {
    let mask = Some([0x37, 0xfa, 0x21, 0x3d]);
    let mut out = Vec::new();
    for incoming in story {
        match incoming {
            Incoming::Text(bytes) | Incoming::Binary(bytes) => {
                let opcode = if matches!(incoming, Incoming::Text(_)) { Opcode::Text } else { Opcode::Binary };
                let mut compressed = Vec::new();
                DEFLATER.with_borrow_mut(|deflater| deflater.compress(bytes, &mut compressed));
                // No ratio: what can be compressed so well is refused, as it should be.
                let deflated = compressed.len() < bytes.len() && bytes.len() <= compressed.len() * limits.inflate_ratio;
                let payload = if deflated { &compressed } else { bytes };
                Frame { mask, deflated, ..Frame::whole(opcode) }.write(&mut out, payload);
            }
            Incoming::Ping(payload) => write::write_ping(&mut out, payload, mask),
            Incoming::Pong(payload) => write::write_pong(&mut out, payload, mask),
            Incoming::Close { code, reason } => write::write_close(&mut out, *code, reason, mask),
            Incoming::Deflated { .. } => {}
        }
    }
    let rules = Rules { role: Role::Server, deflate: true, limits };
    assert_eq!(read(&out, &[], &rules), (story.to_vec(), None), "written again");
}
