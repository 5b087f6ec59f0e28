//! What is said of TLS in the configuration, and what is told of the files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Output, Stdio};

use rcgen::KeyPair;
use rustls::version::TLS13;

use super::common::process::Process;
use super::common::{encke, without_settings};
use super::{Folder, HEALTH, Peer};

fn check(words: &[&str]) -> Output {
    encke().arg("check").args(words).stdin(Stdio::null()).output().unwrap()
}

/// The text behind `encke: ` of a check that was refused, in one line.
fn refusal(words: &[&str]) -> String {
    let output = check(words);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len(), stderr.lines().count()), (Some(2), 0, 1), "{stderr}");
    stderr.trim_end().strip_prefix("encke: ").unwrap().to_owned()
}

#[test]
fn check_shows_what_is_good() {
    let folder = Folder::new();
    let options = folder.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let output = check(&[&["--listen", "tls:127.0.0.1:8443,[::1]:8080"], &options[..]].concat());
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("listen = [\"tls:127.0.0.1:8443\", \"[::1]:8080\"] "), "{stdout}");
    assert!(stdout.contains(&format!("\ntls-certificate = \"{}\" ", folder.path("cert.pem"))), "{stdout}");
    assert!(stdout.contains(&format!("\ntls-key = \"{}\" ", folder.path("key.pem"))), "{stdout}");
}

#[test]
fn what_does_not_go_together_is_refused() {
    let listen = ["--listen", "tls:127.0.0.1:8443"];
    assert_eq!(
        refusal(&listen),
        "--listen tls:127.0.0.1:8443: tls:127.0.0.1:8443 needs tls-certificate and tls-key, which are PEM files"
    );
    assert_eq!(refusal(&["--tls-certificate", "/c"]), "--tls-certificate /c: needs tls-key as well");
    assert_eq!(refusal(&["--tls-key", "/k"]), "--tls-key /k: needs tls-certificate as well");
    for text in ["tls:", "tls:8443", "tls:localhost:8443", "tls:unix:/s", "tls:tls:127.0.0.1:1"] {
        let told = refusal(&["--listen", text]);
        assert_eq!(
            told,
            format!("--listen {text}: {text:?} has no address behind tls:, such as tls:0.0.0.0:8443 or tls:[::]:8443")
        );
    }
    for key in ["--tls-certificate", "--tls-key"] {
        assert_eq!(refusal(&[key, ""]), format!("{key} \"\": must be the path of a file"));
    }
    let folder = Folder::new();
    let file = folder.write("encke.toml", "\ntls-key = 1\n");
    assert_eq!(
        refusal(&["--config", &file]),
        format!("{file}, line 2: tls-key = 1: must be the path of a file, in quotes")
    );
}

