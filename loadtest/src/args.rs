//! Owns the command line: which commands and options there are, what they accept, and the help that says so.

use crate::bayeux::Transport;
use crate::doctor::Need;
use crate::http::Target;
use lexopt::{Arg, Parser};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Clients of one run.
const CLIENTS_MAX: u64 = 1_000_000;
/// Messages of one run; more do not fit the sequence numbers of [`crate::bayeux::Event`].
const MESSAGES_MAX: u64 = 100_000_000;
/// Bytes of the data of a message.
const SIZE_MAX: u64 = 4 * 1024 * 1024;
/// Seconds of anything.
const SECONDS_MAX: u64 = 86_400;
/// Publishes in a second.
const RATE_MAX: f64 = 1_000_000.0;

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Publish to many.
    Fanout(Fanout),
    /// Hold many without publishing.
    Idle(Idle),
    /// Serve as the least a server can do.
    Floor(Floor),
    /// Show reports that were written before.
    Report(Reports),
    /// See whether this machine can hold so many clients.
    Doctor(Need),
    /// Print this.
    Print(String),
}

/// What both scenarios need.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Common {
    /// The URL as it was given.
    pub(crate) url: String,
    /// Its `Host` field and path.
    pub(crate) target: Target,
    /// Its host without brackets.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// How many clients.
    pub(crate) clients: u32,
    /// How they reach the server.
    pub(crate) transport: Transport,
    /// Whether WebSockets offer compression.
    pub(crate) deflate: bool,
    /// What they subscribe to.
    pub(crate) channel: String,
    /// The server's process, if its figures are wanted.
    pub(crate) pid: Option<u32>,
    /// Where the figures go as JSON.
    pub(crate) json: Option<PathBuf>,
    /// Where they go as a page.
    pub(crate) report: Option<PathBuf>,
    /// Whether progress is left out.
    pub(crate) quiet: bool,
    /// Where connections come from.
    pub(crate) sources: Vec<IpAddr>,
    /// Seconds that the whole may take.
    pub(crate) timeout_s: u64,
    /// Clients on their way to being parked at once.
    pub(crate) ramp: u32,
}

/// The options of `fanout`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fanout {
    /// What both scenarios need.
    pub(crate) common: Common,
    /// How many messages.
    pub(crate) messages: u32,
    /// Messages in a second; 0: the next when all have the last.
    pub(crate) rate: f64,
    /// Bytes of each one's data.
    pub(crate) size: usize,
    /// Seconds without a delivery after which the rest is lost.
    pub(crate) drain_s: u64,
}

/// The options of `idle`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Idle {
    /// What both scenarios need.
    pub(crate) common: Common,
    /// Seconds to watch.
    pub(crate) seconds: u64,
}

/// The options of `floor`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Floor {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// Lose each so-many-th event, for a test of the count.
    pub(crate) drop_every: Option<u64>,
}

/// The options of `report`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reports {
    /// The files as JSON, with what each one is to be called.
    pub(crate) files: Vec<(Option<String>, PathBuf)>,
    /// Where the page goes.
    pub(crate) html: Option<PathBuf>,
    /// Where the table goes.
    pub(crate) markdown: Option<PathBuf>,
}

/// One option: name, what its value stands for, if it has one, and help; hidden without help.
struct Opt(&'static str, &'static str, &'static str);

/// One command: name, what it does, and its options.
struct Spec(&'static str, &'static str, &'static [&'static [Opt]]);

