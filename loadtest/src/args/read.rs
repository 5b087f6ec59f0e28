//! Owns how the words of the command line are read, and what is said of those that are no good.

use super::spec::{self, COMMANDS, Opt, Spec};
use super::{Against, Command, Common, Floor, Merge, Publishing, Reports, Run, Scenario, Shard, Trust};
use crate::bayeux::Transport;
use crate::doctor::Need;
use crate::http::Target;
use crate::protocol::Protocol;
use lexopt::{Arg, Parser};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// Clients of one run.
const CLIENTS_MAX: u64 = 1_000_000;
/// Messages of one run; more do not fit the numbers of [`crate::event::Event`].
const MESSAGES_MAX: u64 = 100_000_000;
/// Messages in one request.
const BURST_MAX: u64 = 10_000;
/// Bytes of the data of a message.
const SIZE_MAX: u64 = 4 * 1024 * 1024;
/// Channels of one run.
const CHANNELS_MAX: u64 = 100_000;
/// Channels of one client; all subscribes go in one request.
const CHANNELS_PER_CLIENT_MAX: u64 = 1000;
/// Seconds of anything.
const SECONDS_MAX: u64 = 86_400;
/// Publishes in a second.
const RATE_MAX: f64 = 1_000_000.0;
/// Processes that share a run.
const SHARDS_MAX: u32 = 1000;
/// Addresses of a range.
const SOURCES_MAX: u32 = 1000;

/// Reads the words after the program's name; the error is a line for the user.
pub(crate) fn parse<I>(words: I) -> Result<Command, String>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let known = || COMMANDS.map(|spec| spec.name).join(", ");
    let mut parser = Parser::from_args(words);
    let name = match parser.next().map_err(|error| error.to_string())? {
        None => return Err(format!("a command is missing; there are {}", known())),
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Command::Print(spec::help())),
        Some(Arg::Long("version") | Arg::Short('V')) => return Ok(Command::Print(spec::version() + "\n")),
        Some(Arg::Value(name)) => name.to_string_lossy().into_owned(),
        Some(option) => return Err(format!("{}; before a command there are --help, --version", unknown(&option))),
    };
    let Some(spec) = COMMANDS.into_iter().find(|spec| spec.name == name) else {
        return Err(format!("unknown command {name:?}; there are {}", known()));
    };
    let Some(values) = Values::read(spec, &mut parser)? else { return Ok(spec.help()) };
    match spec.name {
        "floor" => floor(&values).map(Command::Floor),
        "merge" => merge(values).map(Command::Merge),
        "report" => reports(&values).map(Command::Report),
        "doctor" => doctor(&values).map(Command::Doctor),
        _ => run(&values).map(Box::new).map(Command::Run),
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
    words: Vec<PathBuf>,
}

impl Values {
    /// `None` if help is asked for.
    fn read(spec: &'static Spec, parser: &mut Parser) -> Result<Option<Self>, String> {
        let mut values = Self { command: spec.name, given: BTreeMap::new(), words: Vec::new() };
        while let Some(arg) = parser.next().map_err(|error| error.to_string())? {
            if matches!(arg, Arg::Long("help") | Arg::Short('h')) {
                return Ok(None);
            }
            let known = spec.options().find(|Opt(name, ..)| arg == Arg::Long(name));
            let Some(Opt(name, value, _)) = known else {
                match arg {
                    Arg::Value(word) if !spec.words.is_empty() => values.words.push(word.into()),
                    arg => return Err(format!("{}; {} accepts {}", unknown(&arg), spec.name, spec.shown())),
                }
                continue;
            };
            if value.is_empty() {
                values.given.insert(*name, String::new());
                continue;
            }
            let value = parser.value().map_err(|_| format!("--{name} needs a value"))?;
            let value = value.into_string().map_err(|_| format!("the value of --{name} is not UTF-8"))?;
            values.given.insert(*name, value);
        }
        Ok(Some(values))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
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

    fn decimal(&self, name: &str, high: f64) -> Result<Option<f64>, String> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| (0.0..=high).contains(number));
        number.map(Some).ok_or_else(|| format!("--{name} takes a number from 0 to {high}, not {text:?}"))
    }
}

