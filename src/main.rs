//! The `encke` daemon: options, log, signals, and the server.

use std::io::Write;
use std::process::ExitCode;

use encke::config::{self as options, Options};
use encke::http::date::iso8601;

const USAGE: &str = "\
encke: a Comet server that speaks Bayeux (CometD, Faye) to thousands of waiting clients.

Usage: encke [--KEY VALUE]…

Lists are comma-separated. Times are 500ms, 30s, 5m or 0; sizes are 512B, 64KiB or 1MiB.

";

const USAGE_END: &str = "
  -h, --help                                 this text
  -V, --version                              the version

Logs go to stderr; RUST_LOG=debug (or encke=trace, …) shows more. SIGTERM and SIGINT end it.
";

/// What the command line asks for.
enum Wish {
    Serve(Box<Options>),
    Say(String),
}

fn main() -> ExitCode {
    let wish = match read_arguments() {
        Ok(wish) => wish,
        Err(error) => {
            eprintln!("encke: {error}");
            return ExitCode::from(2);
        }
    };
    match wish {
        Wish::Say(text) => match std::io::stdout().write_all(text.as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                eprintln!("encke: {error}");
                ExitCode::FAILURE
            }
            // A reader that has seen enough is no fault.
            _ => ExitCode::SUCCESS,
        },
        Wish::Serve(options) => match serve(*options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("encke: {error}");
                ExitCode::FAILURE
            }
        },
    }
}

fn read_arguments() -> Result<Wish, String> {
    use lexopt::prelude::{Long, Short, Value};
    let mut options = Options::default();
    let mut words = lexopt::Parser::from_env();
    while let Some(word) = words.next().map_err(|error| error.to_string())? {
        match word {
            Short('h') | Long("help") => return Ok(Wish::Say(format!("{USAGE}{}{USAGE_END}", options::help()))),
            Short('V') | Long("version") => return Ok(Wish::Say(format!("encke {}\n", env!("CARGO_PKG_VERSION")))),
            Long(name) => {
                let name = name.to_owned();
                if !options::KEYS.iter().any(|key| key.name == name) {
                    options.set(&name, "")?;
                }
                let value = words.value().map_err(|error| error.to_string())?;
                let value = value.into_string().map_err(|value| format!("--{name} {value:?}: not UTF-8"))?;
                options.set(&name, &value)?;
            }
            Short(letter) => return Err(format!("unknown option -{letter}: see encke --help")),
            Value(value) => return Err(format!("unexpected {value:?}: options are --KEY VALUE; see encke --help")),
        }
    }
    Ok(Wish::Serve(Box::new(options)))
}

fn serve(mut options: Options) -> std::io::Result<()> {
    start_log();
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    options.fit_into_files(files);
    let connections = options.connections();
    let mut server = options.into_builder().build()?;
    server.obey_signals()?;
    let mut stdout = std::io::stdout().lock();
    let said = server.urls().iter().try_for_each(|url| writeln!(stdout, "encke listening on {url}"));
    said.and_then(|()| stdout.flush())
        .map_err(|error| std::io::Error::new(error.kind(), format!("cannot write to stdout: {error}")))?;
    drop(stdout);
    log::info!("started, version {}, with room for {connections} connections", env!("CARGO_PKG_VERSION"));
    server.run()?;
    log::info!("stopped");
    Ok(())
}

fn start_log() {
    // An empty RUST_LOG is most likely meant as none; it would silence everything.
    let wanted = std::env::var("RUST_LOG").ok().filter(|wanted| !wanted.trim().is_empty());
    env_logger::Builder::new()
        .parse_filters(wanted.as_deref().unwrap_or("info"))
        .format(|out, record| {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            let time = iso8601(u64::try_from(since.as_millis()).unwrap_or_default());
            writeln!(out, "{time} {:5} {}", record.level(), record.args())
        })
        .init();
}
