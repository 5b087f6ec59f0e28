//! Authentication as the daemon does it: tokens over each way in, keys in files, and what SIGHUP makes of them.

#![cfg(all(feature = "daemon", unix))]

mod common;

use common::folder::Folder;
use common::peer::{Peer, post_with};
use common::process::Process;
use serde_json::{Value, json};

const TOKEN: &str = "0123456789abcdef";

fn hello(ext: &Value) -> Value {
    json!([{"channel": "/meta/handshake", "supportedConnectionTypes": ["long-polling", "websocket"], "ext": ext}])
}

/// The reply to a handshake with this `ext` and these header fields.
fn shaken(peer: &mut Peer, ext: &Value, fields: &str) -> Value {
    peer.exchange(post_with(fields, &hello(ext).to_string())).json()[0].clone()
}

fn error(reply: &Value) -> &str {
    assert_eq!(reply["successful"], false, "{reply}");
    reply["error"].as_str().unwrap()
}

/// Whether somebody with this token is let in.
fn lets_in(peer: &mut Peer, token: &str) -> bool {
    shaken(peer, &json!({"token": token}), "")["successful"] == true
}

#[test]
fn known_tokens_are_let_in_and_publish_by_plain_http() {
    let folder = Folder::new();
    let path = folder.write(
        "encke.toml",
        &format!(
            "http-api = true\nhttp-token = \"the-token-of-programs\"\n\
            [auth]\nanonymous = {{ subscribe = [\"/news/*\"] }}\n\
            [[auth.token]]\ntoken = \"{TOKEN}\"\nsub = \"roof\"\npublish = [\"/sensor/{{sub}}\"]\n"
        ),
    );
    let (_process, addr) = Process::start(&["--config", &path]);
    let mut peer = Peer::new(addr);
    assert!(lets_in(&mut peer, TOKEN));
    assert_eq!(
        error(&shaken(&mut peer, &json!({"token": "another-token-of-16"}), "")),
        "403:unknown token:handshake_denied"
    );
    let id = peer.handshake();
    peer.subscribe(&id, "/news/a");
    let reply = peer.say(&json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/sensor/roof"}));
    assert_eq!(error(&reply[0]), "403:/sensor/roof is not granted:subscribe_denied");
    let mut publish = |channel: &str, field: &str| {
        let head = format!("POST /publish{channel} HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n{field}");
        peer.exchange(format!("{head}Content-Length: 1\r\n\r\n1")).status
    };
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    assert_eq!(publish("/sensor/roof", &bearer(TOKEN)), 200);
    assert_eq!(publish("/sensor/cellar", &bearer(TOKEN)), 403);
    assert_eq!(publish("/sensor/cellar", &bearer("the-token-of-programs")), 200);
    assert_eq!(publish("/sensor/roof", &bearer("another-token-of-16")), 403);
    assert_eq!(publish("/sensor/roof", ""), 403);
}

#[test]
fn sighup_reads_tokens_again_and_a_mistake_changes_nothing() {
    let folder = Folder::new();
    let secret = folder.write("token", &format!("{TOKEN}\n"));
    let text = format!("[[auth.token]]\ntoken-file = \"{secret}\"\nsubscribe = [\"/**\"]\n");
    let path = folder.write("encke.toml", &text);
    let (process, addr) = Process::start(&["--config", &path]);
    let mut peer = Peer::new(addr);
    assert!(lets_in(&mut peer, TOKEN));
    // The same file, with other words in a file that it names.
    folder.write("token", "fedcba9876543210\r\n");
    process.signal("HUP");
    process.wait_for_log("auth is now another one: 1 token");
    assert!(lets_in(&mut peer, "fedcba9876543210") && !lets_in(&mut peer, TOKEN));
    folder.write("token", "short");
    process.signal("HUP");
    process.wait_for_log(&format!(
        "{path}, line 2: auth.token.token-file = \"{secret}\": must be at least 16 letters, digits and - . _ ~ + / =; the \
        configuration stays as it was"
    ));
    assert!(lets_in(&mut peer, "fedcba9876543210"));
    folder.write("token", TOKEN);
    folder.write("encke.toml", &format!("{text}[[auth.token]]\ntoken = \"a-second-token-is-there\"\n"));
    process.signal("HUP");
    process.wait_for_log("auth is now 2 tokens (was 1 token)");
    assert!(lets_in(&mut peer, TOKEN) && lets_in(&mut peer, "a-second-token-is-there"));
    // Who is in would have been let in without being asked, or the other way round.
    folder.write("encke.toml", "");
    process.signal("HUP");
    process.wait_for_log("auth cannot change at run time: restart encke for none (still 2 tokens)");
    assert!(lets_in(&mut peer, TOKEN) && !lets_in(&mut peer, "never-heard-of-it"));
    assert!(!process.log.text().contains(TOKEN), "{}", process.log.text());
}

#[test]
fn without_a_configuration_file_the_files_of_keys_are_read_again() {
    let folder = Folder::new();
    let secret = folder.write("token", TOKEN);
    let (process, addr) = Process::start(&["--auth", &format!("{{ token = {{ token-file = '{secret}' }} }}")]);
    let mut peer = Peer::new(addr);
    assert!(lets_in(&mut peer, TOKEN));
    folder.write("token", "fedcba9876543210");
    process.signal("HUP");
    process.wait_for_log("read the keys of auth again");
    assert!(lets_in(&mut peer, "fedcba9876543210") && !lets_in(&mut peer, TOKEN));
    folder.write("token", "");
    process.signal("HUP");
    process.wait_for_log("--auth {…}: ");
    assert!(lets_in(&mut peer, "fedcba9876543210"));
}

#[cfg(feature = "jwt")]
mod jwt {
    use std::io::Read;
    use std::process::Command;
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::common::node::left_out;
    use super::common::peer::eventually;
    use super::*;

    /// What `mint.mjs` makes, good for so many seconds.
    fn minted(seconds: u64) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/auth/mint.mjs");
        let made = Command::new("node").arg(script).arg((now + seconds).to_string()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        serde_json::from_slice(&made.stdout).unwrap()
    }

    fn text<'a>(made: &'a Value, algorithm: &str, what: &str) -> &'a str {
        made[algorithm][what].as_str().unwrap()
    }

    /// A masked frame with a short text.
    fn frame(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 126).expect("it is short");
        [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
    }

    /// Which of these texts comes first on a connection.
    fn heard<'a>(peer: &mut Peer, texts: &[&'a str]) -> &'a str {
        let (mut all, mut part) = (Vec::new(), [0; 4_096]);
        loop {
            let length = peer.stream.read(&mut part).unwrap();
            assert!(length > 0, "the end");
            all.extend_from_slice(&part[..length]);
            let so_far = String::from_utf8_lossy(&all);
            if let Some(found) = texts.iter().find(|text| so_far.contains(**text)) {
                return found;
            }
        }
    }

    #[test]
    fn tokens_of_others_are_let_in_over_long_polling_and_over_a_websocket() {
        if left_out("ENCKE_SKIP_INTEROP", "tokens made by Node.js") {
            return;
        }
        let (folder, made) = (Folder::new(), minted(3_600));
        let mut config = "[auth.jwt]\naudience = \"encke\"\nsubscribe = [\"/user/{sub}/**\"]\n".to_owned();
        for algorithm in ["RS256", "ES256"] {
            let pem = folder.write(algorithm, text(&made, algorithm, "pem"));
            config += &format!(
                "[[auth.jwt.key]]\nid = \"{algorithm}\"\nalgorithm = \"{algorithm}\"\npublic-key-file = \"{pem}\"\n"
            );
        }
        let path = folder.write("encke.toml", &config);
        let (_process, addr) = Process::start(&["--config", &path]);
        let mut peer = Peer::new(addr);
        for algorithm in ["RS256", "ES256"] {
            let (good, other) = (text(&made, algorithm, "token"), text(&made, algorithm, "other"));
            let bearer = format!("Authorization: Bearer {good}\r\n");
            for reply in [shaken(&mut peer, &json!({"token": good}), ""), shaken(&mut peer, &Value::Null, &bearer)] {
                let id = reply["clientId"].as_str().unwrap_or_else(|| panic!("{reply}"));
                peer.subscribe(id, "/user/alice/x");
                let denied =
                    peer.say(&json!({"channel": "/meta/subscribe", "clientId": id, "subscription": "/user/*"}));
                assert_eq!(error(&denied[0]), "403:/user/* is not granted:subscribe_denied");
            }
            let forged = shaken(&mut peer, &json!({"token": other}), "");
            assert_eq!(error(&forged), "403:bad signature:handshake_denied");
            for (field, expected) in [(&*bearer, "\"successful\":true"), ("", "handshake_denied")] {
                let mut socket = Peer::new(addr);
                socket.send(format!(
                    "GET /cometd HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{field}\r\n"
                ));
                assert!(socket.head().starts_with("HTTP/1.1 101 "));
                socket.send(frame(&hello(&Value::Null).to_string()));
                assert_eq!(heard(&mut socket, &["\"successful\":true", "handshake_denied"]), expected);
            }
        }
    }

    #[test]
    fn a_session_ends_with_its_token() {
        if left_out("ENCKE_SKIP_INTEROP", "tokens made by Node.js") {
            return;
        }
        let (folder, made) = (Folder::new(), minted(3));
        let pem = folder.write("key", text(&made, "ES256", "pem"));
        let key = format!("key = {{ algorithm = 'ES256', public-key-file = '{pem}' }}");
        let auth = format!("{{ jwt = {{ {key}, audience = 'encke', leeway = '0' }} }}");
        let (_process, addr) = Process::start(&["--timeout", "1h", "--max-interval", "1h", "--auth", &auth]);
        let mut peer = Peer::new(addr);
        let token = json!({"token": text(&made, "ES256", "token")});
        // A machine that is slow enough has the token expire before it is shown.
        let reply = shaken(&mut peer, &token, "");
        if let Some(id) = reply["clientId"].as_str() {
            let mut last = Value::Null;
            while last["successful"] != false {
                last = peer.say(&common::peer::connect(id))[0].clone();
            }
            assert_eq!(last["advice"]["reconnect"], "handshake", "{last}");
        }
        // The two clocks need not tick together.
        let denied = eventually("it is let in no more", || {
            Some(shaken(&mut peer, &token, "")).filter(|reply| reply["successful"] == false)
        });
        assert_eq!(error(&denied), "403:token expired:handshake_denied");
    }
}
