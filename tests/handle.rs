//! A server inside another program: built with hooks that have its handle, run on its own thread or in a loop of the
//! program's, and used from many threads at once.

#![cfg(all(feature = "daemon", unix))]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::peer::{LIMIT, LOOKS, PAUSE, Peer, connect, eventually, glance, post};
use encke::hooks::{Admission, Hooks, Query, SecurityPolicy, Session, Verdict};
use encke::limits::Limits;
use encke::server::{Asked, Batch, Builder, Handle, HandleError, Running, Server, Settings};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde_json::{Value, json};

/// Threads that use one handle.
const THREADS: usize = 8;

// What may go to other threads.
const fn goes<T: Send>() {}
const fn is_shared<T: Sync>() {}
const _: () = {
    goes::<Handle>();
    is_shared::<Handle>();
    goes::<Batch>();
    is_shared::<Batch>();
    goes::<HandleError>();
    goes::<Builder>();
    goes::<Running>();
    is_shared::<Running>();
};

/// A server to be built, whose sessions and connects stay for as long as the test takes.
fn patient(limits: Limits) -> Builder {
    let mut settings = Settings { limits, shutdown_ms: 3_600_000, ..Settings::default() };
    settings.broker.max_lazy_ms = 50;
    settings.broker.timeout_ms = 3_600_000;
    settings.broker.max_interval_ms = 3_600_000;
    Server::builder().listen([SocketAddr::from(([127, 0, 0, 1], 0))]).settings(settings)
}

/// Tells it to end, and waits until it has.
fn stop(server: Running) {
    server.handle().stop().unwrap();
    server.join().unwrap();
}

/// Whether something comes about. Who waits for threads must not panic before they can end.
fn happens(mut look: impl FnMut() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        thread::sleep(PAUSE);
        look()
    })
}

/// A client that holds a connect, and has subscribed before.
fn listener(server: &Running, channel: &str) -> Peer {
    let mut peer = Peer::new(server.addresses()[0]);
    let id = peer.session();
    peer.subscribe(&id, channel);
    peer.send(post(&connect(&id)));
    peer
}

/// The data of the events in an answer.
fn data(answer: &Value) -> Vec<Value> {
    answer.as_array().unwrap().iter().filter_map(|message| message.get("data").cloned()).collect()
}

#[test]
fn a_handle_is_there_before_its_server() {
    let builder = patient(Limits { mailbox_commands: 2, ..Limits::default() });
    let handle = builder.handle();
    assert_eq!(handle.publish("/a", "1"), Ok(()));
    assert_eq!(handle.publish_batch([("/a", "2"), ("/a", "3")]), Ok(()));
    assert_eq!(builder.handle().publish("/a", "4"), Err(HandleError::Full), "its bounds are those of the builder");
    assert_eq!(handle.counters().published, 0);
    let builder = builder
        .settings(Settings { limits: Limits { mailbox_commands: 3, ..Limits::default() }, ..Settings::default() });
    let builder = builder.listen([SocketAddr::from(([127, 0, 0, 1], 0))]);
    assert_eq!(handle.publish("/a", "4"), Ok(()));
    assert_eq!(handle.publish("/a", "5"), Err(HandleError::Full));
    let server = builder.spawn().unwrap();
    eventually("all is published", || (handle.counters().published == 4).then_some(()));
    stop(server);
    assert_eq!(handle.publish("/a", "6"), Err(HandleError::Closed));
    assert_eq!(handle.counters().published, 4, "what it has left");
}

#[test]
fn a_builder_that_builds_nothing_closes_its_handles() {
    let builder = patient(Limits::default());
    let handle = builder.handle();
    assert_eq!(handle.shutdown(), Ok(()));
    drop(builder);
    assert_eq!(handle.publish("/a", "1"), Err(HandleError::Closed));
    assert_eq!(handle.publish_batch([("/a", "1")]), Err(HandleError::Closed));
    assert_eq!(handle.shutdown(), Err(HandleError::Closed));
}

#[test]
fn who_spawns_a_server_hears_why_it_could_not_be_built() {
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let builder = patient(Limits::default()).listen([taken.local_addr().unwrap()]);
    let handle = builder.handle();
    let error = builder.spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse, "{error}");
    assert_eq!(handle.publish("/a", "1"), Err(HandleError::Closed));
    let error = patient(Limits::default()).mount("nowhere").spawn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

