//! A server inside another program: a thread of ours publishes a tick each second, whoever listens.
//!
//! ```text
//! $ cargo run --example embed
//! URL=http://127.0.0.1:40123/cometd
//! ```
//!
//! In a second terminal, paste the line that it printed, and then:
//!
//! ```sh
//! bayeux() { curl -sS "$URL" -H 'Content-Type: application/json' -d "$1"; echo; }
//! ID=$(bayeux '[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]' |
//!     sed 's/.*"clientId":"\([^"]*\)".*/\1/')
//! bayeux '[{"channel":"/meta/subscribe","clientId":"'$ID'","subscription":"/tick"}]'
//! for n in 1 2 3 4 5; do
//!     bayeux '[{"channel":"/meta/connect","clientId":"'$ID'","connectionType":"long-polling"}]'
//! done
//! ```
//!
//! The first connect is answered at once, each one after it with a tick. Ctrl-C ends the server.

use std::net::SocketAddr;
use std::time::Duration;
use std::{io, thread};

use encke::server::{Handle, HandleError, Server};

fn main() -> io::Result<()> {
    let server = Server::builder().listen([SocketAddr::from(([127, 0, 0, 1], 0))]).build()?;
    for url in server.urls() {
        println!("URL={url}");
    }
    let handle = server.handle();
    thread::spawn(move || tick(&handle));
    // The loop stays on this thread until a handle stops it.
    server.run()
}

/// Publishes until the server is gone.
fn tick(handle: &Handle) {
    for n in 1_u64.. {
        thread::sleep(Duration::from_secs(1));
        match handle.publish("/tick", &format!("{{\"n\":{n}}}")) {
            Ok(()) => {}
            // The loop is behind: this tick is lost, the next one may not be.
            Err(HandleError::Full) => eprintln!("tick {n} was not taken"),
            Err(error) => return eprintln!("tick {n}: {error}"),
        }
    }
}
