#![no_main]
//! See `src/targets/bayeux.rs`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| encke_fuzz::judge("bayeux", data));