const COMMON: &[Opt] = &[
    Opt("url", "URL", "the Bayeux endpoint, such as http://127.0.0.1:8080/cometd (required)"),
    Opt("clients", "N", "clients, each with a session and a connection (required)"),
    Opt("transport", "T", "how they reach the server: long-polling or websocket [long-polling]"),
    Opt("deflate", "", "offer compression on each WebSocket"),
    Opt("channel", "/CH", "the channel that all subscribe to [/load]"),
    Opt("pid", "PID", "the server's process: adds its memory and CPU (Linux, same machine)"),
    Opt("json", "FILE", "write the figures there too"),
    Opt("report", "FILE.html", "write them there as a page with curves"),
    Opt("quiet", "", "show no progress"),
    Opt("source-addrs", "A,B", "connect from these addresses in turn, for more than one range of ports"),
    Opt("ramp", "C", "clients on their way to being parked at once [256]"),
    Opt("timeout", "S", "seconds that the whole run may take [300]"),
];
const FANOUT: Spec = Spec(
    "fanout",
    "Parks N clients, publishes M messages to all of them and counts every delivery.",
    &[
        COMMON,
        &[
            Opt("messages", "M", "messages to publish [100]"),
            Opt("rate", "R", "messages a second; 0 publishes the next when all have the last [0]"),
            Opt("size", "BYTES", "bytes of each message's data, at least what its numbers take (about 50) [100]"),
            Opt("drain", "S", "seconds without a delivery after which what is missing is lost [10]"),
        ],
    ],
);
const IDLE: Spec = Spec(
    "idle",
    "Parks N clients and watches the server for S seconds in which nothing is published. Needs --pid.",
    &[
        COMMON,
        &[Opt(
            "seconds",
            "S",
            "how long to watch; shorter than the server's poll timeout shows the state without any event (required)",
        )],
    ],
);
const FLOOR: Spec = Spec(
    "floor",
    "Serves what fanout asks for with bytes made beforehand: the least that a server on one thread can spend on it.",
    &[&[Opt("listen", "ADDR", "where to listen [127.0.0.1:0]"), Opt("drop-every", "K", "")]],
);
const REPORT: Spec = Spec(
    "report",
    "Shows runs written by --json side by side: report [NAME=]FILE.json ... Without an option, as a table on the screen.",
    &[&[
        Opt("html", "FILE", "write a page with curves there"),
        Opt("markdown", "FILE", "write a table for a README there"),
    ]],
);
const DOCTOR: Spec = Spec(
    "doctor",
    "Checks whether this machine can hold N clients, at both ends, and says how to mend what is short.",
    &[&[
        Opt("clients", "N", "how many [10000]"),
        Opt("source-addrs", "A,B", "the addresses that they will connect from, if there are several"),
    ]],
);
const COMMANDS: [&Spec; 5] = [&FANOUT, &IDLE, &FLOOR, &REPORT, &DOCTOR];

impl Spec {
    fn options(&self) -> impl Iterator<Item = &Opt> {
        self.2.iter().copied().flatten()
    }

    fn shown(&self) -> String {
        let names = self.options().filter(|Opt(_, _, help)| !help.is_empty()).map(|Opt(name, ..)| format!("--{name}"));
        names.chain(["--help".into()]).collect::<Vec<_>>().join(", ")
    }

    fn help(&self) -> String {
        let Self(name, what, _) = self;
        let mut text = format!("{what}\n\nUsage: encke-loadtest {name} [options]\n\nOptions:\n");
        for Opt(name, value, help) in self.options().filter(|Opt(_, _, help)| !help.is_empty()) {
            let shown = format!("--{name} {value}");
            let _ = writeln!(text, "  {:<22}{help}", shown.trim_end());
        }
        text + "  --help                print this\n\n" + EXIT_CODES
    }
}

const EXIT_CODES: &str = "Exit code: 0 if all is as expected, 1 if anything is not, 2 if the command line is wrong.\n";

fn help() -> String {
    let mut text = format!("{}\n\nUsage: encke-loadtest COMMAND [options]\n\nCommands:\n", version());
    for Spec(name, what, _) in COMMANDS {
        let _ = writeln!(text, "  {name:<9}{what}");
    }
    for (option, what) in [
        ("COMMAND --help", "print the options of a command"),
        ("--help", "print this"),
        ("--version", "print the version"),
    ] {
        let _ = write!(text, "\n  {option:<17}{what}");
    }
    text + "\n\n" + EXIT_CODES
}

