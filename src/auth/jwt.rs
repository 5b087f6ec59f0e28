//! JSON Web Tokens (RFC 7519), signed in the compact form (RFC 7515 section 7.1).
//!
//! Owns what a token must be like to be believed. Nothing of it is believed before its signature has been checked, with the
//! algorithm that is configured for the key; the header is read for the name of the key only.

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::grants::{self, Granted, Grants, Templates};
use super::key::{self, Key};
use super::{Holder, SUB};

/// How wrong clocks may be, ms, unless it is said.
pub(super) const LEEWAY_MS: u64 = 30_000;
/// A leeway that is more than this is a mistake, ms.
const LEEWAY_MOST_MS: u64 = 3_600_000;
/// Patterns that a token may list under one claim.
const LISTED: usize = 256;

/// Which JSON Web Tokens are believed, and what they are worth. `exp` and `nbf` are checked whenever a token has them.
///
/// ```
/// use encke::auth::{Auth, Grants, Jwt, Key, Settings};
///
/// let key = Key::hs256(b"0123456789abcdef0123456789abcdef")?.with_id("2026");
/// let mut jwt = Jwt::new([key], Grants::new(["/chat/**", "/user/{sub}/**"], ["/chat/*"]));
/// jwt.issuer = Some("https://id.example".to_owned());
/// jwt.audience = vec!["chat".to_owned()];
/// let mut settings = Settings::default();
/// settings.jwt = Some(jwt);
/// let auth = Auth::new(settings)?;
/// # let _ = auth;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Jwt {
    /// The keys, at least one. If there are several, each needs an [id](Key::with_id) of its own: the `kid` of a token's
    /// header says which one it is signed with. A single key without an id is for all tokens.
    pub keys: Vec<Key>,
    /// Who must have made the token (`iss`). `None`, the default: not checked.
    pub issuer: Option<String>,
    /// Whom the token must be for (`aud`), one of these. Empty, the default: only tokens that name nobody are taken, for
    /// one that does is for somebody else (RFC 7519 section 4.1.3).
    pub audience: Vec<String>,
    /// How wrong clocks may be, ms: so much later a token expires, and so much earlier it begins. Default 30 s, at most an
    /// hour.
    pub leeway_ms: u64,
    /// Whether a token needs an expiry (`exp`). On by default: without one, a token that is lost is good for ever.
    pub require_exp: bool,
    /// What holders of a token may do.
    pub grants: Grants,
    /// The claim in which a token itself lists patterns that its holder may subscribe to, an array of strings. `None`, the
    /// default: there is none.
    pub subscribe_claim: Option<String>,
    /// The same for publishing.
    pub publish_claim: Option<String>,
}

impl Jwt {
    /// Tokens that are signed with one of these keys.
    #[must_use]
    pub fn new(keys: impl IntoIterator<Item = Key>, grants: Grants) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            issuer: None,
            audience: Vec::new(),
            leeway_ms: LEEWAY_MS,
            require_exp: true,
            grants,
            subscribe_claim: None,
            publish_claim: None,
        }
    }
}

/// What has been checked of a [`Jwt`].
pub(super) struct Checked {
    jwt: Jwt,
    templates: Templates,
}

type Claims = Map<String, Value>;

impl Checked {
    pub(super) fn new(jwt: Jwt) -> Result<Self, String> {
        if jwt.keys.is_empty() {
            return Err("needs a key".to_owned());
        }
        for (at, key) in jwt.keys.iter().enumerate() {
            if jwt.keys.len() > 1 && key.id.is_none() {
                return Err("each of several keys needs an id".to_owned());
            }
            if jwt.keys.iter().skip(at).skip(1).any(|other| other.id == key.id) {
                return Err(format!("there are two keys {:?}", key.id.as_deref().unwrap_or_default()));
            }
        }
        if jwt.leeway_ms > LEEWAY_MOST_MS {
            return Err("leeway must be at most an hour".to_owned());
        }
        let templates = Templates::new(&jwt.grants)?;
        Ok(Self { jwt, templates })
    }

