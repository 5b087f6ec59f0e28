//! The daemon as a process whose signals, log and end matter.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use super::peer::{LOOKS, PAUSE, eventually};
use super::{Log, encke};

/// A process whose end matters. It is killed when this is dropped.
pub struct Process {
    child: Child,
    pub log: Log,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- encke wrote to stderr:\n{}---", self.log.text());
        }
    }
}

impl Process {
    /// The daemon on a free port, with these options, and debug lines in its log; and where it listens.
    pub fn start(options: &[&str]) -> (Self, SocketAddr) {
        let mut command = encke();
        command.env("RUST_LOG", "encke=debug").args(["--listen", "127.0.0.1:0"]).args(options);
        let (process, lines) = Self::launch(command, 1);
        let addr = lines[0].strip_prefix("encke listening on http://").unwrap().strip_suffix("/cometd").unwrap();
        (process, addr.parse().unwrap())
    }

    /// Runs a command and reads so many lines of its stdout.
    pub fn launch(mut command: Command, lines: usize) -> (Self, Vec<String>) {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let log = Log::default();
        let (sink, stderr) = (log.clone(), child.stderr.take().unwrap());
        thread::spawn(move || sink.copy_from(stderr));
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let process = Self { child, log };
        let said: Vec<String> = stdout.by_ref().lines().take(lines).map(Result::unwrap).collect();
        // Read to its end, so that nothing that the process says later fails.
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        assert_eq!(said.len(), lines, "{said:?}");
        (process, said)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    pub fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("it ends", || child.try_wait().unwrap())
    }

    pub fn wait_for_log(&self, text: &str) {
        for _ in 0..LOOKS {
            if self.log.text().contains(text) {
                return;
            }
            thread::sleep(PAUSE);
        }
        panic!("never logged: {text}");
    }
}

/// What a program that ended has left: its exit code, stdout and stderr.
pub fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = encke();
    let mut child =
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let logs = [Log::default(), Log::default()];
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut process = Process { child, log: logs[1].clone() };
    let [stdout, stderr] = logs.clone();
    let readers = [thread::spawn(move || stdout.copy_from(out)), thread::spawn(move || stderr.copy_from(err))];
    let code = process.wait().code();
    for reader in readers {
        reader.join().unwrap();
    }
    (code, logs[0].text(), logs[1].text())
}
