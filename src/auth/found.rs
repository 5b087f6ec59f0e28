//! The token that comes with a request.
//!
//! Owns where it is looked for: in the `ext` of the message, and in the request's `Authorization` header field. It is not
//! looked for in query strings, which end up in logs and in histories.

use serde_json::value::RawValue;

use crate::bayeux::raw;
use crate::hooks::Query;

/// Bytes of a token; far more than tokens have that fit into a request's head.
pub const TOKEN_BYTES: usize = 16 * 1024;

/// The token of a request, or none.
///
/// # Errors
/// Why what there is cannot be one.
pub(super) fn token(query: &Query<'_>, path: &[String]) -> Result<Option<String>, &'static str> {
    let written = query.message().ext.and_then(|ext| within(ext, path)).map(|value| {
        let text = raw::text(value).ok_or("the token in ext is not a string")?;
        Ok::<_, &'static str>(text.into_owned())
    });
    let token = match (written.transpose()?, bearer(query)?) {
        (Some(one), Some(other)) if one != other => return Err("there are two different tokens"),
        (one, other) => one.or(other),
    };
    match token {
        Some(token) if token.is_empty() => Err("the token is empty"),
        Some(token) if token.len() > TOKEN_BYTES => Err("the token is too long"),
        token => Ok(token),
    }
}

/// What stands in an object under a name, and in that under the next one. `null` is nothing; of several of one name the last
/// one counts, as in JavaScript.
fn within<'a>(mut value: &'a RawValue, path: &[String]) -> Option<&'a RawValue> {
    for name in path {
        value = raw::entries(value)?.into_iter().rev().find(|(own, _)| own == name)?.1;
    }
    Some(value).filter(|value| !raw::is_null(value))
}

/// The token of `Authorization: Bearer …` (RFC 6750 section 2.1). Other schemes are for others: a proxy may want Basic.
fn bearer(query: &Query<'_>) -> Result<Option<String>, &'static str> {
    let mut tokens = query.headers("authorization").filter_map(|value| {
        let value = value.trim_ascii();
        let (scheme, token) = value.split_at_checked("Bearer".len())?;
        let apart = token.is_empty() || token.starts_with(b" ");
        (scheme.eq_ignore_ascii_case(b"Bearer") && apart).then(|| token.trim_ascii())
    });
    let Some(token) = tokens.next() else { return Ok(None) };
    if tokens.next().is_some() {
        return Err("there are two Authorization fields");
    }
    match core::str::from_utf8(token) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => Err("the token is not text"),
    }
}

/// Whether two tokens are the same. Takes as long for one that begins right as for any other of its length.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    let differs = a.iter().zip(b).fold(0, |differs, (a, b)| core::hint::black_box(differs | (a ^ b)));
    a.len() == b.len() && differs == 0
}