#[test]
fn a_spawned_server_serves_until_it_is_told_to_end() {
    let server = patient(Limits::default()).spawn().unwrap();
    assert_eq!(server.urls(), [format!("http://{}/cometd", server.addresses()[0])]);
    assert_eq!(server.listening().len(), 1);
    let handle = server.handle();
    let mut client = listener(&server, "/a");
    eventually("its connect is held", || (handle.census().parked == 1).then_some(()));
    assert_eq!((handle.census().sessions, handle.census().topics), (1, 1));
    assert!(!server.is_finished());
    let ending = thread::spawn(|| server.shutdown());
    assert_eq!(client.response().json()[0]["advice"]["reconnect"], "retry", "its connect ends as it should");
    drop(client);
    ending.join().unwrap().unwrap();
    assert_eq!(handle.publish("/a", "1"), Err(HandleError::Closed));
}

#[test]
fn a_server_runs_on_without_whoever_has_spawned_it() {
    let server = patient(Limits::default()).spawn().unwrap();
    let (handle, address) = (server.handle(), server.addresses()[0]);
    drop(server);
    Peer::new(address).session();
    handle.stop().unwrap();
    eventually("it has ended", || (handle.stop() == Err(HandleError::Closed)).then_some(()));
}

/// Panics at the first handshake.
struct Careless;

impl SecurityPolicy for Careless {
    fn can_handshake(&mut self, _: &Query<'_>, _: &mut Admission) -> Verdict {
        panic!("careless");
    }
}

#[test]
fn who_joins_a_server_that_has_panicked_panics_with_it() {
    let server = patient(Limits::default()).hooks(Hooks::default().policy(Careless)).spawn().unwrap();
    let handle = server.handle();
    Peer::new(server.addresses()[0]).send(post(&json!({"channel": "/meta/handshake"})));
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.join())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"careless"));
    assert_eq!(handle.publish("/a", "1"), Err(HandleError::Closed));
}

/// Uses its handle for everything whenever it is asked, on the loop's own thread.
struct Busy {
    handle: Handle,
    said: Arc<Mutex<Vec<String>>>,
}

impl SecurityPolicy for Busy {
    fn can_publish(&mut self, _: &Query<'_>, _: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        let mut batch = self.handle.batch();
        batch.publish("/log", "2").unwrap();
        batch.publish_lazy("/log", "3").unwrap();
        let did = [
            self.handle.publish("/log", "1"),
            batch.send(),
            self.handle.publish_batch([("/log", "4"), ("/log", "5")]),
            self.handle.publish_lazy("/log", "6"),
            self.handle.disconnect_client("nobody"),
            if channel == "/end" { self.handle.shutdown() } else { Ok(()) },
        ];
        let sessions = (self.handle.census().sessions, self.handle.counters().sessions_added);
        self.said.lock().unwrap().push(format!("{channel} {did:?} {sessions:?}"));
        Verdict::Allow
    }
}

#[test]
fn a_hook_uses_its_handle_on_the_loops_own_thread() {
    let builder = patient(Limits::default());
    let said = Arc::default();
    let policy = Busy { handle: builder.handle(), said: Arc::clone(&said) };
    let server = builder.hooks(Hooks::default().policy(policy)).spawn().unwrap();
    let mut client = listener(&server, "/log");
    let mut publisher = Peer::new(server.addresses()[0]);
    let id = publisher.handshake();
    publisher.publish(&id, "/a", 1);
    assert_eq!(data(&client.response().json()), [1, 2, 3, 4, 5, 6]);
    publisher.publish(&id, "/end", 1);
    drop((publisher, client));
    server.join().unwrap();
    let all = format!("{:?}", [Ok::<(), HandleError>(()); 6]);
    assert_eq!(*said.lock().unwrap(), [format!("/a {all} (2, 2)"), format!("/end {all} (2, 2)")]);
}

