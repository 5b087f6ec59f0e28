//! `[auth]`: what is refused, with the line and the path of its key; and what is shown, without secrets.

#[cfg(feature = "jwt")]
use std::{fs, path::Path};

use super::{Folder, check};

const TOKEN: &str = "0123456789abcdef";

/// A public key of which nobody has the other side.
#[cfg(feature = "jwt")]
const PEM: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAofKgl+WvpC2R7/mNaVbc\n\
dMgIgU/6+DjDtJZo7UpeCXyLKxOoEs3bLk204yShQBpdeCm5atJPabQymGqIP6Sx\n\
7RCyh4GY0QGldDw/5bcoW8f8Mz98z1NH9UQiQjoJRtdF/bLN9EHqYEpaZ/rnvOnN\n\
lzP+YsOSdgnThKlo7HpHVR5q2GuAKiOBPi+e7rY22epDwLgepiDjeI2J1HlRBiVj\n\
BpYwHRLOkv0she9uBeDhgE9S/HyhmQYRldwU3OeckZ1Chfi+IzQitDpS6GO/ckeY\n\
q7ZNmbq/uL0yRK+3gDIj3o0XXOnJFGI7sdqy10li8E4jBckQoZh/2LSVLjnVe+Yp\n\
IQIDAQAB\n\
-----END PUBLIC KEY-----\n";

#[test]
fn a_table_that_makes_no_sense_is_refused_with_the_line_and_the_path_of_its_key() {
    let folder = Folder::new();
    let a_pattern = "must be a channel or a pattern, such as /chat/room, /chat/* or /user/{sub}/**";
    let a_token = "must be at least 16 letters, digits and - . _ ~ + / =";
    let token = format!("[[auth.token]]\ntoken = \"{TOKEN}\"\n");
    for (text, line, says) in [
        ("tokens = 1".to_owned(), 3, "unknown key auth.tokens: did you mean token?".to_owned()),
        (
            "frobnicate = 1".to_owned(),
            3,
            "unknown key auth.frobnicate: known are ext, anonymous, token, jwt".to_owned(),
        ),
        ("ext = 1".to_owned(), 3, "auth.ext = 1: must be a name such as \"token\"".to_owned()),
        ("ext = []".to_owned(), 2, "auth: ext must name the place of the token".to_owned()),
        ("anonymous = true".to_owned(), 3, "auth.anonymous = true: must be a table such as".to_owned()),
        ("anonymous.sub = []".to_owned(), 3, "unknown key auth.anonymous.sub: known are subscribe, publish".to_owned()),
        (
            "anonymous.publish = [\"/a\", \"b\"]".to_owned(),
            3,
            format!("auth.anonymous.publish = [\"/a\", \"b\"]: \"b\": {a_pattern}"),
        ),
        ("anonymous.publish = 7".to_owned(), 3, "auth.anonymous.publish = 7: must be a list of patterns".to_owned()),
        (
            "anonymous.subscribe = [\"/a/x{sub}\"]".to_owned(),
            3,
            "auth.anonymous.subscribe = [\"/a/x{sub}\"]: \"/a/x{sub}\": {sub} must be a whole segment".to_owned(),
        ),
        ("token = 7".to_owned(), 3, "auth.token = …: must be a table, or several: [[auth.token]]".to_owned()),
        ("[[auth.token]]\nsub = \"a\"".to_owned(), 3, "auth.token: needs token or token-file".to_owned()),
        ("[[auth.token]]\ntoken = \"too short\"".to_owned(), 4, format!("auth.token.token = …: {a_token}")),
        (
            "[[auth.token]]\ntoken-file = \"/nonexistent/token\"".to_owned(),
            4,
            "auth.token.token-file = \"/nonexistent/token\": cannot read it: No such file or directory".to_owned(),
        ),
        (
            format!("{token}token-file = \"/dev/null\""),
            5,
            "auth.token.token-file = \"/dev/null\": it is said twice".to_owned(),
        ),
        (format!("{token}subscribe = [\"/a/\"]"), 5, format!("auth.token.subscribe = [\"/a/\"]: \"/a/\": {a_pattern}")),
        (
            format!("{token}expires = \"2030-02-30T00:00:00Z\""),
            5,
            "auth.token.expires = \"2030-02-30T00:00:00Z\": must be".to_owned(),
        ),
        (
            format!("{token}expires = \"tomorrow\""),
            5,
            "auth.token.expires = \"tomorrow\": must be a time such as".to_owned(),
        ),
        (
            format!("{token}expires = 2030-12-31T00:00:00Z"),
            5,
            "auth.token.expires = 2030-12-31T00:00:00Z: must be".to_owned(),
        ),
        (format!("{token}{token}"), 2, "auth: there is the same token twice".to_owned()),
    ] {
        let path = folder.write("encke.toml", &format!("timeout = \"1s\"\n[auth]\n{text}\n"));
        let ran = check(&[], &["--config", &path]);
        let refusal = ran.refusal(2);
        assert!(refusal.starts_with(&format!("{path}, line {line}: {says}")), "{text}: {refusal}");
        assert!(!refusal.contains(TOKEN) && !refusal.contains("too short"), "{refusal}");
    }
    let path = folder.write("encke.toml", &format!("[[auth.token]]\ntoken = \"{TOKEN}\" \"\n"));
    let ran = check(&[], &["--config", &path]);
    assert!(ran.refusal(2).contains(", line 2: token: ") && !ran.stderr.contains(TOKEN), "{ran:?}");
    let path = folder.write("encke.toml", "[auths]\nx = 1");
    assert!(check(&[], &["--config", &path]).refusal(2).ends_with("unknown table auths: did you mean [auth]?"));
}

