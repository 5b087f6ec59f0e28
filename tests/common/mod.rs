//! What the tests of the whole daemon share: the `encke` process itself, on a port of its own.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

pub mod browser;
pub mod folder;
pub mod node;
pub mod peer;
pub mod port;
pub mod process;
#[cfg(feature = "tls")]
pub mod tls;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use port::Port;

/// How long the daemon may take to say where it listens; far more than it ever needs.
const START_LIMIT: Duration = Duration::from_secs(60);

/// The program, without the configuration that the environment of the tests may hold.
pub fn encke() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_encke"));
    without_settings(&mut command);
    command
}

/// Takes every variable away from a command that would configure `encke`.
pub fn without_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ENCKE_")) {
        command.env_remove(name);
    }
}

/// A running `encke`. It ends, by its own pid, when this is dropped.
pub struct Daemon {
    child: Child,
    /// What stands before the address in `listen`.
    way: &'static str,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    addr: SocketAddr,
    url: String,
    /// Where it listened, from its end to its next life.
    kept: Option<Port>,
    log: Log,
}

impl Daemon {
    /// Starts `encke` on a free port of 127.0.0.1 with these options, as on the command line.
    ///
    /// # Panics
    /// When it does not come up; the panic shows what it wrote to stderr.
    pub fn start(options: &[&str]) -> Self {
        Self::start_with_env(options, &[])
    }

    /// The same, with these variables in its environment.
    ///
    /// # Panics
    /// When it does not come up; the panic shows what it wrote to stderr.
    pub fn start_with_env(options: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_by("", options, environment)
    }

    /// The same, listening for plain connections (`""`) or for others (`"tls:"`).
    ///
    /// # Panics
    /// When it does not come up; the panic shows what it wrote to stderr.
    pub fn start_by(way: &'static str, options: &[&str], environment: &[(&str, &str)]) -> Self {
        let options: Vec<String> = options.iter().map(|&word| word.to_owned()).collect();
        let environment: Vec<_> =
            environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let log = Log::default();
        let (child, url) = launch(&format!("{way}127.0.0.1:0"), (&options, &environment), &log);
        let addr = address_in(&url);
        Self { child, way, options, environment, addr, url, kept: None, log }
    }

    /// The URL of the Bayeux endpoint, as the daemon said it: `http://127.0.0.1:PORT/cometd`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The process, of now: a restart changes it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that it wrote to stderr until now, the lives before a restart included.
    pub fn stderr(&self) -> String {
        self.log.text()
    }

    /// Waits until stderr holds this text. Logging is not synchronous with the answer a client sees.
    ///
    /// # Panics
    /// When it is not there after a long while.
    pub fn wait_for_stderr(&self, text: &str) {
        for _ in 0..600 {
            if self.log.text().contains(text) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("stderr never said {text:?}:\n{}", self.log.text());
    }

    /// Is the process there still?
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it this signal, such as `USR1`.
    ///
    /// # Panics
    /// When that fails.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(sent.success(), "kill -s {name}");
    }

    /// Ends it at once (SIGKILL), as a crash would; clients see their connections break.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.kept.get_or_insert_with(|| Port::at(self.addr));
    }

    /// Starts it again on the same port with the same options, ending it first if it still runs.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        self.kill();
        let (child, url) = launch(&format!("{}{}", self.way, self.addr), (&self.options, &self.environment), &self.log);
        assert_eq!(url, self.url, "a restarted daemon listens where it did before");
        self.child = child;
        self.kept = None;
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // As above.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- encke wrote to stderr:\n{}---", self.log.text());
        }
    }
}

/// Starts the process and returns it with the URL of its first line.
fn launch(listen: &str, said: (&[String], &[(String, String)]), log: &Log) -> (Child, String) {
    let (options, environment) = said;
    let mut child = encke()
        .args(["--listen", listen])
        .args(options)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("encke starts");
    let stdout = child.stdout.take().expect("stdout is a pipe");
    let stderr = child.stderr.take().expect("stderr is a pipe");
    // Both are read to their end, so that the daemon never waits for a full pipe.
    let sink = log.clone();
    std::thread::spawn(move || sink.copy_from(stderr));
    let said = Arc::new((Mutex::new(None::<String>), Condvar::new()));
    let sayer = Arc::clone(&said);
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stdout);
        let mut first = String::new();
        let _ = lines.read_line(&mut first);
        *sayer.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(first);
        sayer.1.notify_all();
        let _ = std::io::copy(&mut lines, &mut std::io::sink());
    });
    let none_yet = said.0.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut first, _) =
        said.1.wait_timeout_while(none_yet, START_LIMIT, |line| line.is_none()).unwrap_or_else(PoisonError::into_inner);
    let first = first.take().unwrap_or_default();
    if let Some(url) = first.trim_end().strip_prefix("encke listening on ") {
        return (child, url.to_owned());
    }
    let _ = child.kill();
    let _ = child.wait();
    // The pipe has ended with the process; its reader needs a moment to say so.
    std::thread::sleep(Duration::from_millis(200));
    panic!("encke did not come up with {options:?}; stdout {first:?}, stderr:\n{}", log.text());
}

/// The address within `http://ADDRESS/path`, or `https:`.
fn address_in(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once("://").expect("it is a URL");
    let authority = rest.split('/').next().unwrap_or(rest);
    authority.parse().unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// What a process wrote, collected by a thread.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Reads to the end.
    pub fn copy_from(&self, mut from: impl Read) {
        let mut part = [0; 4096];
        loop {
            match from.read(&mut part) {
                Ok(0) => return,
                Ok(n) => self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&part[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    /// What came until now.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}