    /// Who holds this token.
    pub(super) fn holder(&self, token: &str, now_ms: u64) -> Result<Holder, &'static str> {
        let claims = self.verified(token)?;
        let ends_unix_ms = self.check_times(&claims, now_ms)?;
        self.check_names(&claims)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let mut granted = self.templates.expand(text);
        let Granted { subscribe, publish } = &mut granted;
        list(&claims, self.jwt.subscribe_claim.as_deref(), subscribe)?;
        list(&claims, self.jwt.publish_claim.as_deref(), publish)?;
        Ok(Holder { sub: text(SUB).map(str::to_owned), granted, ends_unix_ms })
    }

    /// What a token says, if it is signed with the key that it has to be.
    fn verified(&self, token: &str) -> Result<Claims, &'static str> {
        const MALFORMED: &str = "malformed token";
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, payload) = signed.split_once('.').filter(|(_, rest)| !rest.contains('.')).ok_or(MALFORMED)?;
        let decoded = |part: &str| key::decode(&URL_SAFE_NO_PAD, part.as_bytes()).ok_or(MALFORMED);
        let object = |part: &str| serde_json::from_slice::<Claims>(&decoded(part)?).map_err(|_| MALFORMED);
        let key = self.key_of(&object(header)?)?;
        if !key.has_signed(signed.as_bytes(), &decoded(signature)?) {
            return Err("bad signature");
        }
        object(payload)
    }

    /// The key that a token with this header has to be signed with.
    fn key_of(&self, header: &Claims) -> Result<&Key, &'static str> {
        // What must be understood is none of what is: there is nothing of that kind (RFC 7515 section 4.1.11).
        if header.contains_key("crit") {
            return Err("unknown crit");
        }
        let key = match (&*self.jwt.keys, header.get("kid")) {
            ([only], None) => only,
            ([only], _) if only.id.is_none() => only,
            (_, None) => return Err("no key id"),
            (keys, Some(id)) => keys.iter().find(|key| key.id.as_deref() == id.as_str()).ok_or("unknown key id")?,
        };
        let named = header.get("alg").and_then(Value::as_str);
        if named == Some(key.algorithm()) { Ok(key) } else { Err("wrong algorithm") }
    }

    /// Whether the token counts at this time; until when, ms since 1970.
    fn check_times(&self, claims: &Claims, now_ms: u64) -> Result<Option<u64>, &'static str> {
        let leeway_ms = self.jwt.leeway_ms;
        let ends_ms = claims.get("exp").map(|exp| milliseconds(exp).ok_or("exp is not a time")).transpose()?;
        let ends_ms = ends_ms.map(|at| at.saturating_add(leeway_ms));
        match ends_ms {
            None if self.jwt.require_exp => return Err("token without exp"),
            Some(at) if at <= now_ms => return Err("token expired"),
            _ => {}
        }
        let begins_ms = claims.get("nbf").map(|nbf| milliseconds(nbf).ok_or("nbf is not a time")).transpose()?;
        if begins_ms.is_some_and(|at| at > now_ms.saturating_add(leeway_ms)) {
            return Err("token not yet valid");
        }
        Ok(ends_ms)
    }

    /// Whether the token is from whom, and for whom, it has to be.
    fn check_names(&self, claims: &Claims) -> Result<(), &'static str> {
        if self.jwt.issuer.as_deref().is_some_and(|wanted| claims.get("iss").and_then(Value::as_str) != Some(wanted)) {
            return Err("wrong issuer");
        }
        let is_ours =
            |value: &Value| value.as_str().is_some_and(|name| self.jwt.audience.iter().any(|own| own == name));
        let ours = match claims.get("aud") {
            None => self.jwt.audience.is_empty(),
            Some(Value::Array(names)) => names.iter().any(is_ours),
            Some(name) => is_ours(name),
        };
        if ours { Ok(()) } else { Err("wrong audience") }
    }
}

/// Seconds since 1970, which may have a fraction (RFC 7519 section 2, "NumericDate"), as milliseconds.
fn milliseconds(value: &Value) -> Option<u64> {
    let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0)?;
    match value.as_u64() {
        Some(whole) => Some(whole.saturating_mul(1_000)),
        // A cast of what is too large gives the largest.
        None => Some((seconds * 1_000.0) as u64),
    }
}

/// Adds the patterns that a token lists under a claim.
fn list(claims: &Claims, name: Option<&str>, lines: &mut String) -> Result<(), &'static str> {
    let Some(value) = name.and_then(|name| claims.get(name)) else { return Ok(()) };
    let items = value.as_array().ok_or("a claim with patterns is not an array")?;
    if items.len() > LISTED {
        return Err("the token lists too many patterns");
    }
    items.iter().filter_map(Value::as_str).for_each(|text| grants::add_foreign(lines, text));
    Ok(())
}