fn version() -> String {
    format!("encke-loadtest {}: load generator for Bayeux servers", env!("CARGO_PKG_VERSION"))
}

/// Reads the words after the program's name; the error is a line for the user.
pub(crate) fn parse<I>(words: I) -> Result<Command, String>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let known = || COMMANDS.map(|Spec(name, ..)| *name).join(", ");
    let mut parser = Parser::from_args(words);
    let name = match parser.next().map_err(|error| error.to_string())? {
        None => return Err(format!("a command is missing; there are {}", known())),
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Command::Print(help())),
        Some(Arg::Long("version") | Arg::Short('V')) => return Ok(Command::Print(version() + "\n")),
        Some(Arg::Value(name)) => name.to_string_lossy().into_owned(),
        Some(option) => return Err(format!("{}; before a command there are --help, --version", unknown(&option))),
    };
    let Some(spec) = COMMANDS.into_iter().find(|spec| spec.0 == name) else {
        return Err(format!("unknown command {name:?}; there are {}", known()));
    };
    let Some(values) = Values::read(spec, &mut parser)? else { return Ok(Command::Print(spec.help())) };
    match spec.0 {
        "fanout" => fanout(&values).map(Command::Fanout),
        "idle" => idle(&values).map(Command::Idle),
        "report" => reports(&values).map(Command::Report),
        "doctor" => doctor(&values).map(Command::Doctor),
        _ => floor(&values).map(Command::Floor),
    }
}

fn unknown(option: &Arg<'_>) -> String {
    match option {
        Arg::Long(name) => format!("unknown option --{name}"),
        Arg::Short(letter) => format!("unknown option -{letter}"),
        Arg::Value(word) => format!("unexpected word {:?}", word.to_string_lossy()),
    }
}

/// The options as they were given; the last of several counts.
struct Values {
    command: &'static str,
    given: BTreeMap<&'static str, String>,
    /// The words that are no options, where the command takes some.
    words: Vec<String>,
}

impl Values {
    /// `None` if help is asked for.
    fn read(spec: &'static Spec, parser: &mut Parser) -> Result<Option<Self>, String> {
        let mut given = BTreeMap::new();
        let mut words = Vec::new();
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            if matches!(arg, Arg::Long("help") | Arg::Short('h')) {
                return Ok(None);
            }
            if let (Arg::Value(word), "report") = (&arg, spec.0) {
                words.push(word.to_str().ok_or("the name of a file is not UTF-8")?.to_owned());
                continue;
            }
            let known = spec.options().find(|Opt(name, ..)| arg == Arg::Long(name));
            let Some(Opt(name, value, _)) = known else {
                return Err(format!("{}; {} accepts {}", unknown(&arg), spec.0, spec.shown()));
            };
            if value.is_empty() {
                given.insert(*name, String::new());
                continue;
            }
            let value = parser.value().map_err(|_| format!("--{name} needs a value"))?;
            let value = value.into_string().map_err(|_| format!("the value of --{name} is not UTF-8"))?;
            given.insert(*name, value);
        }
        Ok(Some(Self { command: spec.0, given, words }))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    fn need(&self, name: &str) -> Result<&str, String> {
        self.text(name).ok_or_else(|| format!("{} needs --{name}; see {} --help", self.command, self.command))
    }

    fn number(&self, name: &str, low: u64, high: u64) -> Result<Option<u64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (low..=high).contains(number));
        number.map(Some).ok_or_else(|| format!("--{name} takes a whole number from {low} to {high}, not {text:?}"))
    }

    /// A number that fits 32 bits, by its `high`.
    fn small(&self, name: &str, low: u64, high: u64) -> Result<Option<u32>, String> {
        self.number(name, low, high).map(|number| number.and_then(|number| u32::try_from(number).ok()))
    }
}

