//! What is refused: files, words and variables that make no sense, and values that do not go together.

use super::*;

#[test]
fn a_file_that_makes_no_sense_is_refused_with_its_line() {
    let folder = Folder::new();
    for (text, line, says) in [
        ("time-out = \"30s\"", 1, "unknown key time-out: did you mean timeout?"),
        ("\nmaxInterval = \"30s\"", 2, "unknown key maxInterval: did you mean max-interval?"),
        ("frobnicate = 1", 1, "unknown key frobnicate: see encke --help"),
        (
            "mount = \"/a\"\n[server]\ntimeout = \"1s\"",
            2,
            "unknown table server: all keys but [[channel]] and [auth] stand outside of tables",
        ),
        ("\n[[channels]]\nx = 1", 2, "unknown table channels: did you mean [[channel]]?"),
        ("Channel = []", 1, "unknown key Channel: did you mean [[channel]]?"),
        ("[timeout]\nx = 1", 1, "timeout = a table: must be a time"),
        ("timeout = \"1s\"\n\ntimeout = \"2s\"", 3, "timeout = \"2s\": duplicate key"),
        ("backlog = 1\ntimeout = 30s\n", 2, "timeout = 30s: string values must be quoted"),
        ("listen = [\n\"127.0.0.1:1\"\n", 2, "\"127.0.0.1:1\": unclosed array"),
        ("listen = [\n  \"a\",\n]", 1, "listen = [   \"a\", ]: \"a\" is no place to listen; write 127.0.0.1:8080 "),
        ("listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]", 1, "127.0.0.1:1 is in it twice"),
        ("zero = 1\nactual = 1", 1, "unknown key zero"),
        ("what is this", 1, "what is this: "),
        ("mount = \"/\\u0007\"", 1, "must be a path such as /cometd"),
    ] {
        let path = folder.write("encke.toml", text);
        let ran = check(&[], &["--config", &path]);
        let refusal = ran.refusal(2);
        assert!(refusal.starts_with(&format!("{path}, line {line}: ")) && refusal.contains(says), "{text}: {refusal}");
    }
    // A value as long as a file may be does not fill the screen.
    let path = folder.write("encke.toml", &format!("mount = \"{}\"", "x".repeat(100_000)));
    assert!(check(&[], &["--config", &path]).refusal(2).len() < 500);
}

#[test]
fn a_file_that_can_be_read_only_once_is_not_read_again() {
    let folder = Folder::new();
    let path = folder.path("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let writer = std::thread::spawn({
        let path = path.clone();
        move || std::fs::write(path, "timeout = \"5s\"\n").unwrap()
    });
    let (process, addr) = Process::start(&["--config", &path]);
    writer.join().unwrap();
    process.signal("HUP");
    process.wait_for_log("is no regular file and cannot be read again; the configuration stays as it was");
    assert_eq!(Peer::new(addr).exchange("GET /health HTTP/1.1\r\nHost: h\r\n\r\n").status, 200);
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_reason() {
    let folder = Folder::new();
    let missing = folder.path("none.toml");
    let says = format!("{missing}: cannot read it: No such file or directory (os error 2)");
    assert_eq!(check(&[], &["--config", &missing]).refusal(2), format!("--config {says}"));
    assert_eq!(check(&[("ENCKE_CONFIG", &missing)], &[]).refusal(2), format!("ENCKE_CONFIG {says}"));
    let text = folder.path("latin1.toml");
    fs::write(&text, b"mount = \"/\xe9\"").unwrap();
    assert!(check(&[], &["--config", &text]).refusal(2).ends_with("it is not UTF-8"));
    let large = folder.path("large.toml");
    fs::write(&large, "#".repeat((1 << 20) + 1)).unwrap();
    assert!(check(&[], &["--config", &large]).refusal(2).ends_with("it has more than 1048576 bytes"));
    fs::write(&large, "#".repeat(1 << 20)).unwrap();
    check(&[], &["--config", &large]).good();
    assert!(check(&[], &["--config", &folder.path("")]).refusal(2).contains("Is a directory"));
    assert_eq!(check(&[], &["--config="]).refusal(2), "--config needs a value: FILE");
    // The command line names another file than the environment.
    let good = folder.write("encke.toml", "timeout = \"9s\"");
    assert!(check(&[("ENCKE_CONFIG", &missing)], &["--config", &good]).good().contains("timeout = \"9s\""));
    assert!(check(&[("ENCKE_CONFIG", &good)], &[]).good().contains("timeout = \"9s\""));
}

