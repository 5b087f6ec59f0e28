//! What the fuzzer begins with and what it ever found, played without a fuzzer.
//!
//! Each file of `fuzz/seeds/TARGET` and `fuzz/regressions/TARGET` is an input of that target; its name says what it is.
//! `fuzz/README.md` tells how a finding gets here. The targets count what is allocated, so this is a program of one thread.

use std::alloc::System;
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut failed = Vec::new();
    for (name, target) in targets::ALL {
        let mut played = 0;
        for kind in ["seeds", "regressions"] {
            // A target of which nothing was found has no folder there.
            let Ok(files) = fs::read_dir(root.join(kind).join(name)) else { continue };
            for file in files {
                let path = file.expect("a folder can be read").path();
                let data = fs::read(&path).expect("an input can be read");
                if catch_unwind(|| target(&data)).is_err() {
                    failed.push(path);
                }
                played += 1;
            }
        }
        assert!(played > 0, "no inputs for {name}");
        println!("{name}: {played} inputs played");
    }
    assert!(failed.is_empty(), "see above what is wrong with {failed:#?}");
}