#[cfg(feature = "jwt")]
#[test]
fn a_key_that_makes_no_sense_is_refused_with_the_line_and_the_path_of_its_key() {
    let folder = Folder::new();
    let secret = "s3cret-".repeat(5);
    let key = format!("[[auth.jwt.key]]\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n");
    for (text, line, says) in [
        ("issuer = \"a\"".to_owned(), 1, "auth.jwt: needs at least one [[auth.jwt.key]]"),
        ("key = []".to_owned(), 1, "auth.jwt: needs at least one [[auth.jwt.key]]"),
        ("frobnicate = 1".to_owned(), 2, "unknown key auth.jwt.frobnicate: known are key, issuer, audience, leeway"),
        ("require_exp = true".to_owned(), 2, "unknown key auth.jwt.require_exp: did you mean require-exp?"),
        ("require-exp = 1".to_owned(), 2, "auth.jwt.require-exp = 1: must be true or false"),
        ("leeway = 30".to_owned(), 2, "auth.jwt.leeway = 30: must be a time"),
        (format!("leeway = \"2h\"\n{key}"), 1, "auth: jwt: leeway must be at most an hour"),
        ("audience = [1]".to_owned(), 2, "auth.jwt.audience = [1]: must be the aud of tokens"),
        ("publish = [\"x\"]".to_owned(), 2, "auth.jwt.publish = [\"x\"]: \"x\": must be a channel"),
        ("[[auth.jwt.key]]\nid = \"a\"".to_owned(), 2, "auth.jwt.key: needs an algorithm"),
        (
            "[[auth.jwt.key]]\nalgorithm = \"none\"".to_owned(),
            3,
            "auth.jwt.key.algorithm = \"none\": must be HS256, RS256 or ES256",
        ),
        ("[[auth.jwt.key]]\nalgorithm = \"ES256\"".to_owned(), 2, "auth.jwt.key: needs public-key or public-key-file"),
        ("[[auth.jwt.key]]\nalgorithm = \"HS256\"".to_owned(), 2, "auth.jwt.key: needs secret or secret-file"),
        (
            "[[auth.jwt.key]]\nalgorithm = \"HS256\"\nsecret = \"s3cret\"".to_owned(),
            4,
            "auth.jwt.key.secret: a secret for HS256 must have at least 32 bytes",
        ),
        (
            "[[auth.jwt.key]]\npublic-key = \"s3cret\"\nalgorithm = \"RS256\"".to_owned(),
            3,
            "auth.jwt.key.public-key: it is not PEM: it must begin with -----BEGIN PUBLIC KEY-----",
        ),
        (
            format!("[[auth.jwt.key]]\nalgorithm = \"RS256\"\nsecret = \"{secret}\""),
            4,
            "auth.jwt.key.secret: this algorithm needs public-key or public-key-file",
        ),
        (
            "[[auth.jwt.key]]\nalgorithm = \"HS256\"\npublic-key-file = \"/dev/null\"".to_owned(),
            4,
            "auth.jwt.key.public-key-file: this algorithm needs secret or secret-file",
        ),
        (
            "[[auth.jwt.key]]\nalgorithm = \"RS256\"\npublic-key-file = \"/nonexistent/key\"".to_owned(),
            4,
            "auth.jwt.key.public-key-file = \"/nonexistent/key\": cannot read it: No such file",
        ),
        (format!("{key}secret-file = \"/dev/null\""), 5, "auth.jwt.key.secret-file = \"/dev/null\": it is said twice"),
        (format!("{key}{key}"), 1, "auth: jwt: each of several keys needs an id"),
    ] {
        let path = folder.write("encke.toml", &format!("[auth.jwt]\n{text}\n"));
        let ran = check(&[], &["--config", &path]);
        let refusal = ran.refusal(2);
        assert!(refusal.starts_with(&format!("{path}, line {line}: {says}")), "{text}: {refusal}");
        assert!(!refusal.contains("s3cret"), "{refusal}");
    }
}

