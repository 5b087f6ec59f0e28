//! Authentication out of the box: a [`SecurityPolicy`] of tokens, and of what their holders may do.
//!
//! Owns what a token proves and what it is worth. It is pure: keys come in as bytes, and the time with each question.
//!
//! A client shows its token when it shakes hands, in the message's `ext` (`{"ext":{"token":"…"}}`) or in the request's
//! `Authorization: Bearer …`; of a WebSocket, that of the request that opened it. Of `GET /events/…` and
//! `POST /publish/…` it is the header field of the request itself. A token is one of the configured [`Token`]s, or with the
//! feature `jwt` a JSON Web Token. Without a token, [`Settings::anonymous`] says what is allowed, or nothing is.
//!
//! What was granted is written on the session: the name of its user under [`SUB`], and the patterns under [`SUBSCRIBE`] and
//! [`PUBLISH`], one on each line. Other hooks may read that, and change it. It holds until the session ends, which is at the
//! latest when its token expires; its client is told to shake hands again then, and needs a new token.
//!
//! Local sessions may do everything.
//!
//! ```
//! use encke::auth::{Auth, Grants, Settings, Token};
//! use encke::hooks::Hooks;
//!
//! let mut settings = Settings::default();
//! settings.anonymous = Some(Grants::new(["/news/**"], [""; 0]));
//! let mut sensor = Token::new("b2c9fd4f4f1c1a37", Grants::new([""; 0], ["/sensor/{sub}/*"]));
//! sensor.sub = Some("roof".to_owned());
//! settings.tokens.push(sensor);
//! let auth = Auth::new(settings)?;
//! let hooks = Hooks::default().policy(auth.clone());
//! # let _ = hooks;
//! # Ok::<(), encke::auth::InvalidSettings>(())
//! ```
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

mod found;
mod grants;
#[cfg(feature = "jwt")]
mod jwt;
#[cfg(feature = "jwt")]
mod key;

use core::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use crate::hooks::{Admission, Denial, Query, SecurityPolicy, Session, Verdict};

pub use found::TOKEN_BYTES;
pub use grants::{Grants, check_pattern};
#[cfg(feature = "jwt")]
pub use jwt::Jwt;
#[cfg(feature = "jwt")]
pub use key::{InvalidKey, Key};

use grants::{Granted, Templates};

/// The attribute of a session that has the name of its user. A session without a token has none.
pub const SUB: &str = "sub";
/// The attribute of a session that has the patterns that it may subscribe to.
pub const SUBSCRIBE: &str = "auth.subscribe";
/// The attribute of a session that has the patterns that it may publish to.
pub const PUBLISH: &str = "auth.publish";

/// The fewest characters of a [`Token`].
pub const TOKEN_LEAST: usize = 16;

/// A token that is known in advance.
#[derive(Clone)]
#[non_exhaustive]
pub struct Token {
    /// The token itself, at least [`TOKEN_LEAST`] characters: letters, digits and `-._~+/=`.
    pub token: String,
    /// The name of who has it.
    pub sub: Option<String>,
    /// What its holder may do.
    pub grants: Grants,
    /// When it expires, ms since 1970.
    pub ends_unix_ms: Option<u64>,
}

impl Token {
    /// A token that does not expire.
    #[must_use]
    pub fn new(token: impl Into<String>, grants: Grants) -> Self {
        Self { token: token.into(), sub: None, grants, ends_unix_ms: None }
    }
}

/// Without the token.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("sub", &self.sub).field("grants", &self.grants).finish_non_exhaustive()
    }
}

/// What counts as a token, and what it is worth.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Where in the `ext` of a handshake the token is: a name, and names within that. `["token"]` by default.
    pub ext: Vec<String>,
    /// Tokens that are known in advance.
    pub tokens: Vec<Token>,
    /// JSON Web Tokens.
    #[cfg(feature = "jwt")]
    pub jwt: Option<Jwt>,
    /// What those may do who have no token. `None`, the default: they are not let in.
    pub anonymous: Option<Grants>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ext: vec!["token".to_owned()],
            tokens: Vec::new(),
            #[cfg(feature = "jwt")]
            jwt: None,
            anonymous: None,
        }
    }
}

/// Settings that make no sense: what is wrong, in one line, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSettings(pub(crate) String);

impl fmt::Display for InvalidSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for InvalidSettings {}

/// A token with what its holder gets.
struct Known {
    token: String,
    sub: Option<String>,
    granted: Granted,
    ends_unix_ms: Option<u64>,
}

/// Settings that have been checked.
struct Rules {
    ext: Vec<String>,
    tokens: Vec<Known>,
    #[cfg(feature = "jwt")]
    jwt: Option<jwt::Checked>,
    anonymous: Option<Granted>,
}

/// Somebody who is let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Holder {
    sub: Option<String>,
    granted: Granted,
    ends_unix_ms: Option<u64>,
}

impl Rules {
    fn new(settings: Settings) -> Result<Self, InvalidSettings> {
        let Settings { ext, tokens, anonymous, .. } = &settings;
        if ext.iter().any(String::is_empty) || ext.is_empty() {
            return Err(InvalidSettings("ext must name the place of the token".to_owned()));
        }
        let mut known: Vec<Known> = Vec::with_capacity(tokens.len());
        for token in tokens {
            let made = Known::new(token)?;
            if known.iter().any(|other| other.token == made.token) {
                return Err(InvalidSettings("there is the same token twice".to_owned()));
            }
            known.push(made);
        }
        let wrong = |what: &'static str| move |why| InvalidSettings(format!("{what}: {why}"));
        let anonymous = anonymous.as_ref().map(Templates::new).transpose().map_err(wrong("anonymous"))?;
        Ok(Self {
            tokens: known,
            anonymous: anonymous.map(|templates| templates.expand(|_| None)),
            ext: settings.ext,
            #[cfg(feature = "jwt")]
            jwt: settings.jwt.map(jwt::Checked::new).transpose().map_err(wrong("jwt"))?,
        })
    }