fn run(values: &Values) -> Result<Run, String> {
    let mut common = common(values)?;
    let scenario = match values.command {
        "rooms" => {
            let rooms = values.small("rooms", 1, CHANNELS_MAX)?.unwrap_or(100);
            let most = u64::from(rooms).min(CHANNELS_PER_CLIENT_MAX);
            let per_client = values.small("rooms-per-client", 1, most)?.unwrap_or(10.min(rooms));
            Scenario::Rooms { rooms, per_client }
        }
        "idle" => {
            values.need("seconds")?;
            values.need("pid")?;
            let seconds = values.number("seconds", 1, SECONDS_MAX)?.unwrap_or(1);
            if !values.has("timeout") {
                common.timeout_s += seconds;
            }
            Scenario::Idle { seconds }
        }
        "storm" => Scenario::Storm { away_s: values.decimal("away", SECONDS_MAX as f64)?.unwrap_or(0.0) },
        "slow" => Scenario::Slow {
            share: values.decimal("slow-share", 100.0)?.unwrap_or(10.0) / 100.0,
            bytes_per_s: values.number("slow-rate", 0, u64::from(u32::MAX))?.unwrap_or(0),
        },
        "mixed" => Scenario::Mixed {
            channels: values.small("channels", 1, CHANNELS_PER_CLIENT_MAX)?.unwrap_or(8),
            speakers: values.small("speakers", 0, u64::from(common.clients))?.unwrap_or(8.min(common.clients)),
        },
        _ => Scenario::Fanout,
    };
    let publishing = publishing(values, scenario)?;
    if common.shard.is_some() && publishing.rate == 0.0 {
        return Err(
            "--shard needs --rate: nobody sees the deliveries of all shards, to publish the next after the last".into(),
        );
    }
    Ok(Run { common, scenario, publishing })
}

fn publishing(values: &Values, scenario: Scenario) -> Result<Publishing, String> {
    let (messages, rate, burst, size) = match scenario {
        Scenario::Idle { .. } => return Ok(Publishing::default()),
        Scenario::Rooms { .. } => (1000, 0.0, 10, 50),
        Scenario::Storm { .. } | Scenario::Slow { .. } => (100, 50.0, 1, 100),
        Scenario::Fanout | Scenario::Mixed { .. } => (100, 0.0, 1, 100),
    };
    let publishing = Publishing {
        messages: values.small("messages", 1, MESSAGES_MAX)?.unwrap_or(messages),
        rate: values.decimal("rate", RATE_MAX)?.unwrap_or(rate),
        burst: values.small("burst", 1, BURST_MAX)?.unwrap_or(burst),
        size: values.small("size", 0, SIZE_MAX)?.unwrap_or(size) as usize,
        drain_s: values.number("drain", 1, SECONDS_MAX)?.unwrap_or(10),
    };
    if !publishing.messages.is_multiple_of(publishing.burst) {
        let Publishing { messages, burst, .. } = publishing;
        return Err(format!("--messages {messages} is no multiple of --burst {burst}"));
    }
    if matches!(scenario, Scenario::Storm { .. }) && publishing.rate == 0.0 {
        return Err("storm needs --rate above 0: after a loss nobody would wait for all to have the last".into());
    }
    Ok(publishing)
}