#[test]
fn a_batch_comes_in_one_answer_and_is_taken_as_a_whole_or_not_at_all() {
    let server = patient(Limits::default()).spawn().unwrap();
    let handle = server.handle();
    let mut client = listener(&server, "/a/*");
    eventually("its connect is held", || (handle.census().parked == 1).then_some(()));
    for (events, error) in [
        ([("/a/b", "1"), ("/a/*", "2")], HandleError::Channel),
        ([("/a/b", "1"), ("/service/b", "2")], HandleError::Channel),
        ([("/a/b", "1"), ("/a/b", "{")], HandleError::Data),
    ] {
        assert_eq!(handle.publish_batch(events), Err(error));
    }
    let all: Vec<Value> = (0..1_000).map(Value::from).collect();
    let mut batch = handle.batch();
    for n in &all {
        batch.publish(&format!("/a/{}", n.as_u64().unwrap() % 7), &n.to_string()).unwrap();
    }
    assert_eq!(batch.publish("/meta/connect", "1"), Err(HandleError::Channel));
    assert_eq!((batch.len(), batch.send(), batch.is_empty()), (1_000, Ok(()), true));
    assert_eq!(data(&client.response().json()), all);
    stop(server);
    assert_eq!(handle.counters().published, 1_000);
}

/// What one of many threads publishes: by turns alone, lazily, and in batches.
fn publish_all(handle: &Handle, thread: usize, events: usize, full: &AtomicUsize) {
    let channel = format!("/load/{thread}");
    let text = |n: usize| format!(r#"{{"thread":{thread},"n":{n}}}"#);
    let mut n = 0;
    while n < events {
        let some = n..events.min(n + 1 + n % 5);
        let sent = match n % 3 {
            0 => handle.publish(&channel, &text(n)).map(|()| 1),
            1 => handle.publish_lazy(&channel, &text(n)).map(|()| 1),
            _ => handle.publish_batch(some.clone().map(|n| (&channel, text(n)))).map(|()| some.len()),
        };
        match sent {
            Ok(more) => n += more,
            Err(HandleError::Full) => {
                full.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(100));
            }
            Err(error) => panic!("thread {thread}: {error}"),
        }
    }
}

/// Has the loop wait, at a publish to `/gate`, until the test lets it go on.
struct Gate {
    closed: mpsc::Sender<()>,
    open: mpsc::Receiver<()>,
}

impl SecurityPolicy for Gate {
    fn can_publish(&mut self, _: &Query<'_>, _: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        if channel == "/gate" {
            self.closed.send(()).unwrap();
            self.open.recv().unwrap();
        }
        Verdict::Allow
    }
}

/// Hears all that the threads publish, with one connect after the other; each thread's events in the order in which it
/// has heard them.
fn hear_all(mut client: Peer, id: &str, events: usize) -> Vec<Vec<u64>> {
    let mut heard = vec![Vec::new(); THREADS];
    while heard.iter().map(Vec::len).sum::<usize>() < events {
        for event in data(&client.say(&connect(id))) {
            heard[event["thread"].as_u64().unwrap() as usize].push(event["n"].as_u64().unwrap());
        }
    }
    heard
}

#[test]
fn eight_threads_lose_nothing_and_each_keeps_its_order() {
    const EVENTS: usize = 600;
    let ((closed, is_closed), (opener, open)) = (mpsc::channel(), mpsc::channel());
    // A small mailbox, so that all of them meet its bounds.
    let limits = Limits { mailbox_commands: 16, mailbox_bytes: 8 * 1024, ..Limits::default() };
    let server = patient(limits).hooks(Hooks::default().policy(Gate { closed, open })).spawn().unwrap();
    let (handle, full) = (server.handle(), [const { AtomicUsize::new(0) }; THREADS]);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let mut client = Peer::new(server.addresses()[0]);
                let id = client.session();
                client.subscribe(&id, "/load/*");
                scope.spawn(move || hear_all(client, &id, THREADS * EVENTS))
            })
            .collect();
        let mut keeper = Peer::new(server.addresses()[0]);
        let id = keeper.handshake();
        keeper.send(post(&json!({"channel": "/gate", "clientId": id, "data": 1})));
        is_closed.recv().unwrap();
        let handle = &handle;
        for (thread, full) in full.iter().enumerate() {
            scope.spawn(move || publish_all(handle, thread, EVENTS, full));
        }
        let told = happens(|| full.iter().all(|times| times.load(Ordering::Relaxed) > 0));
        opener.send(()).unwrap();
        assert!(told, "each of them is told that the mailbox is full: {full:?}");
        let order: Vec<u64> = (0..EVENTS as u64).collect();
        for client in clients {
            assert!(client.join().unwrap().iter().all(|heard| *heard == order));
        }
    });
    stop(server);
    assert_eq!(handle.counters().published, (THREADS * EVENTS + 1) as u64);
}