#[test]
fn a_file_that_is_no_good_is_named_with_what_is_wrong_with_it() {
    let folder = Folder::new();
    let (good, key) = (folder.path("cert.pem"), folder.path("key.pem"));
    let other = folder.write("other.pem", &KeyPair::generate().unwrap().serialize_pem());
    let empty = folder.write("empty.pem", "");
    let broken = folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    let hollow = folder.write("hollow.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let sealed = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let sealed = folder.write("sealed.pem", sealed);
    let missing = folder.path("missing.pem");
    let huge = folder.write("huge.pem", &" ".repeat((1 << 20) + 1));
    let of_certificate = |file: &str| refusal(&["--tls-certificate", file, "--tls-key", &key]);
    let of_key = |file: &str| refusal(&["--tls-certificate", &good, "--tls-key", file]);
    let told = |name: &str, file: &str, text: &str| format!("--{name} {file}: {text}");
    let gone = "cannot read it: No such file or directory (os error 2)";
    assert_eq!(of_certificate(&missing), told("tls-certificate", &missing, gone));
    assert_eq!(of_key(&missing), told("tls-key", &missing, gone));
    assert_eq!(of_certificate(&empty), told("tls-certificate", &empty, "no -----BEGIN CERTIFICATE----- in it"));
    assert_eq!(of_certificate(&key), told("tls-certificate", &key, "no -----BEGIN CERTIFICATE----- in it"));
    assert!(of_certificate(&broken).starts_with(&told("tls-certificate", &broken, "not PEM: ")));
    let whole = fs::read_to_string(&good).unwrap();
    let torn = folder.write("torn.pem", &whole[..whole.len() / 2]);
    let text = "not PEM: there is no -----END CERTIFICATE----- behind its -----BEGIN CERTIFICATE-----";
    assert_eq!(of_certificate(&torn), told("tls-certificate", &torn, text));
    let odd = folder.write("odd.pem", "-----BEGIN CERTIFICATE\n");
    let text = "not PEM: a section begins with -----BEGIN CERTIFICATE";
    assert_eq!(of_certificate(&odd), told("tls-certificate", &odd, text));
    assert!(of_certificate(&hollow).starts_with(&told("tls-certificate", &hollow, "not a certificate: ")));
    assert_eq!(of_key(&good), told("tls-key", &good, "no -----BEGIN PRIVATE KEY----- in it"));
    let text = format!("it is not the key of the first certificate in {good}");
    assert_eq!(of_key(&other), told("tls-key", &other, &text));
    for kind in [["RSA", "rsa_keygen_bits:1024"], ["EC", "ec_paramgen_curve:P-521"]] {
        let file = folder.path("odd-key.pem");
        let words = ["genpkey", "-algorithm", kind[0], "-pkeyopt", kind[1], "-out", &file];
        assert!(Command::new("openssl").args(words).output().unwrap().status.success(), "{kind:?}");
        let text = "it is of no kind that is taken: RSA of 2048 to 4096 bits, ECDSA P-256 or P-384, Ed25519";
        assert_eq!(of_key(&file), told("tls-key", &file, text));
    }
    assert_eq!(
        of_key(&sealed),
        told("tls-key", &sealed, "it is encrypted; `openssl pkey -in KEY -out FILE` decrypts it")
    );
    assert_eq!(of_key(&huge), told("tls-key", &huge, "cannot read it: it has more than 1048576 bytes"));
    assert_eq!(
        of_key(&folder.path("")),
        told("tls-key", &folder.path(""), "cannot read it: Is a directory (os error 21)")
    );
    // It does not start with them either, and listens nowhere.
    let words = ["--listen", "tls:127.0.0.1:0", "--tls-certificate", &good, "--tls-key", &other];
    let output = encke().args(words).stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
}

#[test]
fn a_certificate_that_expires_is_told_of() {
    let folder = Folder::new();
    for (days, says) in
        [(-1i32, Some("the certificate has expired: ")), (13, Some("the certificate expires soon: ")), (15, None)]
    {
        folder.certify_with(|params| {
            let now = std::time::SystemTime::now();
            params.not_before = now.into();
            params.not_before -= std::time::Duration::from_secs(30 * 24 * 3_600);
            params.not_after = now.into();
            let day = std::time::Duration::from_secs(24 * 3_600);
            if days < 0 { params.not_after -= day } else { params.not_after += day * days.unsigned_abs() }
        });
        let options = folder.options();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let output = check(&options);
        assert!(output.status.success(), "{output:?}");
        let told = String::from_utf8(output.stderr).unwrap();
        match says {
            Some(text) => {
                let line = format!("encke: --tls-certificate {}: {text}", folder.path("cert.pem"));
                assert!(told.starts_with(&line) && told.lines().count() == 1, "{told}");
                let (process, _) = folder.serve(&[]);
                process.wait_for_log(&format!("WARN  --tls-certificate {}: {text}", folder.path("cert.pem")));
            }
            None => assert_eq!(told, ""),
        }
    }
}

#[test]
fn a_certificate_stays_as_long_as_the_place_that_needs_it() {
    let folder = Folder::new();
    let [_, certificate, _, key] = folder.options().try_into().unwrap();
    let both = format!("tls-certificate = {certificate:?}\ntls-key = {key:?}\n");
    let file = folder.write("encke.toml", &format!("listen = [\"tls:127.0.0.1:0\"]\n{both}"));
    let mut command = encke();
    command.args(["--config", &file]);
    let (process, _) = Process::launch(command, 1);
    process.signal("HUP");
    process.wait_for_log("new connections are shown the same certificate as before, which expires ");
    process.wait_for_log("the settings have not changed\n");
    folder.write("encke.toml", "");
    process.signal("HUP");
    process.wait_for_log(
        "ERROR listen is tls:127.0.0.1:0 until a restart: tls:127.0.0.1:0 needs tls-certificate and tls-key, which are \
        PEM files; the configuration stays as it was\n",
    );
}

#[test]
fn a_chain_is_sent_whole() {
    let folder = Folder::new();
    let certificate = fs::read_to_string(folder.path("cert.pem")).unwrap();
    let root = pem(&folder);
    folder.write("cert.pem", &format!("{certificate}\nwhat stands between is passed over\n{root}"));
    let (_process, addr) = folder.serve(&[]);
    let mut peer = Peer::new(&folder.client(&TLS13), addr);
    assert_eq!(peer.exchange(HEALTH).1, "ok\n");
    assert_eq!(peer.0.conn.peer_certificates().unwrap().len(), 2);
}

fn pem(folder: &Folder) -> String {
    let mut child = Command::new("openssl")
        .args(["x509", "-inform", "DER"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is there, as for the proxies");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &folder.root).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_certificate_that_nothing_uses_is_told_of() {
    let folder = Folder::new();
    let mut command = encke();
    command.args(["--listen", "127.0.0.1:0"]).args(folder.options());
    let (process, _) = Process::launch(command, 1);
    process.wait_for_log("WARN  tls-certificate is not used: no place in listen begins with tls:");
}

#[test]
fn a_socket_of_systemd_that_is_called_tls_speaks_tls() {
    let folder = Folder::new();
    let (secret, plain) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (at, other) = (secret.local_addr().unwrap(), plain.local_addr().unwrap());
    // The two come in place of stdin and stderr, and go to where systemd puts them.
    let script = "exec 3<&0 4<&2 </dev/null 2>/dev/null; export LISTEN_PID=$$; exec \"$@\"";
    let mut command = Command::new("sh");
    without_settings(&mut command);
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_encke")]).args(folder.options());
    command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "tls:connection");
    command.stdin(OwnedFd::from(secret)).stderr(OwnedFd::from(plain)).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()];
    let told = Peer::new(&folder.client(&TLS13), at).exchange(HEALTH).1;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        said,
        [format!("encke listening on https://{at}/cometd"), format!("encke listening on http://{other}/cometd")]
    );
    assert_eq!(told, "ok\n");
}