fn common(values: &Values) -> Result<Common, String> {
    let url = values.need("url")?;
    let Url { host, port, target, secure } = parse_url("url", url)?;
    let trust = trust(values, secure)?;
    if values.command != "rooms" {
        values.need("clients")?;
    }
    let channel = values.text("channel").unwrap_or("/load").to_owned();
    check_channel(&channel)?;
    let transports = transports(values)?;
    let protocol = protocol(values, &transports)?;
    let publish = publish(values, protocol, &target)?;
    let ack = values.has("ack");
    if ack && transports.contains(&Transport::EventSource) {
        return Err("--ack cannot be had with eventsource: what comes on it is no reply that could be numbered".into());
    }
    Ok(Common {
        url: url.to_owned(),
        target,
        host,
        port,
        secure,
        trust,
        protocol,
        publish,
        clients: values.small("clients", 1, CLIENTS_MAX)?.unwrap_or(1000),
        transports,
        deflate: values.has("deflate"),
        ack,
        channel,
        pid: values.small("pid", 1, i32::MAX as u64)?,
        json: values.text("json").map(PathBuf::from),
        report: values.text("report").map(PathBuf::from),
        quiet: values.has("quiet"),
        sources: values.text("source-addrs").map_or_else(|| Ok(Vec::new()), parse_sources)?,
        timeout_s: values.number("timeout", 1, SECONDS_MAX)?.unwrap_or(300),
        ramp: values.small("ramp", 1, CLIENTS_MAX)?.unwrap_or(256),
        shard: shard(values)?,
        against: match (values.has("no-floor"), values.text("floor-json")) {
            (true, Some(_)) => return Err("--no-floor and --floor-json exclude each other".into()),
            (true, None) => Against::Nothing,
            (false, Some(file)) => Against::File(file.into()),
            (false, None) => Against::Floor,
        },
    })
}

fn trust(values: &Values, secure: bool) -> Result<Trust, String> {
    let trust = match (values.text("ca"), values.has("insecure")) {
        (Some(_), true) => return Err("--ca and --insecure exclude each other".into()),
        (Some(file), false) => Trust::Authority(file.into()),
        (None, true) => Trust::Anyone,
        (None, false) => Trust::System,
    };
    if !secure && trust != Trust::System {
        return Err("--ca and --insecure need a --url with https or wss".into());
    }
    Ok(trust)
}

fn transports(values: &Values) -> Result<Vec<Transport>, String> {
    let mixed = values.command == "mixed";
    let known = || Transport::ALL.map(Transport::name).join(", ");
    let named = |name: &str| {
        let transport = Transport::ALL.into_iter().find(|transport| transport.name() == name);
        transport.ok_or_else(|| format!("--transport takes {}, not {name:?}", known()))
    };
    let transports = match values.text("transport") {
        Some(names) if mixed => names.split(',').map(named).collect::<Result<_, _>>()?,
        Some(name) => vec![named(name)?],
        None if mixed => Transport::ALL.into(),
        None => vec![Transport::default()],
    };
    if values.has("deflate") && !transports.contains(&Transport::WebSocket) {
        return Err("--deflate needs --transport websocket".into());
    }
    Ok(transports)
}

/// What the server speaks, and that it can do with it what is asked for.
fn protocol(values: &Values, transports: &[Transport]) -> Result<Protocol, String> {
    let name = values.text("protocol").unwrap_or(Protocol::default().name());
    let known = || Protocol::ALL.map(Protocol::name).join(", ");
    let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
    let protocol = protocol.ok_or_else(|| format!("--protocol takes one of {}, not {name:?}", known()))?;
    if protocol == Protocol::Nchan {
        if transports.contains(&Transport::Streaming) {
            return Err("--protocol nchan knows no --transport streaming".into());
        }
        if values.has("ack") || values.small("burst", 1, BURST_MAX)?.is_some_and(|burst| burst > 1) {
            return Err("--protocol nchan knows neither --ack nor a --burst of several messages in one request".into());
        }
    }
    Ok(protocol)
}

/// Where messages are published. One server is measured, which has one address.
fn publish(values: &Values, protocol: Protocol, target: &Target) -> Result<Target, String> {
    match (protocol, values.text("publish-url")) {
        (Protocol::Bayeux, None) => Ok(target.clone()),
        (Protocol::Bayeux, Some(_)) => Err("--publish-url needs --protocol nchan".into()),
        (Protocol::Nchan, None) => Err("--protocol nchan needs --publish-url".into()),
        (Protocol::Nchan, Some(url)) => {
            let place = parse_url("publish-url", url)?.target;
            if place.host != target.host {
                return Err(format!(
                    "--publish-url must begin as --url does, with {}, not {}",
                    target.host, place.host
                ));
            }
            Ok(place)
        }
    }
}