#[test]
fn what_is_said_of_it_has_no_secret() {
    let folder = Folder::new();
    let path = folder.write(
        "encke.toml",
        &format!(
            "http-api = true\nhttp-token = \"{TOKEN}\"\n[auth]\nanonymous = {{}}\n\
        [[auth.token]]\ntoken = \"{TOKEN}\"\nexpires = \"2030-12-31T23:59:59Z\"\n"
        ),
    );
    let ran = check(&[], &["--config", &path]);
    assert!(ran.refusal(2).ends_with("auth = a table: there is the same token twice") && !ran.stderr.contains(TOKEN));
    let ran = check(&[], &["--config", &path, "--http-api", "false"]);
    assert!(ran.good().contains("auth = \"not shown: anonymous, 1 token\" ") && !ran.good().contains(TOKEN), "{ran:?}");
    // Whoever takes that for a file is told that something is missing.
    let shown = folder.write("encke.toml", ran.good());
    assert!(check(&[], &["--config", &shown]).refusal(2).contains("auth = \"not shown: anonymous, 1 token\": must be"));
    let words = format!("{{ token = {{ token = '{TOKEN}', subscribe = ['x'] }} }}");
    let ran = check(&[], &["--auth", &words]);
    assert!(ran.refusal(2).starts_with("--auth {…}: auth.token.subscribe = ['x']: "), "{ran:?}");
    let ran = check(&[("ENCKE_AUTH", &words)], &[]);
    assert!(ran.refusal(2).starts_with("ENCKE_AUTH={…}: ") && !ran.stderr.contains(TOKEN), "{ran:?}");
    assert!(check(&[("ENCKE_AUTH", "none")], &[]).good().contains("auth = \"none\" "));
}

#[cfg(feature = "jwt")]
#[test]
fn the_examples_of_the_readme_and_of_the_packages_are_good() {
    let folder = Folder::new();
    let (token, pem) = (folder.path("token"), folder.path("pem"));
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    fs::write(&pem, PEM).unwrap();
    let text = |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let readme = text("README.md");
    let (_, section) = readme.split_once("\n## Authentication\n").unwrap();
    let block = section.split("```toml\n").nth(1).unwrap().split("```").next().unwrap().to_owned();
    let packaged = text("packaging/encke.toml");
    let (_, tail) = packaged.split_once("# [auth]\n").unwrap();
    let tail = tail.lines().map(|line| line.trim_start_matches("# ").trim_start_matches('#'));
    let tail = format!("[auth]\n{}\n", tail.collect::<Vec<_>>().join("\n"));
    for example in [block, tail] {
        let real = example.replace("/etc/encke/roof.token", &token).replace("/etc/encke/issuer.pem", &pem);
        let ran = check(&[], &["--config", &folder.write("encke.toml", &real)]);
        assert!(ran.good().contains("auth = \"not shown: anonymous, 1 token, jwt with 1 key\" "), "{example}: {ran:?}");
    }
}
