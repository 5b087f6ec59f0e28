#![no_main]
//! See `src/targets/connection.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| encke_fuzz::judge("connection", data));
