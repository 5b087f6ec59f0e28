//! The few files that the server has of its own: a page that shows it at work, and the client module for browsers.
//!
//! Owns the table of their paths; nothing else is ever served from it, and no path reaches a file system. With the cargo
//! feature `demo` off the table is empty.

use std::borrow::Cow;

use crate::http::response::ETag;

/// What the page may do: load from here, connect to here, and nothing else.
const POLICY: &str =
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// Stands in the page for the path of the endpoint.
#[cfg(feature = "demo")]
const MOUNT: &str = "{{mount}}";

/// One file.
#[derive(Debug)]
pub struct Page {
    /// Its path.
    pub path: &'static str,
    /// Its `Content-Type`.
    pub media_type: &'static str,
    /// Its bytes.
    pub body: Cow<'static, [u8]>,
    /// Names this version of it.
    pub tag: ETag,
    /// Whether pages of any site may load it.
    pub shared: bool,
    /// Its `Content-Security-Policy`.
    pub policy: Option<&'static str>,
    /// Whether it is served with `demo` off, too.
    always: bool,
}

#[cfg(feature = "demo")]
impl Page {
    /// One that is part of the demonstration.
    #[inline(never)]
    fn new(path: &'static str, media_type: &'static str, body: Cow<'static, [u8]>) -> Self {
        let tag = ETag::of(&body);
        Self { path, media_type, body, tag, shared: false, policy: None, always: false }
    }
}

/// The table.
#[derive(Debug)]
pub struct Pages {
    table: Vec<Page>,
    demo: bool,
}

impl Pages {
    /// The files as they are for an endpoint at this path. Where the endpoint takes every path, there are none.
    pub fn new(mount: &str, demo: bool) -> Self {
        let table = if mount == "/" { Vec::new() } else { table(mount) };
        Self { table, demo }
    }

    /// Turns the demonstration on or off.
    pub fn show(&mut self, demo: bool) {
        self.demo = demo;
    }

    /// Whether the demonstration is on.
    pub fn shows(&self) -> bool {
        self.demo && !self.table.is_empty()
    }

    /// The file at a path.
    pub fn find(&self, path: &str) -> Option<&Page> {
        self.table.iter().find(|page| page.path == path && (self.demo || page.always))
    }
}

#[cfg(not(feature = "demo"))]
fn table(_mount: &str) -> Vec<Page> {
    let _ = POLICY;
    Vec::new()
}

#[cfg(feature = "demo")]
fn table(mount: &str) -> Vec<Page> {
    const SCRIPT: &str = "text/javascript;charset=UTF-8";
    let file = |path, media_type, text: &'static str| Page::new(path, media_type, Cow::Borrowed(text.as_bytes()));
    let html = |path, text: &str| {
        let body = Cow::Owned(text.replace(MOUNT, mount).into_bytes());
        Page { policy: Some(POLICY), ..Page::new(path, "text/html;charset=UTF-8", body) }
    };
    vec![
        html("/", include_str!("index.html")),
        file("/demo.css", "text/css;charset=UTF-8", include_str!("demo.css")),
        file("/demo.js", SCRIPT, include_str!("demo.js")),
        html("/techniques", include_str!("techniques.html")),
        file("/techniques.css", "text/css;charset=UTF-8", include_str!("techniques.css")),
        file("/techniques.js", SCRIPT, include_str!("techniques.js")),
        Page { shared: true, always: true, ..file("/encke.js", SCRIPT, include_str!("encke.js")) },
    ]
}

#[cfg(all(test, feature = "demo"))]
mod tests {
    use super::*;

    #[test]
    fn the_pages_know_the_mount_and_the_module_is_there_without_it() {
        let mut pages = Pages::new("/bayeux", true);
        for path in ["/", "/techniques"] {
            let html = String::from_utf8(pages.find(path).unwrap().body.to_vec()).unwrap();
            assert!(html.contains("/bayeux") && !html.contains(MOUNT), "{html}");
        }
        for path in ["/demo.css", "/demo.js", "/techniques.css", "/techniques.js", "/encke.js"] {
            assert!(!pages.find(path).unwrap().body.is_empty(), "{path}");
        }
        for path in ["", "/index.html", "/../Cargo.toml", "/encke.js/", "/ENCKE.JS", "/techniques/"] {
            assert!(pages.find(path).is_none(), "{path}");
        }
        pages.show(false);
        assert!(pages.find("/").is_none() && pages.find("/demo.js").is_none());
        assert!(pages.find("/encke.js").is_some());
        assert!(Pages::new("/", true).find("/encke.js").is_none(), "the endpoint has every path");
    }
}