#[test]
fn a_server_that_ends_in_the_middle_tells_all_threads_so() {
    let server = patient(Limits { mailbox_commands: 64, ..Limits::default() }).spawn().unwrap();
    let handle = server.handle();
    let mut client = listener(&server, "/quiet");
    thread::scope(|scope| {
        let publish = |thread: usize| {
            for n in 0_u64.. {
                let done = match (n + thread as u64) % 3 {
                    0 => handle.publish("/a", "1"),
                    1 => handle.publish_batch([("/a", "1"), ("/b", "2")]),
                    _ => handle.disconnect_client("nobody"),
                };
                match done {
                    Ok(()) => {}
                    Err(HandleError::Full) => thread::yield_now(),
                    Err(error) => return error,
                }
            }
            unreachable!("it never ends by itself")
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || publish(thread))).collect();
        eventually("they publish", || (handle.counters().published > 1_000).then_some(()));
        handle.shutdown().unwrap();
        assert_eq!(
            client.response().field("Connection"),
            Some("close"),
            "who waits is told, however much is published"
        );
        drop(client);
        let ended = happens(|| server.is_finished());
        if !ended {
            handle.stop().unwrap();
        }
        for thread in threads {
            assert_eq!(thread.join().unwrap(), HandleError::Closed);
        }
        assert!(ended, "when all clients have gone, whatever threads do");
    });
    server.join().unwrap();
}

/// Serves a client, whose thread it talks to by `own`, between waits for either. `wait` returns whether `own` is ready.
fn serve_between(mut wait: impl FnMut(&Server, &UnixStream) -> bool) {
    let mut server = patient(Limits::default()).build().unwrap();
    let (handle, address) = (server.handle(), server.addresses()[0]);
    let (mut own, mut others) = UnixStream::pair().unwrap();
    let client = thread::spawn(move || {
        let mut peer = Peer::new(address);
        let id = peer.session();
        peer.subscribe(&id, "/a");
        // Nothing comes that would make the descriptor readable: its answer is due by the clock.
        assert_eq!(peer.say(&glance(&id))[0]["successful"], true);
        others.write_all(b"p").unwrap();
        assert_eq!(data(&peer.say(&connect(&id))), [1]);
        others.write_all(b"e").unwrap();
        others
    });
    let asked = loop {
        if wait(&server, &own) {
            let mut byte = [0];
            own.read_exact(&mut byte).unwrap();
            match byte {
                [b'p'] => handle.publish("/a", "1").unwrap(),
                _ => handle.stop().unwrap(),
            }
        }
        if let Some(asked) = server.poll_once(Some(Duration::ZERO)).unwrap() {
            break asked;
        }
    };
    assert_eq!(asked, Asked::End);
    assert_eq!(handle.publish("/a", "1"), Err(HandleError::Closed));
    assert_eq!(server.poll_once(None).unwrap(), Some(Asked::End), "it does not begin anew");
    client.join().unwrap();
}

#[test]
fn a_server_takes_its_turns_in_a_loop_of_somebody_else() {
    serve_between(|server, own| {
        let due = server.deadline();
        let most = Timespec::try_from(due.unwrap_or(LIMIT)).unwrap();
        let mut both = [PollFd::new(server, PollFlags::IN), PollFd::new(own, PollFlags::IN)];
        let ready = match poll(&mut both, Some(&most)) {
            Err(error) if error == Errno::INTR => return false,
            ready => ready.unwrap(),
        };
        assert!(ready > 0 || due.is_some(), "nothing has come, and nothing was due");
        !both[1].revents().is_empty()
    });
}

#[test]
fn the_loop_of_somebody_else_may_be_told_of_edges_only() {
    let mut outer = mio::Poll::new().unwrap();
    let (mut events, mut is_new) = (mio::Events::with_capacity(2), true);
    serve_between(|server, own| {
        if std::mem::take(&mut is_new) {
            for (token, fd) in [server.as_raw_fd(), own.as_raw_fd()].iter().enumerate() {
                let (token, readable) = (mio::Token(token), mio::Interest::READABLE);
                outer.registry().register(&mut mio::unix::SourceFd(fd), token, readable).unwrap();
            }
        }
        let due = server.deadline();
        match outer.poll(&mut events, Some(due.unwrap_or(LIMIT))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return false,
            polled => polled.unwrap(),
        }
        assert!(!events.is_empty() || due.is_some(), "nothing has come, and nothing was due");
        events.iter().any(|event| event.token() == mio::Token(1))
    });
}
