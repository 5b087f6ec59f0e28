#![no_main]
//! See `src/targets/chunks.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| encke_fuzz::judge("chunks", data));
