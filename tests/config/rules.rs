//! `[[channel]]`: rules in a file and in a word, how what is refused is told, what is shown, and what SIGHUP changes.

use serde_json::json;

use super::common::encke;
use super::common::peer::{Peer, post};
use super::{A_RULE, COUNT, Folder, Ran, SIZE, WAIT, address, check, serve};

#[test]
fn a_rule_that_makes_no_sense_is_refused_with_the_line_and_the_path_of_its_key() {
    let folder = Folder::new();
    let pattern = "must be a channel or a pattern, such as /chat/room, /chat/* or /chat/**";
    let history = "must be true, false, or a table such as { count = 1000, bytes = \"4MiB\", age = \"24h\" }";
    for (text, line, says) in [
        ("lazy = true", 2, "channel: needs a pattern, such as pattern = \"/chat/**\"".to_owned()),
        ("pattern = \"a\"", 3, format!("channel.pattern = \"a\": {pattern}")),
        ("pattern = \"/a/**/b\"", 3, format!("channel.pattern = \"/a/**/b\": {pattern}")),
        ("pattern = 7", 3, format!("channel.pattern = 7: {pattern}, in quotes")),
        ("pattern = \"/meta/*\"", 3, format!("channel.pattern = \"/meta/*\": {pattern}; no rules hold for /meta")),
        ("pattern = \"/service\"", 3, format!("channel.pattern = \"/service\": {pattern}; no rules hold")),
        ("pattern = \"/a\"\nhistory = 5", 4, format!("channel.history = 5: {history}")),
        ("pattern = \"/a\"\n[[channel.history]]\ncount = 1", 4, "channel.history = ".to_owned()),
        ("pattern = \"/a\"\n\nhistory = { age = \"1h\", count = 0 }", 5, format!("channel.history.count = 0: {COUNT}")),
        ("pattern = \"/a\"\n[channel.history]\nbytes = \"0B\"", 5, format!("channel.history.bytes = \"0B\": {SIZE}")),
        ("pattern = \"/a\"\nhistory.age = \"0\"", 4, format!("channel.history.age = \"0\": {WAIT}")),
        (
            "pattern = \"/a\"\nhistory.age = \"1194h\"",
            4,
            format!("channel.history.age = \"1194h\": {WAIT}, and at most 1193h"),
        ),
        ("pattern = \"/a\"\nhistory.cont = 1", 4, "unknown key channel.history.cont: did you mean count?".to_owned()),
        ("replay-shape = \"odd\"", 3, "channel.replay-shape = \"odd\": must be plain or salesforce".to_owned()),
        ("lazy = \"true\"", 3, "channel.lazy = \"true\": must be true or false, without quotes".to_owned()),
        ("lazy.x = 1", 3, "channel.lazy = a table: must be true or false".to_owned()),
        ("replayShape = 1", 3, "unknown key channel.replayShape: did you mean replay-shape?".to_owned()),
        (
            "frob = 1",
            3,
            "unknown key channel.frob: known are pattern, history, replay-shape, lazy, broadcast-to-publisher"
                .to_owned(),
        ),
        (
            "timeout = \"1s\"",
            3,
            "unknown key channel.timeout: timeout is no part of a rule; in a file, it stands".to_owned(),
        ),
        // Of several mistakes the first one, whatever the alphabet says.
        ("replay-shape = 1\nlazy = 2\nhistory = 3", 3, "channel.replay-shape = 1: ".to_owned()),
        ("pattern = \"/a\"\n[[channel]]\nlazy = 1", 5, "channel.lazy = 1: ".to_owned()),
        (
            "pattern = \"/a\"\n[[channel]]\npattern = \"/b\"\n[[channel]]\nlazy = true\npattern = \"/a\"",
            8,
            "channel.pattern = \"/a\": there is a rule for that already (line 3)".to_owned(),
        ),
    ] {
        let path = folder.write("encke.toml", &format!("timeout = \"1s\"\n[[channel]]\n{text}\n"));
        let ran = check(&[], &["--config", &path]);
        let refusal = ran.refusal(2);
        assert!(refusal.starts_with(&format!("{path}, line {line}: {says}")), "{text}: {refusal}");
    }
}

