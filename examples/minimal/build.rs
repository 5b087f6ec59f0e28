//! Has the linker leave out what a binary that aborts on a panic does without:
//!
//! - the tables by which a stack is unwound, an eighth of the binary: nothing is unwound here. A panic still says what it is
//!   and where; of the calls that led to it there is no list;
//! - the long form of the table of what the loader is to relocate, a fortieth. It then needs glibc 2.36 or later, of 2022,
//!   where it runs.

use std::env::var;
use std::path::PathBuf;
use std::{fs, io};

/// For GNU's linker and for LLVM's.
const WITHOUT_TABLES: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame.*) } } INSERT AFTER .text;\n";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| var(name).is_ok_and(|is| is == value);
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") {
        return Ok(());
    }
    let link = |argument: &str| println!("cargo::rustc-link-arg-bins=-Wl,{argument}");
    link("-z,pack-relative-relocs");
    let out = PathBuf::from(var("OUT_DIR").expect("cargo sets it"));
    // The profile that aborts. Cargo says its name nowhere else: <target>/<profile>/build/<package>/out.
    if out.iter().rev().nth(3).is_some_and(|profile| profile == "minimal") {
        let script = out.join("without-tables.ld");
        fs::write(&script, WITHOUT_TABLES)?;
        link("--no-eh-frame-hdr");
        link(&format!("-T,{}", script.display()));
    }
    Ok(())
}
