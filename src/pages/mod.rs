//! The few files that the server has of its own: a page that shows it at work, and the client module for browsers.
//!
//! Owns the table of their paths; nothing else is ever served from it, and no path reaches a file system. They are in the
//! binary as `build.rs` has packed them, and most clients take them like that; for the others they are unpacked when they
//! are first asked for. Everyone who reads one reads the same bytes. With the cargo feature `demo` off the table is empty.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::cell::OnceCell;
use std::rc::Rc;

use crate::chunk::{Bytes, Common};
use crate::http::coding::Coding;
use crate::http::response::ETag;

#[cfg(feature = "demo")]
mod packed;

#[cfg(feature = "demo")]
use packed::{FILES, unpacked};

/// None are built in.
#[cfg(not(feature = "demo"))]
const FILES: &[File] = &[];
#[cfg(not(feature = "demo"))]
fn unpacked(_: &[u8]) -> Vec<u8> {
    Vec::new()
}

/// Stands in a page for the path of the endpoint.
const MOUNT: &str = "{{mount}}";
/// Bytes at the end of a packed file that tell one from another: CRC-32 and length of what is in it (RFC 1952 section 2.3.1).
const TRAILER: usize = 8;

/// One file.
#[derive(Debug)]
pub struct File {
    /// Its path.
    path: &'static str,
    /// Its `Content-Type`.
    pub media_type: &'static str,
    /// Whether pages of any site may load it.
    pub shared: bool,
    /// Its `Content-Security-Policy`.
    pub policy: Option<&'static str>,
    /// Whether it is served with `demo` off, too.
    always: bool,
    /// Whether the path of the endpoint is to be filled in.
    mounted: bool,
    /// Its bytes, as one member of gzip.
    packed: &'static [u8],
}

/// One file, as it is for an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The file.
    pub file: &'static File,
    mount: &'a str,
    plain: &'a OnceCell<Bytes>,
}

impl Page<'_> {
    /// Names this version of it.
    pub fn tag(&self) -> ETag {
        let (_, trailer) = self.file.packed.split_at(self.file.packed.len().saturating_sub(TRAILER));
        let mount = if self.file.mounted { self.mount } else { "" };
        ETag::of(trailer.iter().chain(mount.as_bytes()))
    }

    /// What to send, and how it is coded: as wanted, unless it has to be filled in.
    pub fn bytes(&self, wanted: Coding) -> (Common, Coding) {
        match wanted {
            Coding::Gzip if !self.file.mounted => (Common::Built(self.file.packed), Coding::Gzip),
            _ => (Common::Counted(Rc::clone(self.plain.get_or_init(|| self.unpack()))), Coding::Identity),
        }
    }

    fn unpack(&self) -> Bytes {
        let bytes = unpacked(self.file.packed);
        if !self.file.mounted {
            return Rc::from(bytes);
        }
        Rc::from(String::from_utf8_lossy(&bytes).replace(MOUNT, self.mount).into_bytes())
    }
}

/// The table.
#[derive(Debug)]
pub struct Pages {
    mount: String,
    demo: bool,
    /// What has been unpacked, in the order of the table.
    plain: Vec<OnceCell<Bytes>>,
}

impl Pages {
    /// The files as they are for an endpoint at this path. Where the endpoint takes every path, there are none.
    pub fn new(mount: &str, demo: bool) -> Self {
        Self { mount: mount.to_owned(), demo, plain: vec![OnceCell::new(); FILES.len()] }
    }

    /// Turns the demonstration on or off.
    pub fn show(&mut self, demo: bool) {
        self.demo = demo;
    }

    /// Whether the demonstration is on.
    pub fn shows(&self) -> bool {
        self.demo && !self.files().is_empty()
    }

    /// The file at a path.
    pub fn find(&self, path: &str) -> Option<Page<'_>> {
        let mut files = self.files().iter().zip(&self.plain);
        let (file, plain) = files.find(|(file, _)| file.path == path && (self.demo || file.always))?;
        Some(Page { file, mount: &self.mount, plain })
    }

    fn files(&self) -> &'static [File] {
        if self.mount == "/" { &[] } else { FILES }
    }
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    use super::*;

    fn plain(pages: &Pages, path: &str) -> String {
        let (bytes, coding) = pages.find(path).unwrap().bytes(Coding::Identity);
        assert_eq!(coding, Coding::Identity);
        String::from_utf8(bytes.bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_pages_know_the_mount_and_the_module_is_there_without_it() {
        let mut pages = Pages::new("/bayeux", true);
        for path in ["/", "/techniques"] {
            let html = plain(&pages, path);
            assert!(html.contains("/bayeux") && html.ends_with("</html>\n") && !html.contains(MOUNT), "{html}");
        }
        for path in ["", "/index.html", "/../Cargo.toml", "/encke.js/", "/ENCKE.JS", "/techniques/"] {
            assert!(pages.find(path).is_none(), "{path}");
        }
        pages.show(false);
        assert!(pages.find("/").is_none() && pages.find("/demo.js").is_none());
        assert!(pages.find("/encke.js").is_some());
        assert!(Pages::new("/", true).find("/encke.js").is_none(), "the endpoint has every path");
    }

    #[test]
    fn what_is_unpacked_is_what_was_packed() {
        let pages = Pages::new("/cometd", true);
        for (path, text) in [
            ("/", include_str!("index.html")),
            ("/demo.css", include_str!("demo.css")),
            ("/demo.js", include_str!("demo.js")),
            ("/techniques", include_str!("techniques.html")),
            ("/techniques.css", include_str!("techniques.css")),
            ("/techniques.js", include_str!("techniques.js")),
            ("/encke.js", include_str!("encke.js")),
        ] {
            assert_eq!(plain(&pages, path), text.replace(MOUNT, "/cometd"), "{path}");
            let (bytes, coding) = pages.find(path).unwrap().bytes(Coding::Gzip);
            let mounted = text.contains(MOUNT);
            assert_eq!(coding, if mounted { Coding::Identity } else { Coding::Gzip }, "{path}");
            assert!(
                mounted || bytes.bytes().len() < text.len() / 2,
                "{path}: {} of {}",
                bytes.bytes().len(),
                text.len()
            );
        }
    }

    #[test]
    fn a_tag_tells_files_and_mounts_apart() {
        let tags = |mount: &str, paths: &[&str]| -> Vec<ETag> {
            let pages = Pages::new(mount, true);
            paths.iter().map(|path| pages.find(path).unwrap().tag()).collect()
        };
        let (html, parts) = (["/", "/techniques"], ["/demo.css", "/demo.js", "/techniques.js", "/encke.js"]);
        let all = [tags("/a", &html), tags("/b", &html), tags("/a", &parts)].concat();
        assert!(all.iter().enumerate().all(|(at, tag)| !all[..at].contains(tag)), "{all:?}");
        assert_eq!(tags("/a", &parts), tags("/b", &parts));
    }
}
