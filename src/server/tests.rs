//! Turns of the loop, taken by hand on real sockets.

use std::io::{Read, Write};

use super::slots::Slot;
use super::stream::Stream;
use super::*;
use crate::limits::Limits;

#[test]
fn a_socket_of_an_idle_connection_takes_little_room() {
    // mio's sockets carry more than the file descriptor in debug builds, so they are left out of the sum.
    let slot = size_of::<Option<Slot>>() - size_of::<Stream>();
    assert!(slot <= 16, "{slot}");
}

/// A server with a client side to play with, whose turns are taken by hand.
struct Bench {
    server: Server,
    events: Events,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server =
            Server::builder().listen([any]).settings(Settings { limits, ..Settings::default() }).build().unwrap();
        Self { server, events: Events::with_capacity(64) }
    }

    fn connect(&self) -> std::net::TcpStream {
        std::net::TcpStream::connect(self.server.addresses()[0]).unwrap()
    }

    /// Takes one turn; whether the server runs on.
    fn turn(&mut self) -> bool {
        let timeout = self.server.sleep_for().or(Some(Duration::from_secs(30)));
        self.server.poll.poll(&mut self.events, timeout).unwrap();
        self.server.turn(&self.events).is_none()
    }
}

#[test]
fn limit_accepts_per_turn() {
    let mut bench = Bench::new(Limits { accepts_per_turn: 2, ..Limits::default() });
    let _clients: Vec<_> = (0..5).map(|_| bench.connect()).collect();
    // The kernel may hand them over one by one, but no turn takes more than two.
    while bench.server.slots.open() < 5 {
        let before = bench.server.slots.open();
        bench.turn();
        assert!(bench.server.slots.open() <= before + 2, "{before} and then {}", bench.server.slots.open());
    }
}

#[test]
fn limit_accepts_per_turn_on_all_listeners() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let limits = Limits { accepts_per_turn: 2, ..Limits::default() };
    let settings = Settings { limits, ..Settings::default() };
    let server = Server::builder().listen([any, any]).settings(settings).build().unwrap();
    let mut bench = Bench { server, events: Events::with_capacity(64) };
    let (busy, calm) = (bench.server.addresses()[0], bench.server.addresses()[1]);
    let connect = |address, count| (0..count).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
    let mut clients: Vec<_> = connect(busy, 30);
    clients.extend::<Vec<_>>(connect(calm, 5));
    let come = |bench: &Bench, to: SocketAddr| {
        let at = |slot: &&Slot| matches!(&slot.stream, Stream::Tcp(stream) if stream.local_addr().unwrap() == to);
        bench.server.slots.iter().filter(at).count()
    };
    while come(&bench, calm) < 5 {
        let before = bench.server.slots.open();
        bench.turn();
        assert!(bench.server.slots.open() <= before + 2, "{before} and then {}", bench.server.slots.open());
    }
    assert!(come(&bench, busy) < 30, "the listeners have their turn one after the other");
    while come(&bench, busy) < 30 {
        bench.turn();
    }
}

#[test]
fn limit_connections_pauses_accepting_until_one_closes() {
    // Nobody is turned away while this test runs.
    let mut bench = Bench::new(Limits { connections: 2, full_ms: 3_600_000, ..Limits::default() });
    let mut clients: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    while !matches!(bench.server.door.accepting, Accepting::Full { until_ms: Some(_) }) {
        bench.turn();
    }
    assert_eq!(bench.server.slots.open(), 2);
    clients.remove(0);
    while matches!(bench.server.door.accepting, Accepting::Full { .. }) {
        bench.turn();
    }
    bench.turn();
    assert_eq!(bench.server.slots.open(), 2, "the third has taken the place of the first");
}

#[test]
fn limit_full_ms_and_then_who_waits_is_told() {
    let mut bench = Bench::new(Limits { connections: 1, full_ms: 1, accepts_per_turn: 2, ..Limits::default() });
    let _inside = bench.connect();
    while bench.server.slots.open() == 0 {
        bench.turn();
    }
    let mut waiting: Vec<_> = (0..3).map(|_| bench.connect()).collect();
    for client in &mut waiting {
        client.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    }
    while bench.server.door.accepting != (Accepting::Full { until_ms: None }) {
        bench.turn();
    }
    for mut client in waiting {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{answer}");
    }
    assert_eq!(bench.server.slots.open(), 1);
}

