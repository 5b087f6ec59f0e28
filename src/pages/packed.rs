//! The files as `build.rs` has packed them.
//!
//! Owns what each is and who may have it.

use miniz_oxide::inflate::decompress_to_vec;

use super::{File, TRAILER};

/// Bytes before the data of a member without optional fields (RFC 1952 section 2.3).
const HEADER: usize = 10;
const HTML: &str = "text/html;charset=UTF-8";
const CSS: &str = "text/css;charset=UTF-8";
const SCRIPT: &str = "text/javascript;charset=UTF-8";
/// What a page may do: load from here, connect to here, and nothing else.
const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

macro_rules! packed {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz"))
    };
}

pub(super) static FILES: &[File] = &[
    html("/", packed!("index.html")),
    part("/demo.css", CSS, packed!("demo.css")),
    part("/demo.js", SCRIPT, packed!("demo.js")),
    html("/techniques", packed!("techniques.html")),
    part("/techniques.css", CSS, packed!("techniques.css")),
    part("/techniques.js", SCRIPT, packed!("techniques.js")),
    File { shared: true, always: true, ..part("/encke.js", SCRIPT, packed!("encke.js")) },
];

/// A part of the demonstration.
const fn part(path: &'static str, media_type: &'static str, packed: &'static [u8]) -> File {
    File { path, media_type, shared: false, policy: None, always: false, mounted: false, packed }
}

/// A page of it.
const fn html(path: &'static str, packed: &'static [u8]) -> File {
    File { policy: Some(POLICY), mounted: true, ..part(path, HTML, packed) }
}

/// What has been packed.
pub(super) fn unpacked(packed: &[u8]) -> Vec<u8> {
    let data = packed.get(HEADER..packed.len().saturating_sub(TRAILER)).unwrap_or_default();
    // Nothing but what `build.rs` has made comes here.
    decompress_to_vec(data).unwrap_or_default()
}
