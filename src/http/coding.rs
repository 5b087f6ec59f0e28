//! Content codings of what is sent (RFC 9110 section 8.4.1).
//!
//! Owns which coding a peer would rather have. It must not compress: what is sent compressed has been compressed before.

use super::head::Head;

/// How the bytes of a body stand for what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coding {
    /// They are what it is.
    #[default]
    Identity,
    /// Compressed (RFC 1952).
    Gzip,
}

/// A weight of 1, in thousandths: `q=` has three digits at most (RFC 9110 section 12.4.2).
const WHOLE: u16 = 1_000;

impl Coding {
    /// The one of both that a request asks for (RFC 9110 section 12.5.3): gzip only where it is named, or `*` is, and
    /// nothing says that plain bytes are liked better. Who takes neither gets plain bytes.
    pub fn wanted(head: &Head<'_>) -> Self {
        let (mut gzip, mut identity, mut any) = (None, None, None);
        for element in head.elements("accept-encoding") {
            let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let name = parts.next().unwrap_or_default();
            let weight = parts.next().map_or(WHOLE, weight);
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if is("gzip") || is("x-gzip") {
                gzip = gzip.max(Some(weight));
            } else if is("identity") {
                identity = Some(weight);
            } else if is("*") {
                any = Some(weight);
            }
        }
        match gzip.or(any) {
            Some(gzip) if gzip > 0 && gzip >= identity.or(any).unwrap_or(0) => Self::Gzip,
            _ => Self::Identity,
        }
    }
}

/// The value of a `q=`, in thousandths; 0 for what is none.
fn weight(parameter: &[u8]) -> u16 {
    let Some((b'q' | b'Q', [b'=', value @ ..])) = parameter.split_first() else { return 0 };
    match value {
        [b'1'] => WHOLE,
        [b'1', b'.', zeros @ ..] if zeros.len() <= 3 && zeros.iter().all(|digit| *digit == b'0') => WHOLE,
        [b'0'] => 0,
        [b'0', b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => {
            let places = digits.iter().copied().chain(core::iter::repeat(b'0')).take(3);
            places
                .fold(0, |sum: u16, digit| sum.saturating_mul(10).saturating_add(u16::from(digit.saturating_sub(b'0'))))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn wanted(fields: &str) -> Coding {
        let raw = format!("GET / HTTP/1.0\r\n{fields}\r\n");
        Coding::wanted(&Head::parse(raw.as_bytes(), &Limits::default()).unwrap())
    }

    #[test]
    fn who_names_gzip_gets_it() {
        for value in [
            "gzip",
            "GZip",
            "x-gzip",
            "gzip, deflate, br, zstd",
            "br;q=1.0, gzip;q=0.8, *;q=0.1",
            "deflate,gzip ; q=0.001",
            "gzip;Q=1.000",
            "*",
            "*;q=0.5",
            "identity;q=0, *",
            "gzip, identity",
            "gzip;q=0.5, identity;q=0.5",
            "gzip;q=0.5, *;q=0",
            "identity;q=0.09, gzip;q=0.1",
        ] {
            assert_eq!(wanted(&format!("Accept-Encoding: {value}\r\n")), Coding::Gzip, "{value}");
        }
        assert_eq!(wanted("Accept-Encoding: br\r\nX: y\r\naccept-encoding: gzip\r\n"), Coding::Gzip);
    }

    #[test]
    fn who_does_not_gets_it_plain() {
        for value in [
            "",
            "identity",
            "br",
            "gzipped",
            "gzip;q=0",
            "gzip;q=0.000",
            "gzip;q=0, *",
            "*;q=0",
            "gzip;q=0.5, identity",
            "gzip;q=0.49, identity;q=0.5",
            "*;q=0.5, identity;q=0.501",
            "identity;q=0",
            "br, identity;q=0",
            // Not weights.
            "gzip;q=",
            "gzip;q=2",
            "gzip;q=1.001",
            "gzip;q=0.1234",
            "gzip;q=.5",
            "gzip;q=-1",
            "gzip;q =1",
            "gzip;level=9",
            "gzip;",
        ] {
            assert_eq!(wanted(&format!("Accept-Encoding: {value}\r\n")), Coding::Identity, "{value}");
        }
        assert_eq!(wanted(""), Coding::Identity);
    }
}