#[test]
fn limit_read_bytes_per_turn() {
    for (bytes, again) in [(99, false), (100, true), (101, true)] {
        let mut bench = Bench::new(Limits { read_bytes_per_turn: 100, ..Limits::default() });
        let mut client = bench.connect();
        while bench.server.slots.open() == 0 {
            bench.turn();
        }
        client.write_all(&vec![b'x'; bytes]).unwrap();
        while bench.server.slots.iter().all(|slot| !bench.server.engine.has_received(slot.key)) {
            bench.turn();
        }
        assert_eq!(bench.server.reading.waits(), again, "{bytes}");
    }
}

#[test]
fn limit_mailbox_commands() {
    let mut bench = Bench::new(Limits { mailbox_commands: 2, ..Limits::default() });
    let handle = bench.server.handle();
    assert_eq!(handle.publish("/a", "{}"), Ok(()));
    assert_eq!(handle.publish_batch([("/a", "1"), ("/a", "2"), ("/a", "3")]), Ok(()), "one command");
    let mut batch = handle.batch();
    batch.publish("/a", "4").unwrap();
    for _ in 0..2 {
        assert_eq!(batch.send(), Err(HandleError::Full));
        assert_eq!(batch.len(), 1, "it can be sent again");
        assert_eq!(handle.publish("/a", "1"), Err(HandleError::Full));
        assert_eq!(handle.publish_batch([("/a", "1")]), Err(HandleError::Full));
        assert_eq!(handle.disconnect_client("x"), Err(HandleError::Full));
    }
    while bench.server.counters().published < 4 {
        bench.turn();
    }
    assert_eq!((batch.send(), batch.len()), (Ok(()), 0));
    assert_eq!(handle.publish("/a", "1"), Ok(()));
    assert_eq!(handle.publish("/a", "1"), Err(HandleError::Full));
    // There is always room for the end.
    assert_eq!([handle.shutdown(), handle.shutdown(), handle.stop(), handle.stop()], [Ok(()); 4]);
    while bench.turn() {}
    assert_eq!(handle.counters().published, 6, "what came before the end is done before");
    assert_eq!(handle.publish("/a", "1"), Err(HandleError::Closed));
    assert_eq!([handle.shutdown(), handle.stop(), handle.disconnect_client("x")], [Err(HandleError::Closed); 3]);
}

#[test]
fn a_batch_counts_by_its_events_for_the_turn_but_a_small_one_is_not_divided() {
    let mut bench = Bench::new(Limits { mailbox_commands: 10, batch_messages: 8, ..Limits::default() });
    let handle = bench.server.handle();
    for events in [8, 8, 65, 1] {
        handle.publish_batch(vec![("/a", "1"); events]).unwrap();
    }
    let mut counts = Vec::new();
    while bench.server.counters().published < 82 {
        bench.turn();
        counts.push(bench.server.counters().published);
    }
    // Each batch is a command, too. A large one goes in parts of 32.
    assert_eq!(counts, [8, 48, 80, 82]);
}

