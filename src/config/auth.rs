//! `[auth]`: how it is read, and the files that it names.
//!
//! Owns the keys of `[auth]` and of the tables within it. A fault is told with the place of the key that it is about. Files
//! are read with the table: at the start, when it is checked, and again at each SIGHUP. Secrets are never shown.

use core::fmt;
use std::path::Path;

use crate::auth::{Auth, Grants, Settings, Token, check_pattern, check_token};
use crate::http::date::iso8601;

use super::channel::each;
use super::file::{self, Entry, Table};
use super::keys::{key, nearest};
use super::value::{Fault, Field, Said, Shown, echo, quoted, text};
use super::{Config, Options};

const AUTH: &str = "auth";
const ANONYMOUS: &str = "auth.anonymous";
const TOKEN: &str = "auth.token";
const AUTH_KEYS: &str = "ext, anonymous, token, jwt";
const GRANT_KEYS: &str = "subscribe, publish";
const TOKEN_KEYS: &str = "token, token-file, sub, subscribe, publish, expires";
const ACCEPTED: &str = "must be a table such as { anonymous = { subscribe = [\"/news/**\"] } }, or none";
/// 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;
const A_TIME: &str = "must be a time such as \"2030-12-31T23:59:59Z\"";

/// What a table says, and in which words.
#[derive(Clone)]
pub(super) struct Authentication {
    settings: Settings,
    /// Without secrets.
    summary: String,
    /// Everything that was said, with what stands in the files: to be compared, never to be shown.
    said: String,
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary)
    }
}

/// All of `[auth]`.
pub(super) struct Authenticating;

impl Field for Authenticating {
    fn kind(&self) -> &'static str {
        "TABLE|none"
    }

    fn read(&self, options: &mut Options, said: &Said<'_>) -> Result<(), Fault> {
        options.auth = match said {
            Said::Word("none") | Said::Text("none") => None,
            Said::Word(text) if text.trim_start().starts_with('{') => {
                file::inline(text.trim(), ACCEPTED, authentication).map(Some)?
            }
            said => Some(authentication(said)?),
        };
        Ok(())
    }

    fn show(&self, options: &Options) -> Shown {
        let described = |auth: &Authentication| Shown::Described(auth.summary.clone(), auth.said.clone());
        options.auth.as_ref().map_or_else(|| Shown::Text("none".to_owned()), described)
    }

    fn copy(&self, from: &Options, to: &mut Options) {
        to.auth.clone_from(&from.auth);
    }
}

impl Config {
    /// Who is let in, and what they may do; `None` if nobody is asked. It reads no file: those have been read.
    pub fn auth(&self) -> Option<Settings> {
        let mut settings = self.options.auth.as_ref()?.settings.clone();
        if let Some(token) = self.options.settings.http_token.as_ref().filter(|_| self.options.settings.http_api) {
            // Who has it may publish everywhere, as without `[auth]`.
            settings.tokens.push(Token::new(token, Grants::new([""; 0], ["/**"])));
        }
        Some(settings)
    }

    /// Whether what is said of authentication goes together.
    pub(super) fn agree_on_auth(&self) -> Result<(), String> {
        let Some(settings) = self.auth() else { return Ok(()) };
        Auth::new(settings).map(drop).map_err(|why| format!("{}: {why}", self.says(key!("auth"))))
    }
}

fn authentication(said: &Said<'_>) -> Result<Authentication, Fault> {
    let Said::Table(table) = said else { return Err(Fault::from(ACCEPTED.to_owned())) };
    let mut reader = Reader::default();
    let mut settings = Settings::default();
    reader.each(table, AUTH, &mut |reader, entry| {
        match entry.key {
            "ext" => {
                settings.ext = names(&entry.said, "must be a name such as \"token\", or names one within another")?
            }
            "anonymous" => settings.anonymous = Some(reader.anonymous(entry)?),
            "token" => settings.tokens = reader.tables(entry, TOKEN, Reader::token)?,
            "jwt" => reader.jwt(entry, &mut settings)?,
            _ => return Err(unknown(entry, AUTH, AUTH_KEYS)),
        }
        Ok(())
    })?;
    // What is left to be found is about several of its keys.
    let whole = |why| Fault { text: format!("{AUTH}: {why}"), at: Some(table.at), other: None };
    Auth::new(settings.clone()).map_err(whole)?;
    Ok(Authentication { summary: summary(&settings), said: reader.said, settings })
}

