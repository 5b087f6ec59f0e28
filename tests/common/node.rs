//! Programs that drive a daemon, most of them for Node.js: real clients, and real browsers.
//!
//! A scenario is `SCENARIO.mjs` in a directory with a `package-lock.json`, run as `node SCENARIO.mjs URL WORD…`. It
//! ends with the line `@@passed` and exit code 0, or it fails. `@@kill` and `@@restart` on its stdout ask for that to be
//! done to the daemon; the same word comes back on its stdin when it is done.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Daemon, Log};

const OLDEST_NODE: u32 = 18;

/// A scenario that takes longer has hung. The scenarios notice that earlier, and say for what they waited.
const HUNG_AFTER: Duration = Duration::from_secs(300);
/// An installation by another process that takes longer has been abandoned.
const INSTALL_LIMIT: Duration = Duration::from_secs(300);

/// A directory of scenarios.
pub struct Scenarios {
    directory: &'static str,
    opt_out: &'static str,
    prepared: OnceLock<Result<(), String>>,
}

impl Scenarios {
    /// The scenarios of this directory; the environment variable with value 1 leaves them out.
    pub const fn new(directory: &'static str, opt_out: &'static str) -> Self {
        Self { directory, opt_out, prepared: OnceLock::new() }
    }

    /// Runs a scenario against a daemon with these options.
    pub fn run(&self, scenario: &str, words: &[&str], options: &[&str]) {
        #[cfg(feature = "tls")]
        if super::tls::is_wanted() && !self.looks_at_bytes(scenario) {
            return self.run_over_tls(scenario, words, options);
        }
        self.run_by(Daemon::start, (scenario, words), options);
    }

    /// The same over TLS.
    #[cfg(feature = "tls")]
    pub fn run_over_tls(&self, scenario: &str, words: &[&str], options: &[&str]) {
        self.run_by(super::tls::start, (scenario, words), options);
    }

    fn run_by(&self, start: fn(&[&str]) -> Daemon, (scenario, words): (&str, &[&str]), options: &[&str]) {
        if left_out(self.opt_out, &format!("{scenario} {}", words.join(" "))) {
            return;
        }
        let mut daemon = start(options);
        let url = daemon.url().to_owned();
        self.run_against(&mut daemon, scenario, &url, words);
    }

    /// Whether a scenario stands between client and daemon, where TLS is not to be understood.
    #[cfg(feature = "tls")]
    fn looks_at_bytes(&self, scenario: &str) -> bool {
        let path = Path::new(self.directory).join(format!("{scenario}.mjs"));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).contains("relay.mjs")
    }

    /// Runs a scenario against this daemon, which it reaches at this URL.
    ///
    /// # Panics
    /// When it fails, or the daemon has ended or complains.
    pub fn run_against(&self, daemon: &mut Daemon, scenario: &str, url: &str, words: &[&str]) {
        let command = self.command(scenario, url, words);
        follow(command, daemon, &format!("{scenario} {}", words.join(" ")));
    }

    /// Runs a scenario that has nothing done to the server, which is no daemon and is reached at this URL.
    ///
    /// # Panics
    /// When it fails.
    pub fn run_at(&self, scenario: &str, url: &str, words: &[&str]) {
        let name = format!("{scenario} {}", words.join(" "));
        if left_out(self.opt_out, &name) {
            return;
        }
        let output =
            self.command(scenario, url, words).stdin(Stdio::null()).output().expect("it was there a moment ago");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let passed = output.status.success() && stdout.lines().any(|line| line == "@@passed");
        assert!(passed, "{}: {name}\n--- it wrote:\n{stdout}{stderr}---", output.status);
    }

    /// What runs a scenario; all that it needs is installed then.
    fn command(&self, scenario: &str, url: &str, words: &[&str]) -> Command {
        self.install();
        let mut command = Command::new("node");
        command.arg(format!("{scenario}.mjs")).arg(url).args(words).current_dir(self.directory);
        // Faye would go through a proxy even to this machine.
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "NODE_OPTIONS"] {
            command.env_remove(name);
        }
        #[cfg(feature = "tls")]
        super::tls::trust(&mut command);
        command
    }

    /// Installs what the scenarios need, if it is not there yet.
    ///
    /// # Panics
    /// When that fails.
    pub fn install(&self) {
        if let Err(error) = self.prepared.get_or_init(|| self.prepare()) {
            panic!("{error}");
        }
    }

    /// Sees to it that Node is there and what the scenarios need is installed.
    fn prepare(&self) -> Result<(), String> {
        let opt_out = self.opt_out;
        let advice = format!(
            "these tests need Node.js {OLDEST_NODE} or later with npm (Debian: apt-get install nodejs npm); \
             {opt_out}=1 leaves them out"
        );
        let version = output_of("node").map_err(|error| format!("node --version: {error}; {advice}"))?;
        let major = version.trim().trim_start_matches('v').split('.').next().and_then(|word| word.parse::<u32>().ok());
        if major.is_none_or(|major| major < OLDEST_NODE) {
            return Err(format!("node --version says {:?}; {advice}", version.trim()));
        }
        let directory = Path::new(self.directory);
        let wanted = read(&directory.join("package-lock.json"))?;
        let stamp = directory.join("node_modules/.installed-by-tests");
        let installed = || read(&stamp).is_ok_and(|text| text == wanted);
        if installed() {
            return Ok(());
        }
        let _lock = Lock::take(directory)?;
        if installed() {
            return Ok(());
        }
        output_of("npm").map_err(|error| format!("npm --version: {error}; {advice}"))?;
        let output = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("npm ci: {error}; {advice}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let place = directory.display();
            return Err(format!("npm ci in {place}: {}\n{said}\n{opt_out}=1 leaves these tests out", output.status));
        }
        fs::write(&stamp, wanted).map_err(|error| format!("{}: {error}", stamp.display()))
    }
}

