//! A server on a thread of its own.
//!
//! Owns that thread, and what is known of its server elsewhere.

use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use super::{Builder, Handle, Listen};

/// What the thread is called.
const NAME: &str = "encke";

/// A server that runs on a thread of its own, from [`Builder::spawn`].
///
/// It runs on when this is dropped, as threads do; a [`Handle`] ends it. When the process ends it ends, too, without a word
/// to its clients: who wants them to be told calls [`Running::shutdown`].
#[derive(Debug)]
#[must_use = "dropped, it runs on, and only a handle can end it"]
pub struct Running {
    thread: JoinHandle<io::Result<()>>,
    handle: Handle,
    places: Places,
}

/// Where a server listens, as it said when it began to.
#[derive(Debug)]
struct Places {
    listening: Vec<Listen>,
    urls: Vec<String>,
}

impl Running {
    /// Builds and runs a server.
    pub(super) fn start(builder: Builder) -> io::Result<Self> {
        let handle = builder.handle();
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(NAME.to_owned()).spawn(move || {
            let server = builder.build()?;
            // Who has spawned it waits for that.
            let _ = sender.send(Places { listening: server.listening(), urls: server.urls() });
            server.run()
        })?;
        match receiver.recv() {
            Ok(places) => Ok(Self { thread, handle, places }),
            // It has ended before it could say where it listens.
            Err(_) => Err(ended(thread).err().unwrap_or_else(|| io::Error::other("the server ended at once"))),
        }
    }

    /// For other threads to publish with, and to stop it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where it listens, with real ports; as [`Server::listening`](super::Server::listening) at the start.
    pub fn listening(&self) -> &[Listen] {
        &self.places.listening
    }

    /// The addresses among the places where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.places.listening.iter().filter_map(Listen::address).collect()
    }

    /// The URLs of its Bayeux endpoint, as [`Server::urls`](super::Server::urls).
    pub fn urls(&self) -> &[String] {
        &self.places.urls
    }

    /// Whether it has ended, so that [`Running::join`] returns at once.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Has it end as [`Handle::shutdown`] does, and waits until it has.
    ///
    /// # Errors
    /// As [`Running::join`].
    ///
    /// # Panics
    /// As [`Running::join`].
    pub fn shutdown(self) -> io::Result<()> {
        // One that has ended is not there to be asked.
        let _ = self.handle.shutdown();
        self.join()
    }

    /// Waits until it has ended. It does not ask it to: see [`Handle::shutdown`].
    ///
    /// # Errors
    /// That with which [`Server::run`](super::Server::run) has ended. `Deadlock` if a hook of that very server asks.
    ///
    /// # Panics
    /// If the server's thread has panicked, with the same panic.
    pub fn join(self) -> io::Result<()> {
        ended(self.thread)
    }
}

/// How a thread has ended.
fn ended(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
    if thread.thread().id() == thread::current().id() {
        return Err(io::Error::new(io::ErrorKind::Deadlock, "a hook cannot wait for the end of its own server"));
    }
    thread.join().unwrap_or_else(|panic| resume_unwind(panic))
}