#[test]
fn a_large_batch_leaves_off_where_a_turn_has_had_enough_and_a_small_one_does_not() {
    let mut bench = Bench::new(Limits { fanout_per_turn: 10, batch_messages: 64, ..Limits::default() });
    let mut client = bench.connect();
    client.write_all(request(r#"{"channel":"/meta/handshake"}"#).as_bytes()).unwrap();
    while bench.server.census().sessions == 0 {
        bench.turn();
    }
    let text = read_until(&mut client, "\"interval\":0");
    let id = text.split("\"clientId\":\"").nth(1).unwrap().split('"').next().unwrap();
    let subscribe = format!(r#"{{"channel":"/meta/subscribe","clientId":"{id}","subscription":"/a"}}"#);
    client.write_all(request(&subscribe).as_bytes()).unwrap();
    while bench.server.census().topics == 0 {
        bench.turn();
    }
    let handle = bench.server.handle();
    for events in [64, 65] {
        handle.publish_batch(vec![("/a", "1"); events]).unwrap();
    }
    let mut counts = vec![0];
    while bench.server.counters().published < 129 {
        bench.turn();
        let published = bench.server.counters().published;
        counts.extend((counts.last() != Some(&published)).then_some(published));
    }
    assert_eq!(counts, [0, 64, 96, 128, 129]);
}

#[test]
fn who_publishes_on_does_not_keep_a_server_from_ending() {
    let settings = Settings { shutdown_ms: 3_600_000, ..Settings::default() };
    let server = Server::builder().listen([SocketAddr::from(([127, 0, 0, 1], 0))]).settings(settings).build().unwrap();
    let mut bench = Bench { server, events: Events::with_capacity(64) };
    let handle = bench.server.handle();
    handle.shutdown().unwrap();
    let turns = (0..100).take_while(|_| handle.publish("/a", "1").is_ok() && bench.turn()).count();
    assert!(turns < 100, "nobody is there to be waited for");
}

#[test]
fn limit_mailbox_bytes() {
    // What one command takes beside its texts.
    let own = size_of::<Mail>();
    let mut bench = Bench::new(Limits { mailbox_bytes: 2 * (own + 10), ..Limits::default() });
    let handle = bench.server.handle();
    let data = |bytes: usize| format!("{:0<bytes$}", 1);
    // The channel is two of the bytes.
    assert_eq!(handle.publish("/a", &data(own + 18)), Ok(()));
    assert_eq!(handle.publish("/a", "1"), Err(HandleError::Full));
    while bench.server.counters().published < 1 {
        bench.turn();
    }
    assert_eq!(handle.publish("/a", &data(own + 19)), Err(HandleError::TooLarge));
    assert_eq!(handle.publish("/a", &data(8)), Ok(()));
    assert_eq!(handle.publish("/a", &data(9)), Err(HandleError::Full));
    assert_eq!(handle.publish("/a", &data(8)), Ok(()));
    while bench.server.counters().published < 3 {
        bench.turn();
    }
    let event = own + 20 - 2 - batch::EVENT_BYTES;
    let mut batch = handle.batch();
    assert_eq!(batch.publish("/a", &data(event + 1)), Err(HandleError::TooLarge));
    assert_eq!((batch.publish("/a", &data(event)), batch.len()), (Ok(()), 1));
    assert_eq!(batch.publish("/a", "1"), Err(HandleError::TooLarge), "not with what is in it");
    assert_eq!((batch.send(), handle.publish("/a", "1")), (Ok(()), Err(HandleError::Full)));
    // With other settings there is room.
    bench.server.reconfigure(Settings::default()).unwrap();
    assert_eq!(handle.publish("/a", "1"), Ok(()));
    while bench.server.counters().published < 5 {
        bench.turn();
    }
}

#[test]
fn a_handle_publishes_and_stops_from_another_thread() {
    let mut bench = Bench::new(Limits { json_depth: 5, ..Limits::default() });
    let handle = bench.server.handle();
    assert_eq!(handle.publish("/a/*", "1"), Err(HandleError::Channel));
    assert_eq!(handle.publish("/meta/x", "1"), Err(HandleError::Channel));
    assert_eq!(handle.publish("/a", "{"), Err(HandleError::Data));
    assert_eq!(handle.publish("/a", r#""\ud800""#), Err(HandleError::Data));
    for (depth, taken) in [(2, true), (3, true), (4, false)] {
        let data = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(handle.publish("/deep", &data), taken.then_some(()).ok_or(HandleError::Data));
    }
    std::thread::spawn(move || {
        handle.publish("/a", "1").unwrap();
        handle.stop().unwrap();
    });
    while bench.turn() {}
    assert_eq!(bench.server.engine.counters().published, 3);
}

#[test]
fn a_raised_limit_of_connections_resumes_accepting() {
    let mut bench = Bench::new(Limits { connections: 1, ..Limits::default() });
    let _clients: Vec<_> = (0..2).map(|_| bench.connect()).collect();
    while !matches!(bench.server.door.accepting, Accepting::Full { .. }) {
        bench.turn();
    }
    assert_eq!(bench.server.slots.open(), 1);
    bench.server.reconfigure(Settings::default()).unwrap();
    bench.turn();
    assert_eq!(bench.server.slots.open(), 2);
}

#[test]
fn what_waits_to_be_accepted_when_the_server_ends_is_answered() {
    let mut bench = Bench::new(Limits { accepts_per_turn: 2, ..Limits::default() });
    let mut clients: Vec<_> = (0..7).map(|_| bench.connect()).collect();
    for client in &mut clients {
        client.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    }
    bench.server.handle().shutdown().unwrap();
    bench.server.handle().shutdown().unwrap();
    while bench.turn() {
        // They go when they have their answer.
        for client in &mut clients {
            client.set_nonblocking(true).unwrap();
            let mut answer = [0; 512];
            if let Ok(n) = client.read(&mut answer)
                && n > 0
            {
                assert!(answer.starts_with(b"HTTP/1.1 503 "), "{}", String::from_utf8_lossy(&answer));
                client.shutdown(std::net::Shutdown::Both).unwrap();
            }
        }
    }
    assert_eq!(bench.server.engine.census().connections, 0, "every one has had its answer");
}

/// A request of a batch; the connection stays.
fn request(batch: &str) -> String {
    format!(
        "POST /cometd HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{batch}",
        batch.len()
    )
}

/// Reads until the text has come.
fn read_until(client: &mut std::net::TcpStream, wanted: &str) -> String {
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.contains(wanted) {
        let n = client.read(&mut part).unwrap();
        assert!(n > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&part[..n]));
    }
    text
}

/// Whether the reply to a connect has come.
fn says_connect(client: &std::net::TcpStream) -> bool {
    let mut text = [0; 65_536];
    let came = client.peek(&mut text).unwrap_or(0);
    String::from_utf8_lossy(&text[..came]).contains("/meta/connect")
}

#[test]
fn nobody_is_late_who_came_in_time_and_was_not_looked_at() {
    // More than there are events in a turn, and connections that are accepted in one.
    const CLIENTS: usize = 150;
    // In the third case a turn has room for one event, and each sends one before its connect.
    for (anew, fanout_per_turn) in [(false, u64::MAX), (true, u64::MAX), (false, 1)] {
        let busy = fanout_per_turn == 1;
        let mut bench = Bench::new(Limits { accepts_per_turn: 20, fanout_per_turn, ..Limits::default() });
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| bench.connect()).collect();
        for client in &mut clients {
            client.write_all(request(r#"{"channel":"/meta/handshake"}"#).as_bytes()).unwrap();
        }
        while bench.server.engine.census().sessions < CLIENTS {
            bench.turn();
        }
        let ids = clients.iter_mut().map(|client| {
            let text = read_until(client, "\"interval\":0");
            text.split("\"clientId\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
        });
        let ids: Vec<String> = ids.collect();
        if anew {
            clients = (0..CLIENTS).map(|_| bench.connect()).collect();
        }
        if busy {
            let subscribe = format!(r#"{{"channel":"/meta/subscribe","clientId":"{}","subscription":"/a"}}"#, ids[0]);
            clients[0].write_all(request(&subscribe).as_bytes()).unwrap();
            while bench.server.engine.census().topics == 0 {
                bench.turn();
            }
            read_until(&mut clients[0], "\"subscription\"");
        }
        for (client, id) in clients.iter_mut().zip(&ids) {
            if busy {
                let publish = format!(r#"{{"channel":"/a","clientId":"{id}","data":1}}"#);
                client.write_all(request(&publish).as_bytes()).unwrap();
            }
            let connect = format!(r#"{{"channel":"/meta/connect","clientId":"{id}","connectionType":"long-polling"}}"#);
            client.write_all(request(&connect).as_bytes()).unwrap();
        }
        // The process is stopped for longer than sessions without a connect are kept.
        bench.server.clock.pass(Duration::from_secs(20));
        // Each is answered: its session is there, or not any more.
        for client in &mut clients {
            client.set_nonblocking(true).unwrap();
        }
        while !clients.iter().all(says_connect) {
            bench.turn();
        }
        let late = bench.server.engine.counters().sessions_removed;
        assert_eq!((bench.server.engine.census().sessions, late), (CLIENTS, 0), "on new connections: {anew}, {busy}");
    }
}

/// Waits until so many connections have something to be read, however busy the kernel is.
fn await_bytes(bench: &mut Bench, count: usize) {
    let keys: Vec<ConnKey> = bench.server.slots.iter().map(|slot| slot.key).collect();
    let mut has_some = |key: &&ConnKey| match bench.server.slots.get_mut(**key).map(|slot| &slot.stream) {
        Some(Stream::Tcp(stream)) => stream.peek(&mut [0]).is_ok_and(|n| n > 0),
        _ => false,
    };
    while keys.iter().filter(&mut has_some).count() < count {
        std::thread::yield_now();
    }
}

/// So many who send a long head that does not end, which waits to be read.
fn senders(bench: &mut Bench, count: usize) -> Vec<std::net::TcpStream> {
    let mut clients: Vec<_> = (0..count).map(|_| bench.connect()).collect();
    while bench.server.slots.open() < count {
        bench.turn();
    }
    for client in &mut clients {
        let head = format!("POST /cometd HTTP/1.1\r\nHost: h\r\nX: {}", "x".repeat(5_000));
        client.write_all(head.as_bytes()).unwrap();
    }
    await_bytes(bench, count);
    clients
}

/// Of how many something has been read that is not complete.
fn heard(bench: &Bench) -> usize {
    bench.server.slots.iter().filter(|slot| bench.server.engine.has_received(slot.key)).count()
}

#[test]
fn limit_total_read_bytes_per_turn() {
    for (total, most) in [(199, 2), (200, 2), (201, 3)] {
        let limits = Limits { read_bytes_per_turn: 100, total_read_bytes_per_turn: total, ..Limits::default() };
        let mut bench = Bench::new(limits);
        let _clients = senders(&mut bench, 7);
        let mut counts = vec![0];
        while heard(&bench) < 7 {
            bench.turn();
            counts.push(heard(&bench));
            assert_eq!(bench.server.sleep_for(), Some(Duration::ZERO), "what is left over does not wait for events");
        }
        let each: Vec<usize> = counts.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(each.iter().all(|new| *new <= most) && each.contains(&most), "of {total} bytes: {each:?}");
    }
}

#[test]
fn who_sends_without_end_does_not_keep_others_waiting_nor_is_kept() {
    let mut bench =
        Bench::new(Limits { read_bytes_per_turn: 100, total_read_bytes_per_turn: 200, ..Limits::default() });
    let _senders = senders(&mut bench, 20);
    while heard(&bench) < 20 {
        bench.turn();
    }
    let mut other = bench.connect();
    while bench.server.slots.open() < 21 {
        bench.turn();
    }
    other.write_all(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    // All have more to be read. Behind them, two a turn, it would be after ten turns.
    await_bytes(&mut bench, 21);
    for _ in 0..3 {
        bench.turn();
    }
    other.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    read_until(&mut other, "200 OK");
    // What they wait for their turn is not their time, and all of it is read in the end.
    bench.server.clock.pass(Duration::from_secs(20));
    while bench.server.reading.waits() {
        bench.turn();
    }
    assert_eq!(bench.server.engine.census().connections, 21);
}

/// A server that has ended may be kept, as by a loop of the embedder's own.
#[test]
fn who_receives_hears_of_the_end_before_the_server_is_dropped() {
    let mut bench = Bench::new(Limits::default());
    let handle = bench.server.handle();
    let receiver = handle.receiver("/a", 4).unwrap();
    while bench.server.engine.census().topics == 0 {
        bench.turn();
    }
    let waiting = std::thread::spawn(move || receiver.recv());
    handle.stop().unwrap();
    while bench.turn() {}
    assert_eq!(waiting.join().unwrap(), Err(RecvError::Closed));
}

/// As many wait in a receiver as it was made for.
#[test]
fn a_receiver_holds_as_many_as_it_was_made_for() {
    let mut bench = Bench::new(Limits::default());
    let handle = bench.server.handle();
    let receiver = handle.receiver("/a", 1).unwrap();
    while bench.server.engine.census().topics == 0 {
        bench.turn();
    }
    handle.publish_batch((0..1_000).map(|number| ("/a", number.to_string()))).unwrap();
    while bench.server.engine.counters().published < 1_000 {
        bench.turn();
    }
    assert!(receiver.waiting() <= 1, "{} events wait in one for 1", receiver.waiting());
}

/// The end of a server is not behind what its clients send.
#[test]
fn a_handle_is_heard_while_clients_use_up_every_turn() {
    let mut bench = Bench::new(Limits { fanout_per_turn: 1, ..Limits::default() });
    let handle = bench.server.handle();
    let _hearers = [handle.receiver("/a", 1 << 20).unwrap(), handle.receiver("/a", 1 << 20).unwrap()];
    while bench.server.engine.census().topics == 0 {
        bench.turn();
    }
    let mut client = bench.connect();
    client.write_all(request(r#"[{"channel":"/meta/handshake","version":"1.0"}]"#).as_bytes()).unwrap();
    while bench.server.engine.census().sessions < 3 {
        bench.turn();
    }
    let text = read_until(&mut client, "clientId\":\"");
    let id = text.split("\"clientId\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let one = request(&format!(r#"[{{"channel":"/a","clientId":"{id}","data":1}}]"#));
    let mut clients: Vec<_> = (0..8).map(|_| bench.connect()).collect();
    let mut pour = || {
        for client in &mut clients {
            client.set_nonblocking(true).unwrap();
            let _ = client.read(&mut [0; 65_536]);
            // What is cut off ends a connection, and there are others.
            let _ = client.write(one.repeat(8).as_bytes());
        }
    };
    for _ in 0..10 {
        pour();
        bench.turn();
    }
    handle.stop().unwrap();
    for _ in 0..100 {
        pour();
        if !bench.turn() {
            return;
        }
    }
    panic!("not heard in 100 turns");
}