#[test]
fn words_and_variables_that_mean_nothing_are_refused() {
    for (words, says) in [
        (&["--time-out", "30s"][..], "unknown option --time-out: did you mean --timeout?"),
        (&["--time_out=30s"], "unknown option --time_out: did you mean --timeout?"),
        (&["--frobnicate"], "unknown option --frobnicate: see encke --help"),
        (&["--timeout"], "--timeout needs a value: TIME"),
        (&["--timeout", ""], "--timeout \"\": must be a time such as 500ms, 30s, 5m, 24h or 0"),
        (&["check"], "unexpected \"check\": options are --KEY VALUE; see encke --help"),
    ] {
        assert_eq!(check(&[], words).refusal(2), says);
    }
    for (name, says) in [
        ("ENCKE_TIME_OUT", "did you mean ENCKE_TIMEOUT?"),
        ("ENCKE_FROBNICATE", "see encke --help"),
        ("ENCKE_CONFIG_FILE", "see encke --help"),
    ] {
        let refusal = format!("unknown environment variable {name}: {says}");
        assert_eq!(check(&[(name, "secret")], &[]).refusal(2), refusal);
        assert_eq!(run(encke().env(name, "secret")).refusal(2), refusal, "also to run");
    }
    run(encke().arg("--version").env("ENCKE_FROBNICATE", "1")).good();
}

#[test]
fn what_kubernetes_tells_of_a_service_called_encke_is_ignored() {
    let env = [
        ("ENCKE_SERVICE_HOST", "10.0.0.1"),
        ("ENCKE_SERVICE_PORT", "8080"),
        ("ENCKE_SERVICE_PORT_HTTP", "8080"),
        ("ENCKE_PORT", "tcp://10.0.0.1:8080"),
        ("ENCKE_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("ENCKE_PORT_8080_TCP_PROTO", "tcp"),
        ("ENCKE_PORT_8080_TCP_PORT", "8080"),
        ("ENCKE_PORT_8080_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(check(&env, &[]), check(&[], &[]));
    assert!(check(&[("ENCKE_OTHER_SERVICE_HOST", "10.0.0.1")], &[]).refusal(2).contains("enableServiceLinks"));
}

#[test]
fn values_that_do_not_go_together_are_refused_with_both() {
    let folder = Folder::new();
    let path = folder.write("encke.toml", "mount = \"/\"\ndemo = true\n");
    let refusal = check(&[], &["--config", &path]);
    let says = format!("{path}, line 2: demo = true: must be false, for the endpoint takes every path");
    assert_eq!(refusal.refusal(2), format!("{says} ({path}, line 1: mount = \"/\")"));
    assert!(check(&[], &["--mount", "/"]).good().contains("\ndemo = false "), "without a word it gives way");
    let refusal = check(&[("ENCKE_MAX_QUEUED_BYTES", "512KiB")], &[]);
    assert!(refusal.refusal(2).contains("max-queue-size 1MiB by default: must not be larger than max-queued-bytes"));
    check(&[], &["--max-queued-bytes", "1MiB", "--timeout", "0"]).good();
}

#[test]
fn more_connections_than_files_are_refused_and_fitted_only_if_nobody_asked() {
    let unix = ["--listen", "unix:/nonexistent/s", "--max-connections", "969"];
    for words in [&["check", "--max-connections", "969"][..], &unix] {
        let ran = run_with_files(1_000, words);
        let refusal = ran.refusal(2);
        let says = "--max-connections 969: the limit of open files is 1000, which leaves room for 968: ";
        assert!(refusal.starts_with(says), "{refusal}");
        assert!(refusal.contains("`ulimit -Hn`") && refusal.contains("LimitNOFILE="), "{refusal}");
    }
    let ran = run_with_files(1_000, &["check", "--max-connections", "968"]);
    assert!(ran.good().contains("\nmax-connections = 968 "));
    assert!(run_with_files(1_000, &["check"]).good().contains("\n# max-connections = 968 "));
}
