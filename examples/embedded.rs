//! The smallest server that is of use: each line that it reads is an event for whoever listens. It ends with its input.
//!
//! ```text
//! $ tail -f /var/log/syslog | cargo run --example embedded
//! URL=http://127.0.0.1:40123/cometd
//! ```
//!
//! In a second terminal, paste the line that it printed, and then:
//!
//! ```sh
//! bayeux() { curl -sS "$URL" -H 'Content-Type: application/json' -d "$1"; echo; }
//! ID=$(bayeux '[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]' |
//!     sed 's/.*"clientId":"\([^"]*\)".*/\1/')
//! bayeux '[{"channel":"/meta/subscribe","clientId":"'$ID'","subscription":"/lines"}]'
//! for n in 1 2 3 4 5; do
//!     bayeux '[{"channel":"/meta/connect","clientId":"'$ID'","connectionType":"long-polling"}]'
//! done
//! ```
//!
//! The first connect is answered at once, each one after it when there are lines. Another place to listen on than a free
//! port is its argument: `embedded 0.0.0.0:8080`.
//!
//! `examples/minimal/measure.py` builds it as small as it gets and measures it; `examples/minimal/Cargo.toml` is how.

use std::io::{self, BufRead as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, thread};

use encke::server::{Handle, HandleError, Server};

/// Between two tries to publish while the server is behind. The input waits meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    let at = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let Ok(at) = at.parse::<SocketAddr>() else {
        eprintln!("{at:?}: must be an address and a port, such as 127.0.0.1:8080");
        return ExitCode::FAILURE;
    };
    match serve(at) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(at: SocketAddr) -> io::Result<()> {
    let server = Server::builder().listen([at]).build()?;
    for url in server.urls() {
        println!("URL={url}");
    }
    let handle = server.handle();
    thread::spawn(move || {
        publish_lines(&handle);
        // Whoever waits gets an answer first. If there is no server any more, that is what was wanted.
        let _ = handle.shutdown();
    });
    // The loop stays on this thread until the handle ends it.
    server.run()
}

/// Publishes what is read until there is no more, or no server.
fn publish_lines(handle: &Handle) {
    for line in io::stdin().lock().lines() {
        // Data is JSON: a string, with its quotes.
        let Ok(data) = line.and_then(|line| Ok(serde_json::to_string(&line)?)) else {
            return eprintln!("the input is no UTF-8, or cannot be read");
        };
        loop {
            match handle.publish("/lines", &data) {
                Ok(()) => break,
                Err(HandleError::Full) => thread::sleep(PAUSE),
                Err(error) => return eprintln!("{error}"),
            }
        }
    }
}
