//! Reading cookies (RFC 6265 section 5.4 as a server sees it).
//!
//! Owns finding one cookie among those a browser sends. What a value must look like is the caller's matter; cookies are
//! set by `response`.

use super::head::Head;

/// The value of the first cookie of this name over all `Cookie` fields of a request, as sent, but without quotation marks
/// around it; it may be any bytes. None if there is no such cookie. Names are compared with case.
pub fn find<'b>(head: &Head<'b>, name: &str) -> Option<&'b [u8]> {
    head.values("cookie").find_map(|field| find_in(field, name))
}

/// The value of the first cookie of this name in one `Cookie` field.
fn find_in<'b>(field: &'b [u8], name: &str) -> Option<&'b [u8]> {
    let pairs = field.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let mut values = pairs.filter_map(|pair| {
        let rest = pair.strip_prefix(name.as_bytes())?;
        rest.trim_ascii_start().strip_prefix(b"=")
    });
    values.next().map(|value| unquoted(value.trim_ascii_start()))
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn find_b(fields: &[&[u8]]) -> Option<String> {
        let mut raw = b"GET / HTTP/1.0\r\n".to_vec();
        for field in fields {
            raw.extend_from_slice(b"Cookie: ");
            raw.extend_from_slice(field);
            raw.extend_from_slice(b"\r\n");
        }
        raw.extend_from_slice(b"\r\n");
        let head = Head::parse(&raw, &Limits::default()).unwrap();
        find(&head, "B").map(|value| String::from_utf8_lossy(value).into_owned())
    }

    #[test]
    fn one_field() {
        for (field, value) in [
            ("B=1", Some("1")),
            ("a=0; B=1; c=2", Some("1")),
            ("a=0;B=1;c=2", Some("1")),
            (" ;; B = 1 ;", Some("1")),
            ("B=1; B=2", Some("1")),
            ("B=", Some("")),
            ("B=x=y", Some("x=y")),
            ("B=\"q\"", Some("q")),
            ("B=\"\"", Some("")),
            ("B=\"", Some("\"")),
            ("B=\"q", Some("\"q")),
            ("B=\u{e4}", Some("\u{e4}")),
            ("B=1,B=2", Some("1,B=2")),
            ("B; B=2", Some("2")),
            ("b=1", None),
            ("AB=1", None),
            ("BA=1", None),
            ("a=B=1", None),
            ("B", None),
            ("", None),
            ("=1", None),
        ] {
            assert_eq!(find_b(&[field.as_bytes()]).as_deref(), value, "{field:?}");
        }
    }

    #[test]
    fn several_fields() {
        assert_eq!(find_b(&[b"a=1", b"B=2", b"B=3"]).as_deref(), Some("2"));
        assert_eq!(find_b(&[]), None);
    }

    #[test]
    fn the_first_one_counts_even_if_it_cannot_be_read() {
        assert_eq!(find_b(&[b"B=\xff; B=1", b"B=2"]).as_deref(), Some("\u{fffd}"));
    }
}
