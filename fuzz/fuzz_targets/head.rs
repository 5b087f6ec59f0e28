#![no_main]
//! See `src/targets/head.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| encke_fuzz::judge("head", data));
