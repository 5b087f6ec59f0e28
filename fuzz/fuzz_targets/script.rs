#![no_main]
//! See `src/targets/script.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| encke_fuzz::judge("script", data));