fn shard(values: &Values) -> Result<Option<Shard>, String> {
    let Some(text) = values.text("shard") else {
        return if values.has("run") { Err("--run needs --shard".into()) } else { Ok(None) };
    };
    let run = values.text("run").ok_or("--shard needs --run: the name by which the shards know each other")?;
    if run.is_empty() || !run.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(format!("--run takes letters, digits and -, not {run:?}"));
    }
    let parsed = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
    let valid = parsed.filter(|(index, of)| (1..=*of).contains(index) && (2..=SHARDS_MAX).contains(of));
    let (index, of) = valid
        .ok_or_else(|| format!("--shard takes I/N, such as 1/2, with I from 1 to N and N from 2, not {text:?}"))?;
    Ok(Some(Shard { index, of, run: run.to_owned() }))
}

fn floor(values: &Values) -> Result<Floor, String> {
    let listen = values.text("listen").unwrap_or("127.0.0.1:0");
    Ok(Floor {
        listen: listen.parse().map_err(|_| format!("--listen takes an address with a port, not {listen:?}"))?,
        drop_every: values.number("drop-every", 1, u64::MAX)?,
    })
}

fn merge(values: Values) -> Result<Merge, String> {
    if values.words.len() < 2 {
        return Err("merge needs the files of two shards at least; see merge --help".into());
    }
    let json = values.text("json").map(PathBuf::from);
    Ok(Merge { files: values.words, json })
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
    let file = |word: &PathBuf| match word.to_str().and_then(|word| word.split_once('=')) {
        None => Ok((None, word.clone())),
        Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok((Some(name.into()), PathBuf::from(file))),
        Some(_) => Err(format!("report takes FILE or NAME=FILE, not {word:?}")),
    };
    let files = values.words.iter().map(file).collect::<Result<_, _>>()?;
    let path = |option| values.text(option).map(PathBuf::from);
    Ok(Reports { files, html: path("html"), markdown: path("markdown") })
}

/// What a URL says.
struct Url {
    host: String,
    port: u16,
    target: Target,
    secure: bool,
}

fn parse_url(option: &str, url: &str) -> Result<Url, String> {
    let wrong = |why: &str| format!("--{option} takes http[s]://HOST[:PORT]/PATH, not {url:?}: {why}");
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    let secure = match scheme {
        "http" | "ws" => false,
        "https" | "wss" => true,
        _ => return Err(wrong("the scheme is none of http, https, ws, wss")),
    };
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
        _ => (authority, if secure { 443 } else { 80 }),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if bare.is_empty() {
        return Err(wrong("no host"));
    }
    let target = Target { host: authority.to_owned(), path: path.to_owned() };
    Ok(Url { host: bare.to_owned(), port, target, secure })
}

fn parse_sources(list: &str) -> Result<Vec<IpAddr>, String> {
    let mut sources = Vec::new();
    for word in list.split(',').map(str::trim) {
        let wrong = || format!("--source-addrs takes addresses and ranges of them with commas between, not {word:?}");
        let Some((low, high)) = word.split_once('-') else {
            sources.push(word.parse().map_err(|_| wrong())?);
            continue;
        };
        let number = |text: &str| text.trim().parse().map(|address: Ipv4Addr| u32::from(address)).map_err(|_| wrong());
        let (low, high) = (number(low)?, number(high)?);
        if low > high || high - low >= SOURCES_MAX {
            return Err(format!("--source-addrs {word:?} is no range of 1 to {SOURCES_MAX} addresses"));
        }
        sources.extend((low..=high).map(|number| IpAddr::from(Ipv4Addr::from(number))));
    }
    Ok(sources)
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
#[path = "tests.rs"]
mod tests;