#[test]
fn a_rule_in_a_word_is_refused_with_the_path_of_its_key() {
    let accepted = "must be a rule such as { pattern = \"/chat/**\", history = true }, or an array of rules";
    for (word, says) in [
        ("{ pattern = \"/a\", history = { count = 0 } }", format!("channel.history.count = 0: {COUNT}")),
        ("{ lazy = true }", "channel: needs a pattern, such as pattern = \"/chat/**\"".to_owned()),
        (
            "[{ pattern = \"/a\" }, { pattern = \"/a\" }]",
            "channel.pattern = \"/a\": there is a rule for that already".to_owned(),
        ),
        ("[1]", accepted.to_owned()),
        ("/a", accepted.to_owned()),
        ("true", accepted.to_owned()),
        ("{ pattern = /a }", format!("{accepted}: string values must be quoted")),
        ("[{ pattern = \"/a\" }", format!("{accepted}: unclosed array, expected `]`")),
        ("{ pattern = \"/a\" }\nlazy = true", accepted.to_owned()),
    ] {
        let echoed = word.replace('\n', " ");
        assert_eq!(check(&[], &["--channel", word]).refusal(2), format!("--channel {echoed}: {says}"));
        assert_eq!(check(&[("ENCKE_CHANNEL", word)], &[]).refusal(2), format!("ENCKE_CHANNEL={echoed}: {says}"));
    }
    assert!(
        check(&[("ENCKE_CHANNEL", "[{ pattern = \"/a\" }]")], &["--channel", "none"]).good().contains("channel = [] ")
    );
}

#[test]
fn several_rules_are_shown_a_line_each_in_a_form_that_can_be_pasted_back() {
    let folder = Folder::new();
    let shown =
        "    { pattern = \"/chat/**\", history = { count = 100, bytes = \"4MiB\", age = \"24h\" }, lazy = true },
    { pattern = \"/a\", history = false, replay-shape = \"plain\" },
    { pattern = \"/*\" },
]
";
    let text = "\n[[channel]]\npattern = \"/chat/**\"\nlazy = true\nhistory.count = 100\n\n[[channel]]\n\
        pattern = \"/a\"\nreplay-shape = \"plain\"\nhistory = false\n[[channel]]\npattern = \"/*\"\n";
    let first = check(&[], &["--config", &folder.write("encke.toml", text)]);
    let block = |ran: &Ran| {
        let (_, rest) = ran.good().split_once("\nchannel = [").unwrap();
        let (head, rest) = rest.split_once('\n').unwrap();
        (head.trim().to_owned(), rest.split_inclusive('\n').take(4).collect::<String>())
    };
    assert_eq!(block(&first), ("# file, line 2".to_owned(), shown.to_owned()));
    let line = 1 + first.good().lines().position(|line| line.starts_with("channel = [")).unwrap();
    let second = check(&[], &["--config", &folder.write("encke.toml", first.good())]);
    assert_eq!(block(&second), (format!("# file, line {line}"), shown.to_owned()));
}

#[test]
fn sighup_changes_rules_and_all_that_is_about_events() {
    let folder = Folder::new();
    let path = folder.write("encke.toml", "listen = \"127.0.0.1:0\"\n");
    let (process, urls) = serve(encke().args(["--config", &path]), 1);
    folder.write(
        "encke.toml",
        "listen = \"127.0.0.1:0\"\noverflow = \"drop-oldest\"\nmax-lazy-timeout = \"1s\"\nmax-activity = \"24h\"\n\
        timestamp = true\nmessage-delivery-during-handshake = true\nmax-history-size = \"1MiB\"\n\
        max-history-channels = 5\n[[channel]]\npattern = \"/a b/**\"\nhistory = true\n",
    );
    process.signal("HUP");
    process.wait_for_log(&format!("channel is now {A_RULE} (was none)\n"));
    for line in [
        "overflow is now drop-oldest (was disconnect)",
        "max-lazy-timeout is now 1s (was 5s)",
        "max-activity is now 24h (was 0)",
        "timestamp is now true (was false)",
        "message-delivery-during-handshake is now true (was false)",
        "max-history-size is now 1MiB (was 256MiB)",
        "max-history-channels is now 5 (was 10000)",
    ] {
        process.wait_for_log(&format!("{line}\n"));
    }
    folder.write(
        "encke.toml",
        "listen = \"127.0.0.1:0\"\n[[channel]]\npattern = \"/a\"\n\n[[channel]]\npattern = \"/a\"\n",
    );
    process.signal("HUP");
    let says = format!("ERROR {path}, line 6: channel.pattern = \"/a\": there is a rule for that already (line 3); ");
    process.wait_for_log(&says);
    assert_eq!(Peer::new(address(&urls[0])).exchange(post(&json!([]))).body, "[]");
}
