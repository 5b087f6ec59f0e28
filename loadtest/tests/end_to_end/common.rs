//! The program and what it is run against, as processes.

use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_encke-loadtest");

/// A server that ends with the test.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

impl Server {
    /// A floor.
    pub(crate) fn floor(options: &[&str]) -> Self {
        Self::start(Command::new(PROGRAM).arg("floor").args(options), "floor listening on ")
    }

    /// The daemon.
    pub(crate) fn encke(options: &str) -> Self {
        let mut command = Command::new(daemon());
        command.args(["--listen", "127.0.0.1:0"]).args(options.split_ascii_whitespace()).stderr(Stdio::null());
        Self::start(&mut command, "encke listening on ")
    }

    fn start(command: &mut Command, greeting: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        stdout.read_line(&mut line).expect("a line");
        // Whatever else it says must find a reader.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let url = line.trim().strip_prefix(greeting).expect("the line says where").to_owned();
        Self { child, url }
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Begins a scenario against it, which writes its figures to a file of that name.
    pub(crate) fn begin(&self, scenario: &str, name: &str, options: &str) -> Child {
        let mut command = Command::new(PROGRAM);
        command.args([scenario, "--url", &self.url, "--json"]).arg(file(name)).args(options.split_ascii_whitespace());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
    }

    /// Runs a scenario against it; gives what it printed and the figures.
    pub(crate) fn run(&self, scenario: &str, name: &str, options: &str) -> (Output, Value) {
        let output = self.begin(scenario, name, options).wait_with_output().expect("it runs");
        (output, figures(name))
    }

    /// Runs a scenario in which all must be as expected; gives the figures.
    pub(crate) fn run_well(&self, scenario: &str, name: &str, options: &str) -> Value {
        let (output, figures) = self.run(scenario, name, options);
        assert_well(&output, options);
        assert_eq!(figures["ok"], true, "{scenario} {options}");
        figures
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn assert_well(output: &Output, what: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{what}: {text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("all as expected"), "{what}: {text}");
}

/// Where figures of that name are.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

pub(crate) fn figures(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(file(name)).expect("it wrote the figures")).unwrap_or_default()
}

/// Builds the daemon where this program was built, unless it is up to date. Cargo holds no lock while tests run.
fn daemon() -> &'static Path {
    static DAEMON: OnceLock<PathBuf> = OnceLock::new();
    DAEMON.get_or_init(|| {
        let folder = Path::new(PROGRAM).parent().expect("a folder");
        let profile = folder.file_name().and_then(|name| name.to_str()).expect("the name of a profile");
        let profile = if profile == "debug" { "dev" } else { profile };
        let status = Command::new(env!("CARGO"))
            // Both packages, so that it is the same build as that of the workspace.
            .args(["build", "--quiet", "--locked", "--package", "encke", "--package", "encke-loadtest"])
            .args(["--bin", "encke", "--profile", profile])
            .arg("--target-dir")
            .arg(folder.parent().expect("the target folder"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .expect("cargo runs");
        assert!(status.success(), "the daemon is not built");
        folder.join("encke")
    })
}
