//! The command line, good and bad.

use super::*;

fn words(line: &str) -> Result<Command, String> {
    parse(line.split_ascii_whitespace())
}

fn run(line: &str) -> Run {
    match words(line) {
        Ok(Command::Run(run)) => *run,
        other => panic!("{line}: {other:?}"),
    }
}

fn printed(line: &str) -> String {
    match words(line) {
        Ok(Command::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn fanout_with_all_its_options() {
    let line = "fanout --url http://127.0.0.1:8080/cometd --clients 1000 --channel /a/b --messages 6 --rate 2.5 --burst 2 \
        --size 200 --pid 7 --json out.json --source-addrs 127.0.0.2,127.0.0.4-127.0.0.6 --timeout 60 --ramp 10 --drain 3";
    let Run { common, scenario, publishing } = run(line);
    assert_eq!(scenario, Scenario::Fanout);
    assert_eq!(publishing, Publishing { messages: 6, rate: 2.5, burst: 2, size: 200, drain_s: 3 });
    assert_eq!((common.host.as_str(), common.port, common.target.path.as_str()), ("127.0.0.1", 8080, "/cometd"));
    assert_eq!((common.clients, common.pid, common.ramp, common.timeout_s), (1000, Some(7), 10, 60));
    let sources: Vec<String> = common.sources.iter().map(ToString::to_string).collect();
    assert_eq!(sources, ["127.0.0.2", "127.0.0.4", "127.0.0.5", "127.0.0.6"]);
    assert_eq!(
        (common.channel.as_str(), &common.transports[..], common.deflate),
        ("/a/b", &[Transport::LongPolling][..], false)
    );
    assert_eq!((common.against, common.shard, common.ack), (Against::Floor, None, false));
    let common = run(&format!("{line} --deflate --transport websocket --ack --no-floor --shard 2/3 --run r1")).common;
    assert_eq!((&common.transports[..], common.deflate, common.ack), (&[Transport::WebSocket][..], true, true));
    assert_eq!((common.against, common.shard), (Against::Nothing, Some(Shard { index: 2, of: 3, run: "r1".into() })));
}

#[test]
fn reports_and_the_doctor() {
    let Ok(Command::Report(args)) = words("report a.json new=b.json --markdown x.md") else { panic!("no report") };
    assert_eq!(args.files, [(None, "a.json".into()), (Some("new".into()), "b.json".into())]);
    assert_eq!((args.html, args.markdown), (None, Some("x.md".into())));
    assert_eq!(words("doctor"), Ok(Command::Doctor(Need { clients: 10_000, sources: 1 })));
    let need = Need { clients: 7, sources: 2 };
    assert_eq!(words("doctor --clients 7 --source-addrs ::1,::2"), Ok(Command::Doctor(need)));
    let common = run("idle --url http://h/ --clients 3 --seconds 2 --pid 1 --report x --quiet").common;
    assert_eq!((common.report, common.quiet), (Some("x".into()), true));
}

#[test]
fn each_scenario_has_its_defaults() {
    let base = "--url http://[::1]/x --clients=30";
    let idle = run(&format!("idle {base} --seconds 20 --pid 1"));
    assert_eq!((idle.scenario, idle.common.timeout_s), (Scenario::Idle { seconds: 20 }, 320));
    assert_eq!((idle.common.host.as_str(), idle.common.port, idle.common.target.host.as_str()), ("::1", 80, "[::1]"));
    let rooms = run("rooms --url ws://h/");
    assert_eq!((rooms.scenario, rooms.common.clients), (Scenario::Rooms { rooms: 100, per_client: 10 }, 1000));
    assert_eq!((rooms.publishing.messages, rooms.publishing.burst, rooms.publishing.size), (1000, 10, 50));
    assert_eq!(run(&format!("storm {base}")).publishing.rate, 50.0);
    let nchan = run(&format!("fanout {base} --protocol nchan --publish-url http://[::1]/pub")).common;
    assert_eq!(
        (nchan.protocol, nchan.publish.path.as_str(), nchan.target.path.as_str()),
        (Protocol::Nchan, "/pub", "/x")
    );
    let slow = run(&format!("slow {base} --slow-share 25 --slow-rate 100"));
    assert_eq!(slow.scenario, Scenario::Slow { share: 0.25, bytes_per_s: 100 });
    assert_eq!(run(&format!("mixed {base}")).scenario, Scenario::Mixed { channels: 8, speakers: 8 });
    assert_eq!(run(&format!("mixed {base}")).common.transports, Transport::ALL);
    let two = run(&format!("mixed {base} --transport streaming,websocket --ack")).common.transports;
    assert_eq!(two, [Transport::Streaming, Transport::WebSocket]);
    let secure = run("fanout --url wss://h/ --clients 1 --ca f").common;
    assert_eq!((secure.secure, secure.port, secure.trust), (true, 443, Trust::Authority("f".into())));
    assert_eq!(run("fanout --url https://h:1/ --clients 1 --insecure").common.trust, Trust::Anyone);
    let Ok(Command::Floor(floor)) = words("floor --drop-every 7") else { panic!("no floor") };
    assert_eq!((floor.listen.to_string().as_str(), floor.drop_every), ("127.0.0.1:0", Some(7)));
    let Ok(Command::Merge(merge)) = words("merge a.json b.json --json c.json") else { panic!("no merge") };
    assert_eq!((merge.files.len(), merge.json), (2, Some("c.json".into())));
}

#[test]
fn errors_say_what_is_accepted() {
    let cases = [
        ("report", "report needs a file"),
        ("report =x", "report takes FILE or NAME=FILE, not \"=x\""),
        ("report x --json y", "unknown option --json; report accepts --html, --markdown, --help"),
        ("doctor 5", "unexpected word \"5\""),
        ("doctor --clients 0", "--clients takes a whole number from 1"),
        ("", "there are fanout, rooms, idle, storm, slow, mixed, floor, merge, report, doctor"),
        ("tempest", "unknown command \"tempest\"; there are fanout, rooms"),
        ("--what", "unknown option --what; before a command there are --help, --version"),
        ("floor --url x", "unknown option --url; floor accepts --listen, --help"),
        ("floor extra", "unexpected word \"extra\""),
        ("fanout --clients 1", "fanout needs --url"),
        ("fanout --url http://h/", "fanout needs --clients"),
        ("fanout --url https://h/ --clients 1 --ca f --insecure", "exclude each other"),
        ("fanout --url ftp://h/ --clients 1", "none of http, https, ws, wss"),
        ("fanout --url h/ --clients 1", "it has no scheme"),
        ("fanout --url http://h:x/ --clients 1", "bad port"),
        ("fanout --url http:///x --clients 1", "no host"),
        ("fanout --url http://h/ --clients 0", "--clients takes a whole number from 1 to 1000000, not \"0\""),
        ("fanout --url http://h/ --clients", "--clients needs a value"),
        ("idle --url http://h/ --clients 1 --pid 1", "idle needs --seconds"),
        ("idle --url http://h/ --clients 1 --seconds 1", "idle needs --pid"),
        ("floor --listen here", "--listen takes an address with a port"),
        ("merge a.json", "two shards at least"),
        ("storm --url http://h/ --clients 1 --rate 0", "storm needs --rate above 0"),
        ("mixed --url http://h/ --clients 1 --ack", "--ack cannot be had with eventsource"),
        ("mixed --url http://h/ --clients 1 --transport websocket,x", "eventsource, not \"x\""),
        ("fanout --url http://h/ --clients 1 --transport websocket,streaming", "not \"websocket,streaming\""),
        ("rooms --url http://h/ --rooms 5 --rooms-per-client 6", "from 1 to 5"),
        ("slow --url http://h/ --clients 1 --slow-share 101", "from 0 to 100"),
    ];
    for (line, expected) in cases {
        let text = words(line).unwrap_err();
        assert!(text.contains(expected), "{line}: {text}");
    }
    for (option, expected) in [
        ("--rate -1", "--rate takes a number from 0"),
        ("--rate NaN", "--rate takes a number from 0"),
        ("--transport carrier-pigeon", "eventsource, not \"carrier-pigeon\""),
        ("--transport eventsource --ack", "--ack cannot be had with eventsource"),
        ("--deflate", "--deflate needs --transport websocket"),
        ("--channel /meta/x", "--channel takes a channel"),
        ("--channel /a/*", "--channel takes a channel"),
        ("--source-addrs 127.0.0.2,x", "not \"x\""),
        ("--source-addrs 127.0.0.9-127.0.0.2", "no range of 1 to 1000"),
        ("--insecure", "need a --url with https or wss"),
        ("--burst 3", "--messages 100 is no multiple of --burst 3"),
        ("--shard 3/2 --run a", "--shard takes I/N"),
        ("--shard 1/2", "--shard needs --run"),
        ("--shard 1/2 --run a", "--shard needs --rate"),
        ("--shard 1/2 --run a/b", "--run takes letters"),
        ("--run a", "--run needs --shard"),
        ("--protocol gopher", "--protocol takes one of bayeux, nchan, not \"gopher\""),
        ("--publish-url http://h/p", "--publish-url needs --protocol nchan"),
        ("--protocol nchan", "--protocol nchan needs --publish-url"),
        ("--protocol nchan --publish-url http://i/p", "--publish-url must begin as --url does, with h, not i"),
        ("--protocol nchan --publish-url h/p", "--publish-url takes http[s]://HOST"),
        ("--protocol nchan --publish-url http://h/p --burst 2", "--burst of several"),
        ("--protocol nchan --publish-url http://h/p --ack", "neither --ack"),
        ("--protocol nchan --publish-url http://h/p --transport streaming", "no --transport streaming"),
        ("--no-floor --floor-json f", "exclude each other"),
        ("-c 5", "unknown option -c; fanout accepts --url, --clients,"),
    ] {
        let text = words(&format!("fanout --url http://h/ --clients 1 {option}")).unwrap_err();
        assert!(text.contains(expected), "{option}: {text}");
    }
}

#[test]
fn help_names_every_option_but_the_hidden() {
    assert!(printed("--version").starts_with("encke-loadtest 0."));
    assert!(printed("-h").contains("fanout") && printed("--help").contains("floor"));
    for spec in COMMANDS {
        let text = printed(&format!("{} --help", spec.name));
        assert!(text.contains("Usage") && !text.contains("drop-every"), "{text}");
    }
    assert!(printed("fanout --clients 1 --help").contains("--source-addrs A,B"));
}
