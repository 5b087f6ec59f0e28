//! The files in `packaging/` fit the daemon: the configuration is good, and names every key with its default; the units
//! are what systemd understands.

#![cfg(all(feature = "daemon", unix))]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::process::run;
use encke::config::KEYS;

const PACKAGING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging");

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(PACKAGING).join(name)).unwrap()
}

/// A folder that is removed when this is dropped.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("encke-packaging-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What `encke check` prints of a file, key by key, without the comments.
fn checked(file: &str) -> Vec<(String, String)> {
    let (code, stdout, stderr) = run(&["check", "--config", file]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let lines = stdout.lines().filter_map(|line| line.trim_start_matches("# ").split_once(" = "));
    lines.map(|(key, value)| (key.to_owned(), value.split(" #").next().unwrap().trim().to_owned())).collect()
}

/// The line of a key with its # taken away, or None if the line is no key's.
fn enabled(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.trim_start_matches("# ").split_once(" = ")?;
    KEYS.iter().any(|own| own.name == key).then_some((key, value))
}

#[test]
fn the_example_configuration_is_good_as_it_stands_and_changes_nothing() {
    let folder = Folder::new("as-it-stands");
    let (nothing, example) = (folder.write("nothing.toml", ""), folder.write("encke.toml", &text("encke.toml")));
    assert_eq!(checked(&example), checked(&nothing));
}

#[test]
fn the_example_configuration_has_every_key_with_its_default() {
    let example = text("encke.toml");
    let said: Vec<(&str, &str)> = example.lines().filter_map(enabled).collect();
    let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(said.iter().map(|(key, _)| *key).collect::<Vec<_>>(), names);
    let folder = Folder::new("every-key");
    // What the first may be is up to the machine, and the others have no default.
    let varies = ["max-connections", "http-token", "tls-certificate", "tls-key"];
    let said = said.iter().filter(|(key, _)| !varies.contains(key));
    let whole: String = said.map(|(key, value)| format!("{key} = {value}\n")).collect();
    let (nothing, whole) = (folder.write("nothing.toml", ""), folder.write("whole.toml", &whole));
    assert_eq!(checked(&whole), checked(&nothing));
}

/// The value of a line of a unit.
fn setting<'a>(unit: &'a str, name: &str) -> &'a str {
    let mut lines = unit.lines().filter_map(|line| line.split_once('='));
    lines.find(|(own, _)| *own == name).unwrap_or_else(|| panic!("no {name}= in:\n{unit}")).1
}

#[test]
fn systemd_waits_longer_than_clients_get_to_leave() {
    let stop = setting(&text("encke.service"), "TimeoutStopSec").parse().map(Duration::from_secs).unwrap();
    let leave = Duration::from_millis(encke::server::Settings::default().shutdown_ms.into());
    assert!(stop > leave, "{stop:?}, {leave:?}");
}

#[test]
fn the_units_and_the_example_configuration_agree() {
    let (service, socket) = (text("encke.service"), text("encke.socket"));
    let command = setting(&service, "ExecStart");
    assert_eq!(command, "/usr/bin/encke --config /etc/encke/encke.toml");
    assert!(service.contains("ExecReload=/usr/bin/encke check --config /etc/encke/encke.toml\n"));
    assert_eq!(setting(&socket, "ListenStream"), encke::server::Listen::Tcp(([127, 0, 0, 1], 8080).into()).to_string());
    assert_eq!(setting(&socket, "Backlog"), encke::server::builder::BACKLOG.to_string());
    // A socket there would go with the service.
    assert_eq!(setting(&service, "RuntimeDirectory"), "encke");
    assert!(!socket.contains("ListenStream=/run/encke/"));
}

#[test]
fn systemd_understands_the_units() {
    let folder = Folder::new("units");
    // It complains of a program that is not there.
    let service = text("encke.service").replace("/usr/bin/encke", env!("CARGO_BIN_EXE_encke"));
    let units = [folder.write("encke.service", &service), folder.write("encke.socket", &text("encke.socket"))];
    let Ok(output) = Command::new("systemd-analyze").arg("verify").args(&units).output() else {
        return eprintln!("no systemd-analyze here: the units are not verified");
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("encke.s")).collect();
    assert!(output.status.success() && ours.is_empty(), "{}: {said}", output.status);
}