    /// Who shows this query's token.
    fn holder(&self, query: &Query<'_>) -> Result<Holder, &'static str> {
        let now_ms = query.now().unix_ms;
        let Some(token) = found::token(query, &self.ext)? else {
            let granted = self.anonymous.clone().ok_or("no token")?;
            return Ok(Holder { granted, ..Holder::default() });
        };
        // All of them are compared, so that the time does not tell which one it is.
        let is_it = |known: &Known| found::same(known.token.as_bytes(), token.as_bytes());
        let known = self.tokens.iter().fold(None, |found, known| if is_it(known) { Some(known) } else { found });
        if let Some(Known { sub, granted, ends_unix_ms, .. }) = known {
            if ends_unix_ms.is_some_and(|at| at <= now_ms) {
                return Err("token expired");
            }
            return Ok(Holder { sub: sub.clone(), granted: granted.clone(), ends_unix_ms: *ends_unix_ms });
        }
        #[cfg(feature = "jwt")]
        if let Some(jwt) = self.jwt.as_ref().filter(|_| token.contains('.')) {
            return jwt.holder(&token, now_ms);
        }
        Err("unknown token")
    }
}

impl Known {
    fn new(token: &Token) -> Result<Self, InvalidSettings> {
        let Token { token, sub, grants, ends_unix_ms } = token;
        check_token(token).map_err(|why| InvalidSettings(format!("a token {why}")))?;
        let whose = sub.as_deref().unwrap_or("without sub");
        let templates = Templates::new(grants).map_err(|why| InvalidSettings(format!("token {whose}: {why}")))?;
        let granted = templates.expand(|name| sub.as_deref().filter(|_| name == SUB));
        Ok(Self { token: token.clone(), sub: sub.clone(), granted, ends_unix_ms: *ends_unix_ms })
    }
}

/// Whether a text can be a [`Token`].
///
/// # Errors
/// What is accepted.
pub fn check_token(token: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if (TOKEN_LEAST..=TOKEN_BYTES).contains(&token.len()) && token.bytes().all(plain) {
        return Ok(());
    }
    Err(format!("must be at least {TOKEN_LEAST} letters, digits and - . _ ~ + / ="))
}

/// The policy. A clone of it is the same one: what is [replaced](Auth::replace) in one is replaced in all.
#[derive(Clone)]
pub struct Auth(Arc<RwLock<Rules>>);

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl Auth {
    /// A policy of these settings.
    ///
    /// # Errors
    /// They make no sense.
    pub fn new(settings: Settings) -> Result<Self, InvalidSettings> {
        Ok(Self(Arc::new(RwLock::new(Rules::new(settings)?))))
    }

    /// Has other settings count from now on; from any thread. Sessions that there are keep what they were granted.
    ///
    /// # Errors
    /// They make no sense; nothing has changed then.
    pub fn replace(&self, settings: Settings) -> Result<(), InvalidSettings> {
        let rules = Rules::new(settings)?;
        // Nothing can be half done in what is written in one piece.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rules;
        Ok(())
    }

    fn holder(&self, query: &Query<'_>) -> Result<Holder, &'static str> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).holder(query)
    }
}

/// A refusal of somebody who is not let in.
fn turned_away(reason: &str) -> Verdict {
    log::debug!("a handshake is denied: {reason}");
    Verdict::Deny(Denial::new(reason).with_error(format!("403:{reason}:handshake_denied")))
}

/// What a session was granted must cover what it wants.
fn granted(session: &Session<'_>, attribute: &str, channel: &str) -> Verdict {
    if session.is_local() {
        return Verdict::Allow;
    }
    covered(session.attribute(attribute).unwrap_or_default(), channel)
}

fn covered(lines: &str, channel: &str) -> Verdict {
    if grants::covers(lines, channel) { Verdict::Allow } else { Verdict::deny(format!("{channel} is not granted")) }
}

impl SecurityPolicy for Auth {
    fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
        if query.is_local() {
            return Verdict::Allow;
        }
        let Holder { sub, granted, ends_unix_ms } = match self.holder(query) {
            Ok(holder) => holder,
            Err(reason) => return turned_away(reason),
        };
        let attributes = &mut admission.attributes;
        let written = attributes
            .set(SUBSCRIBE, &granted.subscribe)
            .and_then(|()| attributes.set(PUBLISH, &granted.publish))
            .and_then(|()| sub.map_or(Ok(()), |sub| attributes.set(SUB, &sub)));
        admission.ends_unix_ms = ends_unix_ms;
        if written.is_err() { turned_away("more is granted than a session can keep") } else { Verdict::Allow }
    }

    fn can_subscribe(&mut self, _query: &Query<'_>, session: &mut Session<'_>, channel: &str) -> Verdict {
        granted(session, SUBSCRIBE, channel)
    }

    fn can_publish(&mut self, query: &Query<'_>, session: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        match session {
            Some(session) => granted(session, PUBLISH, channel),
            None => match self.holder(query) {
                Ok(holder) => covered(&holder.granted.publish, channel),
                Err(reason) => Verdict::deny(reason),
            },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
