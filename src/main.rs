//! The `encke` daemon: command line, log, signals, and the server.

mod logging;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use encke::auth::Auth;
use encke::config::{self, Config, Inputs, KEYS};
use encke::framing::TRANSPORTS;
use encke::hooks::Hooks;
use encke::server::{Asked, Builder, Listen, Server};
#[cfg(feature = "tls")]
use encke::{http::date::iso8601, server::Identity};

const USAGE: &str = "\
encke: a Comet server that speaks Bayeux (CometD, Faye) to thousands of waiting clients.

Usage: encke [--config FILE] [--KEY VALUE]…
       encke check [--config FILE] [--KEY VALUE]…

`encke check` serves nothing: it shows the configuration in force, with where each value comes from, or what is wrong
with it. What it shows is a file for --config, but for what is secret: http-token and [auth] are to be put there.

Each key is also a key of the file, which is TOML (timeout = \"30s\"), and a variable of the environment
(ENCKE_TIMEOUT=30s; ENCKE_CONFIG names the file). The command line counts before the environment, that before the file,
and that before the default. Lists are comma-separated. Times are 500ms, 30s, 5m, 24h or 0; sizes are 512B, 64KiB or
1MiB. A rule for channels is a table of TOML: --channel '{pattern = \"/chat/**\", history = {count = 100}, lazy = true}'.
";

const USAGE_END: &str = "
Besides:
      --config FILE                           the configuration file; none by default
  -h, --help                                  this text
  -V, --version                               the version

Signals: SIGTERM and SIGINT let clients leave within shutdown-timeout, and a second one ends it at once. SIGHUP reads
the file again, and those of keys. SIGUSR1 logs counts of sessions, connections and messages.

Sockets that systemd has opened (LISTEN_FDS) take the place of listen. Logs go to stderr; RUST_LOG=debug (or
encke=trace, …) shows more.
";

/// The first file descriptor that systemd passes on.
const FIRST_SOCKET: usize = 3;

/// The exit code of a program that panics, by Rust's custom.
const PANIC_CODE: u8 = 101;

/// What the command line asks for.
enum Wish {
    Serve,
    Check,
    Say(String),
}

/// What ends the daemon other than an order to end.
enum Failure {
    /// It was asked for something that makes no sense.
    Usage(String),
    /// It cannot do what it was asked for.
    Other(String),
    /// A bug, of which the log has told.
    Bug,
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

fn main() -> ExitCode {
    match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => {
            logging::say(&error);
            ExitCode::from(2)
        }
        Err(Failure::Other(error)) => {
            logging::say(&error);
            ExitCode::FAILURE
        }
        Err(Failure::Bug) => {
            logging::say("ended by the bug that the log tells of; please report it");
            ExitCode::from(PANIC_CODE)
        }
    }
}

fn work() -> Result<(), Failure> {
    let mut inputs = Inputs::default();
    let wish = read_arguments(&mut inputs).map_err(Failure::Usage)?;
    if let Wish::Say(text) = wish {
        return say(&text);
    }
    inputs.environment(std::env::vars_os()).map_err(Failure::Usage)?;
    let mut config = inputs.load().map_err(Failure::Usage)?;
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    config.fit_into_files(files).map_err(Failure::Usage)?;
    match wish {
        Wish::Check => check(&config),
        _ => serve(config, &inputs, files),
    }
}

fn read_arguments(inputs: &mut Inputs) -> Result<Wish, String> {
    use lexopt::prelude::{Long, Short, Value};
    let mut wish = Wish::Serve;
    let mut words = lexopt::Parser::from_env();
    while let Some(word) = words.next().map_err(|error| error.to_string())? {
        match word {
            Short('h') | Long("help") => {
                let transports = TRANSPORTS.join(", ");
                let keys = config::help();
                return Ok(Wish::Say(format!("{USAGE}{keys}\nTransports: {transports}.\n{USAGE_END}")));
            }
            Short('V') | Long("version") => return Ok(Wish::Say(format!("encke {}\n", env!("CARGO_PKG_VERSION")))),
            Long(name) => {
                let name = name.to_owned();
                let kind = KEYS.iter().find(|key| key.name == name).map(config::Key::kind);
                let Some(kind) = kind.or((name == "config").then_some("FILE")) else {
                    return inputs.flag(&name, String::new()).map(|()| wish);
                };
                let value = words.value().map_err(|_| format!("--{name} needs a value: {kind}"))?;
                let value = value.into_string().map_err(|value| format!("--{name} {value:?}: not UTF-8"))?;
                inputs.flag(&name, value)?;
            }
            Short(letter) => return Err(format!("unknown option -{letter}: see encke --help")),
            Value(value) if value == "check" && matches!(wish, Wish::Serve) => wish = Wish::Check,
            Value(value) if matches!(wish, Wish::Serve) && is_name(&value) => {
                return Err(format!(
                    "unexpected {value:?}: the only command is check, and options are --KEY VALUE; see encke --help"
                ));
            }
            Value(value) => return Err(format!("unexpected {value:?}: options are --KEY VALUE; see encke --help")),
        }
    }
    Ok(wish)
}

/// Whether a word can be meant as a command.
fn is_name(word: &OsStr) -> bool {
    word.to_str().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

/// Writes to stdout. A reader that has seen enough is no fault.
fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    // In one piece: whoever reads the first line and goes must not break the next one.
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Other(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Shows the configuration, if the files that it names are good as well.
fn check(config: &Config) -> Result<(), Failure> {
    #[cfg(feature = "tls")]
    if let Some(identity) = config.identity().map_err(Failure::Usage)?
        && let Some(warning) = config.warning_of(&identity, logging::unix_ms() / 1_000)
    {
        eprintln!("encke: {warning}");
    }
    say(&config.text())
}

fn serve(mut config: Config, inputs: &Inputs, files: u64) -> Result<(), Failure> {
    logging::start();
    let mut builder = config.builder();
    let auth = config.auth().map(Auth::new).transpose().map_err(|error| Failure::Usage(error.to_string()))?;
    if let Some(auth) = &auth {
        builder = builder.hooks(Hooks::default().policy(auth.clone()));
    }
    #[cfg(feature = "tls")]
    let builder = match certificate(&config).map_err(Failure::Usage)? {
        Some(identity) => builder.identity(identity),
        None => builder,
    };
    let (builder, inherited) = with_inherited(builder).map_err(Failure::Other)?;
    #[cfg(feature = "tls")]
    if config.has_idle_certificate() && !inherited {
        log::warn!("tls-certificate is not used: no place in listen begins with tls:");
    }
    if let Some(statement) = config.said_listen().filter(|_| inherited) {
        log::warn!("{statement}: is not used, for systemd has opened the sockets to listen on");
    }
    let mut server = builder.build()?;
    server.obey_signals()?;
    say(&greeting(&server, &config))?;
    let file = config.file().map(|file| format!("configured by {}", file.display()));
    let file = file.as_deref().unwrap_or("without a configuration file");
    let (version, connections) = (env!("CARGO_PKG_VERSION"), config.connections());
    log::info!("started, version {version}, with room for {connections} connections, {file}");
    // Beyond one peer's bytes there is nothing that could go on after a panic: what the clients share may be half changed.
    while catch_unwind(AssertUnwindSafe(|| server.run_until_asked())).map_err(|_| Failure::Bug)?? == Asked::Reload {
        if let Err(error) = reload(&mut server, &mut config, inputs, (files, inherited, auth.as_ref())) {
            log::error!("{error}; the configuration stays as it was");
        }
    }
    Ok(())
}

/// What the server proves itself with, if it is to. Logs how long that lasts, where it is not long.
#[cfg(feature = "tls")]
fn certificate(config: &Config) -> Result<Option<Identity>, String> {
    let identity = config.identity()?;
    if let Some(warning) =
        identity.as_ref().and_then(|identity| config.warning_of(identity, logging::unix_ms() / 1_000))
    {
        log::warn!("{warning}");
    }
    Ok(identity)
}

/// Where it listens, a line each, and what to do with it.
fn greeting(server: &Server, config: &Config) -> String {
    let mut text: String = server.urls().iter().map(|url| format!("encke listening on {url}\n")).collect();
    let place = server.listening().into_iter().find_map(|at| Some((at.address()?, at)));
    if let Some((address, at)) = place.filter(|_| config.demo()) {
        let scheme = if matches!(at, Listen::Tls(_)) { "https" } else { "http" };
        // A browser cannot ask for any address.
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        text.push_str(&format!("try it: {scheme}://{}/\n", SocketAddr::new(ip, address.port())));
    }
    text
}

/// Reads the configuration again, and has the server follow it. Logs what has changed.
fn reload(
    server: &mut Server,
    config: &mut Config,
    inputs: &Inputs,
    process: (u64, bool, Option<&Auth>),
) -> Result<(), String> {
    let (files, inherited, auth) = process;
    let Some(file) = inputs.file() else {
        // What the command line says may name files.
        #[cfg(feature = "tls")]
        let identity = certificate(config)?;
        if auth.is_some() {
            admit(auth, &inputs.load()?)?;
            log::info!("read the keys of auth again");
        }
        #[cfg(feature = "tls")]
        if renew(server, identity) {
            return Ok(());
        }
        if auth.is_none() {
            log::warn!("asked to read the configuration again, but there is no configuration file");
        }
        return Ok(());
    };
    // A pipe is at its end, or keeps whoever opens it waiting.
    if fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(format!("{} is no regular file and cannot be read again", file.display()));
    }
    let mut next = inputs.load()?;
    next.fit_into_files(files)?;
    let (next, changes) = config.succeeded_by(next, inherited)?;
    #[cfg(feature = "tls")]
    let identity = certificate(&next)?;
    if !changes.live.is_empty() {
        server.reconfigure(next.settings()).map_err(|error| error.to_string())?;
    }
    admit(auth, &next)?;
    #[cfg(feature = "tls")]
    renew(server, identity);
    match changes.live.len() + changes.at_restart.len() {
        0 => log::info!("read {} again: the settings have not changed", file.display()),
        _ => log::info!("read {} again", file.display()),
    }
    for line in &changes.live {
        log::info!("{line}");
    }
    for line in &changes.at_restart {
        log::warn!("{line}");
    }
    *config = next;
    Ok(())
}

/// Has the policy follow what has just been read. That has been checked, so nothing stays half done.
fn admit(auth: Option<&Auth>, config: &Config) -> Result<(), String> {
    match (auth, config.auth()) {
        (Some(auth), Some(settings)) => auth.replace(settings).map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

/// Has the server prove itself with what has just been read, if there is something.
#[cfg(feature = "tls")]
fn renew(server: &mut Server, identity: Option<Identity>) -> bool {
    let Some(identity) = identity else { return false };
    let expiry =
        identity.expires().map(|seconds| format!(", which expires {}", iso8601(seconds.saturating_mul(1_000))));
    let which = if server.renew(identity) { "a new certificate" } else { "the same certificate as before" };
    log::info!("new connections are shown {which}{}", expiry.unwrap_or_default());
    true
}

/// Has the builder use the sockets that systemd has opened, if there are any; whether there are.
fn with_inherited(mut builder: Builder) -> Result<(Builder, bool), String> {
    // systemd tells them apart by what the units call them.
    #[cfg(feature = "tls")]
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    #[cfg(feature = "tls")]
    let is_tls = |at: usize| names.split(':').nth(at) == Some("tls");
    let mut sockets = listenfd::ListenFd::from_env();
    if sockets.len() == 0 {
        return Ok((builder, false));
    }
    builder = builder.listen(Vec::<Listen>::new());
    for at in 0..sockets.len() {
        let wrong = |what: &str| format!("LISTEN_FDS: file descriptor {} {what}", FIRST_SOCKET + at);
        if let Ok(Some(socket)) = sockets.take_tcp_listener(at) {
            let socket = TcpStream::from(OwnedFd::from(socket));
            // With Accept=yes, systemd passes on connections; they look the same until one listens to them.
            if socket.peer_addr().is_ok() {
                return Err(wrong("is a connection: write Accept=no into the socket unit"));
            }
            let socket = TcpListener::from(OwnedFd::from(socket));
            #[cfg(feature = "tls")]
            if is_tls(at) {
                builder = builder.listen_on_tls(socket);
                continue;
            }
            builder = builder.listen_on_tcp(socket);
        } else if let Ok(Some(socket)) = sockets.take_unix_listener(at) {
            let socket: UnixListener = socket;
            builder = builder.listen_on_unix(socket);
        } else {
            return Err(wrong("is neither a TCP socket nor a Unix stream socket: write ListenStream= into the unit"));
        }
    }
    Ok((builder, true))
}
