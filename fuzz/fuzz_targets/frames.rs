#![no_main]
//! See `src/targets/frames.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| encke_fuzz::judge("frames", data));
