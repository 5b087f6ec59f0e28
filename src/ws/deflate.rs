//! Compressed messages (RFC 7692 section 7.2), each for itself: no context is taken over.
//!
//! Owns one compressor and one decompressor that all connections share, and the bounds of what a message may grow to. It
//! must not know frames.

use miniz_oxide::DataFormat;
use miniz_oxide::deflate::core::{CompressorOxide, TDEFLFlush, compress_to_output};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF as NON_WRAPPING;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use super::close::Fault;
use super::frame::Incoming;
use crate::limits::{INFLATE_FREE_BYTES, Limits};

/// Of 1 to 10, the fastest: 20 kB of JSON take a third of the time of level 3 and a tenth of that of 6, and become a fifth
/// larger than with 6.
const LEVEL: u8 = 1;
/// The end of a flushed block, left out of every message.
const FLUSHED: [u8; 4] = [0, 0, 0xff, 0xff];
/// What a decompressor is shown behind a message: the end that was left out, and an empty last block, so that it says
/// whether the message ended where a block does.
const TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];
/// Bytes by which the output grows at first.
const STEP: usize = 4 * 1024;

/// The compressor. It holds about 300 KiB, so there is one for all connections.
pub struct Deflater {
    state: Box<CompressorOxide>,
}

impl Default for Deflater {
    fn default() -> Self {
        let mut state = Box::<CompressorOxide>::default();
        state.set_format_and_level(DataFormat::Raw, LEVEL);
        Self { state }
    }
}

impl Deflater {
    /// Appends the message compressed (RFC 7692 section 7.2.1). If it became no shorter, the message is better sent as it
    /// is: a message need not be compressed even where that was negotiated.
    pub fn compress(&mut self, message: &[u8], out: &mut Vec<u8>) {
        self.state.reset();
        let before = out.len();
        compress_to_output(&mut self.state, message, TDEFLFlush::Sync, |bytes| {
            out.extend_from_slice(bytes);
            true
        });
        debug_assert!(out.ends_with(&FLUSHED), "a flush ends like this");
        out.truncate(out.len().saturating_sub(FLUSHED.len()).max(before));
    }
}

/// The decompressor. It holds about 11 KiB and nothing of a message, so there is one for all connections.
#[derive(Default)]
pub struct Inflater {
    state: Box<DecompressorOxide>,
}

impl Inflater {
    /// Opens what came in if it is compressed, and passes on all else.
    ///
    /// # Errors
    /// 1009 for a message that exceeds `limits.body_bytes`, or `limits.inflate_ratio` times its compressed size and
    /// [`INFLATE_FREE_BYTES`]: found out before more than that is made of it. 1007 for bytes that are not DEFLATE, and
    /// for text that is not UTF-8.
    pub fn open(&mut self, incoming: Incoming, limits: &Limits) -> Result<Incoming, Fault> {
        let Incoming::Deflated { text, payload } = incoming else { return Ok(incoming) };
        let message = self.decompress(payload, limits)?;
        match text {
            false => Ok(Incoming::Binary(message)),
            true if core::str::from_utf8(&message).is_ok() => Ok(Incoming::Text(message)),
            true => Err(Fault::invalid_data("text that is not UTF-8")),
        }
    }

    /// Decompresses the payload of a message (RFC 7692 section 7.2.2).
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub fn decompress(&mut self, payload: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, Fault> {
        if payload.is_empty() {
            // An empty message should be one byte of zero; not all peers know.
            return Ok(payload);
        }
        let most_by_ratio = payload.len().saturating_mul(limits.inflate_ratio).max(INFLATE_FREE_BYTES);
        let most = limits.body_bytes.min(most_by_ratio);
        let end = payload.len();
        let mut input = payload;
        input.extend_from_slice(&TAIL);
        let mut message = vec![0; end.saturating_mul(4).max(STEP).min(most)];
        let (mut read, mut written) = (0_usize, 0_usize);
        self.state.init();
        loop {
            let rest = input.get(read..).unwrap_or_default();
            let (status, took, gave) = decompress(&mut self.state, rest, &mut message, written, NON_WRAPPING);
            read = read.saturating_add(took);
            written = written.saturating_add(gave);
            match status {
                // Behind the tail; or behind a last block of the peer's own (RFC 7692 section 7.2.3.5) that is also the
                // end of the message.
                TINFLStatus::Done if read >= end => break,
                // Another block follows the peer's last one, at a byte's bound.
                TINFLStatus::Done => self.state.init(),
                TINFLStatus::HasMoreOutput if message.len() < most => {
                    message.resize(message.len().saturating_mul(2).max(STEP).min(most), 0);
                }
                TINFLStatus::HasMoreOutput if most < limits.body_bytes => {
                    // Whichever of both it exceeds is not found out.
                    return Err(Fault::too_big(
                        "decompressed, it is larger than --max-message-size or its compressed size allow",
                    ));
                }
                TINFLStatus::HasMoreOutput => {
                    return Err(Fault::too_big("the message is larger than --max-message-size allows"));
                }
                _ => return Err(Fault::invalid_data("a message that is not compressed as it says")),
            }
        }
        message.truncate(written);
        Ok(message)
    }
}
