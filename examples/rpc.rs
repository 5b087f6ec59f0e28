//! Remote calls, as CometD's clients make them with `remoteCall`: a question goes to `/service/<target>`, and the answer
//! comes back on the same channel with the id of the question.
//!
//! ```text
//! $ cargo run --example rpc
//! URL=http://127.0.0.1:40123/cometd
//! ```
//!
//! With cometd.js, in a page or in Node:
//!
//! ```js
//! cometd.remoteCall("sum", [1, 2, 3], (reply) => console.log(reply.successful, reply.data)); // true 6
//! ```
//!
//! By hand, in a second terminal: paste the line that it printed, and then:
//!
//! ```sh
//! bayeux() { curl -sS "$URL" -H 'Content-Type: application/json' -d "$1"; echo; }
//! ID=$(bayeux '[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]' |
//!     sed 's/.*"clientId":"\([^"]*\)".*/\1/')
//! bayeux '[{"channel":"/service/sum","clientId":"'$ID'","id":"1","data":[1,2,3]}]'
//! bayeux '[{"channel":"/service/primes","clientId":"'$ID'","id":"2","data":100000}]'
//! bayeux '[{"channel":"/meta/connect","clientId":"'$ID'","connectionType":"long-polling"}]'
//! ```
//!
//! | target | asks for | answered |
//! |---|---|---|
//! | `sum` | the sum of an array of numbers | at once, or with what is wrong with the question |
//! | `primes` | how many primes there are below a number | by a worker thread, when it knows |
//! | `silence` | anything | never: the client's timeout ends the call |
//!
//! Another place to listen on than a free port is its argument: `rpc 0.0.0.0:8080`. It serves until it is killed.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::time::Duration;
use std::{env, thread};

use encke::hooks::{Context, Hooks, RemoteCall, Request, Service, Session};
use encke::server::{Handle, HandleError, Server};
use serde_json::json;

/// Questions that wait for the worker at most. Whoever asks when there are as many hears that it is busy: a service runs on
/// the server's thread, where nothing may wait.
const QUESTIONS: usize = 64;
/// The largest number below which primes are counted.
const MOST: u32 = 10_000_000;
/// Between two tries to answer while the server is behind.
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

fn serve(at: SocketAddr) -> Result<(), Box<dyn Error>> {
    let builder = Server::builder().listen([at]);
    // The builder has the handle of the server that it will build: the worker can have it before there is a server.
    let (questions, asked) = mpsc::sync_channel(QUESTIONS);
    let handle = builder.handle();
    thread::spawn(move || work(&asked, &handle));
    // A service is a function, or a type that implements `Service`. `silence` has one as well: without any, the server would
    // warn that nobody listens there.
    let hooks = Hooks::default()
        .service("/service/sum", sum)?
        .service("/service/primes", Primes { questions })?
        .service("/service/silence", |_: Request<'_>, _: &mut Session<'_>, _: &mut Context<'_>| {})?;
    let server = builder.hooks(hooks).build()?;
    for url in server.urls() {
        println!("URL={url}");
    }
    Ok(server.run()?)
}

/// Answers at once. The error of an answer is JSON as its result is; the client finds either as `data`, and which of them it
/// is as `successful`.
fn sum(request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>) {
    let answer = match serde_json::from_str::<Vec<f64>>(request.data()) {
        Ok(numbers) => Ok(json!(numbers.iter().fold(0.0, |sum, number| sum + number)).to_string()),
        Err(error) => Err(json!({"error": format!("not an array of numbers: {error}")}).to_string()),
    };
    // Only so many commands of hooks may wait. The client's timeout tells it of an answer that got lost.
    if let Err(full) = request.answer(context, answer.as_deref().map_err(String::as_str)) {
        eprintln!("no answer to a question: {full}");
    }
}

/// Passes questions on to the worker. What is needed to answer one later is its `RemoteCall`.
struct Primes {
    questions: SyncSender<(RemoteCall, u32)>,
}

impl Service for Primes {
    fn call(&mut self, request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>) {
        let why = match serde_json::from_str(request.data()) {
            Ok(below @ 0..=MOST) => match self.questions.try_send((request.call().clone(), below)) {
                Ok(()) => return,
                Err(TrySendError::Full(_)) => "too many questions wait; ask again later".to_owned(),
                Err(TrySendError::Disconnected(_)) => "the worker has ended".to_owned(),
            },
            _ => format!("must be a number up to {MOST}"),
        };
        if let Err(full) = request.answer(context, Err(&json!({ "error": why }).to_string())) {
            eprintln!("no answer to a question: {full}");
        }
    }
}

/// The worker's life. That the client may have left meanwhile is no concern of it: an answer to nobody goes nowhere.
fn work(asked: &Receiver<(RemoteCall, u32)>, handle: &Handle) {
    for (call, below) in asked {
        let answer = primes(below).to_string();
        loop {
            match handle.answer(call.clone(), Ok(&answer)) {
                Ok(()) => break,
                Err(HandleError::Full) => thread::sleep(PAUSE),
                Err(error) => return eprintln!("{error}"),
            }
        }
    }
}

/// How many primes there are below a number: the sieve of Eratosthenes.
fn primes(below: u32) -> usize {
    let below = below as usize;
    let mut composite = vec![false; below];
    for factor in 2..below {
        if !composite[factor] {
            (factor * factor..below).step_by(factor).for_each(|multiple| composite[multiple] = true);
        }
    }
    composite.iter().skip(2).filter(|composite| !**composite).count()
}