/// Whether this environment variable asks to leave something out; if so, says that it is.
pub fn left_out(opt_out: &str, what: &str) -> bool {
    let asked = std::env::var_os(opt_out).is_some_and(|value| value == "1");
    if asked {
        // Straight to stderr: the capture of passing tests must not swallow it.
        let _ = io::stderr().write_all(format!("\n*** SKIPPED, because {opt_out}=1: {what}\n").as_bytes());
    }
    asked
}

/// What a program says its version is.
pub fn output_of(program: &str) -> Result<String, String> {
    let output = Command::new(program).arg("--version").output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(output.status.to_string());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program that is a scenario to its end.
///
/// # Panics
/// When it fails, or the daemon has ended or complains.
pub fn follow(command: Command, daemon: &mut Daemon, name: &str) {
    let mut program = Program::start(command);
    let verdict = program.follow(daemon);
    let told = format!("{name}\n--- it wrote:\n{}---", program.log.text());
    match verdict {
        Err(error) => panic!("{error}: {told}"),
        Ok((status, passed)) => assert!(status.success() && passed, "{status}: {told}"),
    }
    assert!(daemon.is_running(), "the daemon has ended: {told}");
    for bad in ["panicked", "a bug in encke"] {
        assert!(!daemon.stderr().contains(bad), "the daemon wrote {bad:?}: {told}");
    }
}

/// A running scenario; ends when dropped.
struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: Log,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was there a moment ago");
        let log = Log::default();
        let (stderr, sink) = (child.stderr.take().expect("a pipe"), log.clone());
        std::thread::spawn(move || sink.copy_from(stderr));
        let (stdout, sink) = (child.stdout.take().expect("a pipe"), log.clone());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                sink.copy_from(format!("{line}\n").as_bytes());
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, log }
    }

    /// Does what the scenario asks for until it ends; whether it said that it passed.
    fn follow(&mut self, daemon: &mut Daemon) -> Result<(ExitStatus, bool), String> {
        let end = Instant::now() + HUNG_AFTER;
        let mut passed = false;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => match line.strip_prefix("@@") {
                    Some("passed") => passed = true,
                    Some(command) => {
                        match command {
                            "kill" => daemon.kill(),
                            "restart" => daemon.restart(),
                            _ => return Err(format!("the scenario asked for {command:?}")),
                        }
                        let stdin = self.child.stdin.as_mut().expect("a pipe");
                        writeln!(stdin, "{command}").map_err(|error| format!("it listens no more: {error}"))?;
                    }
                    None => {}
                },
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => return Err("hung".to_owned()),
            }
        }
        // Its stdout has ended, and so has it.
        self.child.wait().map(|status| (status, passed)).map_err(|error| error.to_string())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Keeps other test processes from installing at the same time.
pub struct Lock(PathBuf);

impl Lock {
    /// Takes it, once nobody else has it.
    ///
    /// # Errors
    /// When that cannot be.
    pub fn take(directory: &Path) -> Result<Self, String> {
        let mut name = DefaultHasher::new();
        directory.hash(&mut name);
        let path = std::env::temp_dir().join(format!("encke-tests-{:016x}.lock", name.finish()));
        loop {
            match fs::File::create_new(&path) {
                Ok(_) => return Ok(Self(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
            // A process that was ended while it installed leaves its lock behind.
            let age = fs::metadata(&path).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > INSTALL_LIMIT) {
                let _ = fs::remove_file(&path);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