fn common(values: &Values) -> Result<Common, String> {
    let url = values.need("url")?;
    let (host, port, target) = parse_url(url)?;
    values.need("clients")?;
    let sources = values.text("source-addrs").map_or_else(|| Ok(Vec::new()), parse_sources)?;
    let channel = values.text("channel").unwrap_or("/load").to_owned();
    check_channel(&channel)?;
    let transport = transport(values)?;
    Ok(Common {
        url: url.to_owned(),
        target,
        host,
        port,
        clients: values.small("clients", 1, CLIENTS_MAX)?.unwrap_or(1),
        transport,
        deflate: values.text("deflate").is_some(),
        channel,
        pid: values.small("pid", 1, i32::MAX as u64)?,
        json: values.text("json").map(PathBuf::from),
        report: values.text("report").map(PathBuf::from),
        quiet: values.text("quiet").is_some(),
        sources,
        timeout_s: values.number("timeout", 1, SECONDS_MAX)?.unwrap_or(300),
        ramp: values.small("ramp", 1, CLIENTS_MAX)?.unwrap_or(256),
    })
}

fn transport(values: &Values) -> Result<Transport, String> {
    let name = values.text("transport").unwrap_or(Transport::default().name());
    let known = || Transport::ALL.map(Transport::name).join(" or ");
    let transport = Transport::ALL.into_iter().find(|transport| transport.name() == name);
    let transport = transport.ok_or_else(|| format!("--transport takes {}, not {name:?}", known()))?;
    if values.text("deflate").is_some() && transport != Transport::WebSocket {
        return Err("--deflate needs --transport websocket".into());
    }
    Ok(transport)
}

fn fanout(values: &Values) -> Result<Fanout, String> {
    let rate = values.text("rate").unwrap_or("0");
    let valid = rate.parse().ok().filter(|rate| (0.0..=RATE_MAX).contains(rate));
    Ok(Fanout {
        common: common(values)?,
        messages: values.small("messages", 1, MESSAGES_MAX)?.unwrap_or(100),
        rate: valid.ok_or_else(|| format!("--rate takes a number from 0 to {RATE_MAX}, not {rate:?}"))?,
        size: values.small("size", 0, SIZE_MAX)?.unwrap_or(100) as usize,
        drain_s: values.number("drain", 1, SECONDS_MAX)?.unwrap_or(10),
    })
}

fn idle(values: &Values) -> Result<Idle, String> {
    let mut common = common(values)?;
    values.need("seconds")?;
    values.need("pid")?;
    let seconds = values.number("seconds", 1, SECONDS_MAX)?.unwrap_or(1);
    if values.text("timeout").is_none() {
        common.timeout_s += seconds;
    }
    Ok(Idle { common, seconds })
}

fn floor(values: &Values) -> Result<Floor, String> {
    let listen = values.text("listen").unwrap_or("127.0.0.1:0");
    Ok(Floor {
        listen: listen.parse().map_err(|_| format!("--listen takes an address with a port, not {listen:?}"))?,
        drop_every: values.number("drop-every", 1, u64::MAX)?,
    })
}

fn doctor(values: &Values) -> Result<Need, String> {
    let sources = values.text("source-addrs").map_or_else(|| Ok(Vec::new()), parse_sources)?;
    let clients = values.number("clients", 1, CLIENTS_MAX)?.unwrap_or(10_000);
    Ok(Need { clients, sources: sources.len().max(1) as u64 })
}

fn reports(values: &Values) -> Result<Reports, String> {
    if values.words.is_empty() {
        return Err("report needs a file written by --json; see report --help".into());
    }
    let file = |word: &String| match word.split_once('=') {
        None => Ok((None, PathBuf::from(word))),
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((Some(name.into()), PathBuf::from(file))),
        Some(_) => Err(format!("report takes FILE or NAME=FILE, not {word:?}")),
    };
    let files = values.words.iter().map(file).collect::<Result<_, _>>()?;
    let path = |option| values.text(option).map(PathBuf::from);
    Ok(Reports { files, html: path("html"), markdown: path("markdown") })
}