/// What there is, in a few words.
fn summary(settings: &Settings) -> String {
    let count =
        |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}{}", if count > 1 { "s" } else { "" }));
    let keys = jwt_keys(settings);
    let parts = [
        settings.anonymous.as_ref().map(|_| "anonymous".to_owned()),
        count(settings.tokens.len(), "token"),
        keys.and_then(|keys| count(keys, "key")).map(|keys| format!("jwt with {keys}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "nobody".to_owned() } else { parts.join(", ") }
}

/// Reads tables, and writes down what they say.
#[derive(Default)]
struct Reader {
    said: String,
}

/// What is done with one key of a table.
type Take<'t> = dyn FnMut(&mut Reader, &Entry<'_>) -> Result<(), Fault> + 't;

impl Reader {
    fn each(&mut self, table: &Table<'_>, path: &str, take: &mut Take<'_>) -> Result<(), Fault> {
        each(table, path, &mut |entry| {
            self.said.push_str(&format!("{path}.{}={}\n", entry.key, entry.text));
            take(self, entry)
        })
    }

    /// Reads one table, or several.
    fn tables<T>(
        &mut self,
        entry: &Entry<'_>,
        path: &str,
        read: fn(&mut Self, &Table<'_>) -> Result<T, Fault>,
    ) -> Result<Vec<T>, Fault> {
        match &entry.said {
            Said::List(none) if none.is_empty() => Ok(Vec::new()),
            Said::Table(table) => Ok(vec![read(self, table)?]),
            Said::Tables(tables) => tables.iter().map(|table| read(self, table)).collect(),
            _ => Err(Fault::from(format!("must be a table, or several: [[{path}]]"))),
        }
    }

    fn anonymous(&mut self, entry: &Entry<'_>) -> Result<Grants, Fault> {
        let Said::Table(table) = &entry.said else {
            return Err(Fault::from("must be a table such as { subscribe = [\"/news/**\"] }".to_owned()));
        };
        let mut grants = Grants::default();
        self.each(table, ANONYMOUS, &mut |_, entry| match entry.key {
            key if GRANT_KEYS.split(", ").any(|known| known == key) => grant(entry, &mut grants),
            _ => Err(unknown(entry, ANONYMOUS, GRANT_KEYS)),
        })?;
        Ok(grants)
    }

    fn token(&mut self, table: &Table<'_>) -> Result<Token, Fault> {
        let mut token = Token::new("", Grants::default());
        let mut given = None;
        self.each(table, TOKEN, &mut |reader, entry| {
            match entry.key {
                "token" => once(&mut given, text(&entry.said, "must be a token")?.to_owned().into_bytes())?,
                "token-file" => once(&mut given, reader.file(&entry.said)?)?,
                "sub" => token.sub = Some(text(&entry.said, "must be a name")?.to_owned()),
                "subscribe" | "publish" => return grant(entry, &mut token.grants),
                "expires" => token.ends_unix_ms = Some(time(&entry.said)?),
                _ => return Err(unknown(entry, TOKEN, TOKEN_KEYS)),
            }
            if let Some(bytes) = given.as_ref().filter(|_| entry.key.starts_with("token")) {
                token.token = core::str::from_utf8(bytes).unwrap_or_default().to_owned();
                check_token(&token.token)?;
            }
            Ok(())
        })?;
        if given.is_none() {
            return Err(missing(table, TOKEN, "token or token-file"));
        }
        Ok(token)
    }

    /// What stands in a file, without the end of its last line.
    fn file(&mut self, said: &Said<'_>) -> Result<Vec<u8>, String> {
        let path = text(said, "must be the path of a file")?;
        let mut bytes = file::bytes(Path::new(path)).map_err(|why| format!("cannot read it: {why}"))?;
        if bytes.ends_with(b"\n") {
            bytes.pop();
            bytes.pop_if(|last| *last == b'\r');
        }
        self.said.extend(bytes.iter().map(|byte| format!("{byte:02x}")));
        Ok(bytes)
    }
}

#[cfg(not(feature = "jwt"))]
impl Reader {
    fn jwt(&mut self, _entry: &Entry<'_>, _settings: &mut Settings) -> Result<(), Fault> {
        let why = "needs an encke that is built with JSON Web Tokens: cargo build --release --features jwt";
        Err(Fault::from(why.to_owned()))
    }
}

#[cfg(not(feature = "jwt"))]
fn jwt_keys(_settings: &Settings) -> Option<usize> {
    None
}

#[cfg(feature = "jwt")]
fn jwt_keys(settings: &Settings) -> Option<usize> {
    settings.jwt.as_ref().map(|jwt| jwt.keys.len())
}

#[cfg(feature = "jwt")]
mod jwt {
    use super::*;
    use crate::auth::{InvalidKey, Jwt, Key};
    use crate::config::value::{Kind, Time, Truth, choice};

    const JWT: &str = "auth.jwt";
    const KEY: &str = "auth.jwt.key";
    const JWT_KEYS: &str =
        "key, issuer, audience, leeway, require-exp, subscribe, publish, subscribe-claim, publish-claim";
    const KEY_KEYS: &str = "id, algorithm, secret, secret-file, public-key, public-key-file";
    /// An algorithm, and whether its key is a secret.
    type Algorithm = (bool, fn(&[u8]) -> Result<Key, InvalidKey>);
    const ALGORITHMS: &[(&str, Algorithm)] =
        &[("HS256", (true, Key::hs256)), ("RS256", (false, Key::rs256)), ("ES256", (false, Key::es256))];

    impl Reader {
        pub(super) fn jwt(&mut self, entry: &Entry<'_>, settings: &mut Settings) -> Result<(), Fault> {
            let Said::Table(table) = &entry.said else {
                return Err(Fault::from(format!("must be a table: [{JWT}], with [[{KEY}]]")));
            };
            let mut jwt = Jwt::new([], Grants::default());
            self.each(table, JWT, &mut |reader, entry| {
                let name = |what| text(&entry.said, what).map(str::to_owned);
                match entry.key {
                    "key" => jwt.keys = reader.tables(entry, KEY, Self::key)?,
                    "issuer" => jwt.issuer = Some(name("must be the iss of tokens")?),
                    "audience" => jwt.audience = names(&entry.said, "must be the aud of tokens, or a list of them")?,
                    "leeway" => jwt.leeway_ms = u64::from(Time::read(&entry.said)?),
                    "require-exp" => jwt.require_exp = Truth::read(&entry.said)?,
                    "subscribe" | "publish" => return grant(entry, &mut jwt.grants),
                    "subscribe-claim" => jwt.subscribe_claim = Some(name("must be the name of a claim")?),
                    "publish-claim" => jwt.publish_claim = Some(name("must be the name of a claim")?),
                    _ => return Err(unknown(entry, JWT, JWT_KEYS)),
                }
                Ok(())
            })?;
            if jwt.keys.is_empty() {
                return Err(missing(table, JWT, "at least one [[auth.jwt.key]]"));
            }
            settings.jwt = Some(jwt);
            Ok(())
        }

        fn key(&mut self, table: &Table<'_>) -> Result<Key, Fault> {
            let (mut id, mut algorithm, mut given, mut place) = (None, None, None, (table.at, String::new(), false));
            self.each(table, KEY, &mut |reader, entry| {
                match entry.key {
                    "id" => id = Some(text(&entry.said, "must be the kid of tokens")?.to_owned()),
                    "algorithm" => {
                        algorithm = Some(choice(&entry.said, ALGORITHMS, "must be HS256, RS256 or ES256")?);
                    }
                    "secret" | "public-key" => {
                        once(&mut given, text(&entry.said, "must be a key")?.to_owned().into_bytes())?;
                    }
                    "secret-file" | "public-key-file" => once(&mut given, reader.file(&entry.said)?)?,
                    _ => return Err(unknown(entry, KEY, KEY_KEYS)),
                }
                if !matches!(entry.key, "id" | "algorithm") {
                    place = (entry.at, entry.key.to_owned(), entry.key.starts_with("secret"));
                }
                Ok(())
            })?;
            let Some((is_secret, read)) = algorithm else { return Err(missing(table, KEY, "an algorithm")) };
            let (at, name, said_secret) = place;
            let kind = if is_secret { "secret or secret-file" } else { "public-key or public-key-file" };
            let Some(bytes) = given else { return Err(missing(table, KEY, kind)) };
            let fault = |why: String| Fault { text: format!("{KEY}.{name}: {why}"), at: Some(at), other: None };
            if said_secret != is_secret {
                return Err(fault(format!("this algorithm needs {kind}")));
            }
            let key = read(&bytes).map_err(|why| fault(why.to_string()))?;
            Ok(match id {
                Some(id) => key.with_id(id),
                None => key,
            })
        }
    }
}

/// Keeps what is said once in one of two ways.
fn once(kept: &mut Option<Vec<u8>>, given: Vec<u8>) -> Result<(), String> {
    match kept.replace(given) {
        None => Ok(()),
        Some(_) => Err("it is said twice: here, or in a file".to_owned()),
    }
}

/// Reads patterns to subscribe or to publish to.
fn grant(entry: &Entry<'_>, grants: &mut Grants) -> Result<(), Fault> {
    let patterns = names(&entry.said, "must be a list of patterns, such as [\"/chat/**\"]")?;
    for pattern in &patterns {
        check_pattern(pattern).map_err(|why| format!("{}: {why}", quoted(pattern)))?;
    }
    match entry.key {
        "subscribe" => grants.subscribe = patterns,
        _ => grants.publish = patterns,
    }
    Ok(())
}

/// A name, or a list of them.
fn names(said: &Said<'_>, accepted: &str) -> Result<Vec<String>, String> {
    match said {
        Said::Text(name) if !name.is_empty() => Ok(vec![(*name).to_owned()]),
        Said::List(names) => Ok(names.iter().map(|name| (*name).to_owned()).collect()),
        _ => Err(accepted.to_owned()),
    }
}

/// A point in time, ms since 1970: the one second that is written like this.
fn time(said: &Said<'_>) -> Result<u64, String> {
    let text = text(said, A_TIME)?;
    let wanted = text.replace('Z', ".000Z");
    // Times are written in such a way that later ones stand behind earlier ones.
    let (mut from, mut to) = (0, LAST_SECOND);
    while from < to {
        let middle = (from + to) / 2;
        if iso8601(middle * 1_000) < wanted { from = middle + 1 } else { to = middle }
    }
    if iso8601(from * 1_000) == wanted { Ok(from * 1_000) } else { Err(A_TIME.to_owned()) }
}

/// What to say of a key that a table does not have.
fn unknown(entry: &Entry<'_>, path: &str, known: &'static str) -> Fault {
    let help = match nearest(entry.key, &mut known.split(", ")) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("known are {known}"),
    };
    let text = format!("unknown key {path}.{}: {help}", echo(entry.key));
    Fault { text, at: Some(entry.at), other: None }
}

/// What to say of a table that needs more.
fn missing(table: &Table<'_>, path: &str, what: &str) -> Fault {
    Fault { text: format!("{path}: needs {what}"), at: Some(table.at), other: None }
}
