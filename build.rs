//! Compresses the server's own files, so that the binary holds them in the form in which browsers take them.
//!
//! Each of `src/pages/` becomes a file of one gzip member (RFC 1952) in the folder of what is built. Nothing in it depends
//! on the machine or the time, so the same sources make the same binary.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "demo")]
    pages::pack().unwrap_or_else(|error| panic!("src/pages cannot be packed: {error}"));
}

#[cfg(feature = "demo")]
mod pages {
    use std::path::Path;
    use std::{env, fs, io};

    use miniz_oxide::deflate::compress_to_vec;

    /// The best that there is: it takes its time once.
    const LEVEL: u8 = 10;
    /// The fixed part before the data: DEFLATE, no flags, no time, from no system in particular.
    const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];

    pub(super) fn pack() -> io::Result<()> {
        println!("cargo::rerun-if-changed=src/pages");
        let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo has not said where to"))?;
        for entry in fs::read_dir("src/pages")? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension == "rs") {
                continue;
            }
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            fs::write(Path::new(&out).join(format!("{name}.gz")), gzip(&fs::read(&path)?)?)?;
        }
        Ok(())
    }

    fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let packed = compress_to_vec(bytes, LEVEL);
        Ok([&HEADER[..], &packed, &crc32(bytes).to_le_bytes(), &length.to_le_bytes()].concat())
    }

    /// The check of RFC 1952 section 8, bit by bit.
    fn crc32(bytes: &[u8]) -> u32 {
        let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)))
    }
}