fn parse_url(url: &str) -> Result<(String, u16, Target), String> {
    let wrong = |why: &str| format!("--url takes http://HOST[:PORT]/PATH, not {url:?}: {why}");
    let rest = url.strip_prefix("http://").ok_or_else(|| wrong("only http is supported"))?;
    if rest.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(wrong("it may hold visible ASCII only"));
    }
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    if authority.contains('@') {
        return Err(wrong("user names are not supported"));
    }
    // The last colon stands before the port unless it is inside the brackets of an IPv6 address.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong("bad port"))?),
        _ => (authority, 80),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.is_empty() {
        return Err(wrong("no host"));
    }
    Ok((bare.to_owned(), port, Target { host: authority.to_owned(), path: path.to_owned() }))
}

fn parse_sources(list: &str) -> Result<Vec<IpAddr>, String> {
    let parse = |word: &str| {
        word.trim().parse().map_err(|_| format!("--source-addrs takes addresses with commas between, not {word:?}"))
    };
    list.split(',').map(parse).collect()
}

fn check_channel(channel: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/!#$()+-.@_{}~'".contains(&byte);
    let well_formed =
        channel.starts_with('/') && !channel.ends_with('/') && !channel.contains("//") && channel.bytes().all(plain);
    if !well_formed || channel.starts_with("/meta/") || channel.starts_with("/service/") {
        return Err(format!("--channel takes a channel that can be published to, such as /load, not {channel:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Command, String> {
        parse(line.split_ascii_whitespace())
    }

    fn printed(line: &str) -> String {
        match words(line) {
            Ok(Command::Print(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn fanout_with_all_its_options() {
        let line = "fanout --url http://127.0.0.1:8080/cometd --clients 1000 --channel /a/b --messages 5 --rate 2.5 \
            --size 200 --pid 7 --json out.json --source-addrs 127.0.0.2,127.0.0.3 --timeout 60 --ramp 10 --drain 3";
        let Ok(Command::Fanout(fanout)) = words(line) else { panic!("no fanout") };
        assert_eq!((fanout.messages, fanout.rate, fanout.size, fanout.drain_s), (5, 2.5, 200, 3));
        let common = fanout.common;
        assert_eq!((common.host.as_str(), common.port, common.target.path.as_str()), ("127.0.0.1", 8080, "/cometd"));
        assert_eq!((common.clients, common.pid, common.ramp, common.timeout_s), (1000, Some(7), 10, 60));
        assert_eq!((common.channel.as_str(), common.sources.len()), ("/a/b", 2));
        assert_eq!((common.transport, common.deflate), (Transport::LongPolling, false));
        let Ok(Command::Fanout(fanout)) = words(&format!("{line} --deflate --transport websocket")) else {
            panic!("no fanout")
        };
        assert_eq!((fanout.common.transport, fanout.common.deflate), (Transport::WebSocket, true));
    }

    #[test]
    fn idle_and_floor() {
        let Ok(Command::Idle(idle)) = words("idle --url http://[::1]/x --clients=3 --seconds 20 --pid 1") else {
            panic!("no idle")
        };
        assert_eq!(
            (idle.seconds, idle.common.timeout_s, idle.common.host.as_str(), idle.common.port),
            (20, 320, "::1", 80)
        );
        assert_eq!(idle.common.target.host, "[::1]");
        let Ok(Command::Floor(floor)) = words("floor --drop-every 7") else { panic!("no floor") };
        assert_eq!((floor.listen.to_string().as_str(), floor.drop_every), ("127.0.0.1:0", Some(7)));
    }

    #[test]
    fn reports_and_the_doctor() {
        let Ok(Command::Report(args)) = words("report a.json new=b.json --markdown x.md") else { panic!("no report") };
        assert_eq!(args.files, [(None, "a.json".into()), (Some("new".into()), "b.json".into())]);
        assert_eq!((args.html, args.markdown), (None, Some("x.md".into())));
        assert_eq!(words("doctor"), Ok(Command::Doctor(Need { clients: 10_000, sources: 1 })));
        let need = Need { clients: 7, sources: 2 };
        assert_eq!(words("doctor --clients 7 --source-addrs ::1,::2"), Ok(Command::Doctor(need)));
        let Ok(Command::Idle(idle)) = words("idle --url http://h/ --clients 3 --seconds 2 --pid 1 --report x --quiet")
        else {
            panic!("no idle")
        };
        assert_eq!((idle.common.report, idle.common.quiet), (Some("x".into()), true));
    }

    #[test]
    fn errors_say_what_is_accepted() {
        let base = "fanout --url http://h/ --clients 1";
        let cases = [
            ("", "there are fanout, idle, floor, report, doctor"),
            ("storm", "unknown command \"storm\"; there are fanout, idle, floor"),
            ("--what", "unknown option --what; before a command there are --help, --version"),
            ("floor --url x", "unknown option --url; floor accepts --listen, --help"),
            ("floor extra", "unexpected word \"extra\""),
            ("fanout --clients 1", "fanout needs --url"),
            ("fanout --url http://h/", "fanout needs --clients"),
            ("fanout --url https://h/ --clients 1", "only http is supported"),
            ("fanout --url http://h:x/ --clients 1", "bad port"),
            ("fanout --url http:///x --clients 1", "no host"),
            ("fanout --url http://h/ --clients 0", "--clients takes a whole number from 1 to 1000000, not \"0\""),
            ("fanout --url http://h/ --clients", "--clients needs a value"),
            ("idle --url http://h/ --clients 1 --pid 1", "idle needs --seconds"),
            ("idle --url http://h/ --clients 1 --seconds 1", "idle needs --pid"),
            ("report", "report needs a file"),
            ("report =x", "report takes FILE or NAME=FILE, not \"=x\""),
            ("report x --json y", "unknown option --json; report accepts --html, --markdown, --help"),
            ("doctor 5", "unexpected word \"5\""),
            ("doctor --clients 0", "--clients takes a whole number from 1"),
            ("floor --listen here", "--listen takes an address with a port"),
        ];
        for (line, expected) in cases {
            let text = words(line).unwrap_err();
            assert!(text.contains(expected), "{line}: {text}");
        }
        for (option, expected) in [
            ("--rate -1", "--rate takes a number from 0"),
            ("--rate NaN", "--rate takes a number from 0"),
            ("--transport carrier-pigeon", "--transport takes long-polling or websocket, not \"carrier-pigeon\""),
            ("--deflate", "--deflate needs --transport websocket"),
            ("--channel /meta/x", "--channel takes a channel"),
            ("--channel /a/*", "--channel takes a channel"),
            ("--source-addrs 127.0.0.2,x", "not \"x\""),
            ("-c 5", "unknown option -c; fanout accepts --url, --clients,"),
        ] {
            let text = words(&format!("{base} {option}")).unwrap_err();
            assert!(text.contains(expected), "{option}: {text}");
        }
    }

    #[test]
    fn help_names_every_option_but_the_hidden() {
        assert!(printed("--version").starts_with("encke-loadtest 0."));
        assert!(printed("-h").contains("fanout") && printed("--help").contains("floor"));
        for Spec(name, ..) in COMMANDS {
            let text = printed(&format!("{name} --help"));
            assert!(text.contains("Usage") && !text.contains("drop-every"), "{text}");
        }
        assert!(printed("fanout --clients 1 --help").contains("--source-addrs A,B"));
    }
}
