//! encke: a Comet server to build into a program. It pushes events to clients that wait for them, over WebSocket, event
//! streams or plain HTTP, and speaks Bayeux 1.0 with CometD's and Faye's client libraries. One thread serves thousands.
//! Who wants the server alone runs the daemon of the same name.
//!
//! ```
//! use encke::hooks::{Context, Hooks, Request, Session};
//! use encke::server::{Listen, Server};
//!
//! /// Hears what clients publish to `/service/echo`, and says it to the sender.
//! fn echo(request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>) {
//!     // Only so many commands of hooks may wait.
//!     if let Err(full) = request.reply(context, request.data()) {
//!         eprintln!("no echo: {full}");
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let hooks = Hooks::default().service("/service/echo", echo)?;
//!     let address: Listen = "127.0.0.1:0".parse()?; // any free port
//!     let server = Server::builder().listen([address]).hooks(hooks).spawn()?;
//!     println!("{}", server.urls()[0]); // http://127.0.0.1:40123/cometd
//!
//!     let heard = server.handle().receiver("/chat/**", 100)?;
//!     server.handle().publish("/chat/tea", r#"{"text":"hello"}"#)?;
//!     println!("{:?}", heard.recv()?); // Event { channel: "/chat/tea", data: … }
//!     Ok(server.shutdown()?)
//! }
//! ```
//!
//! # A tour
//!
//! - **Build.** [`Server::builder`] has where to listen, the path of the Bayeux endpoint, [`Settings`] (what CometD
//!   calls options, with all bounds in [`Limits`]) and [`Hooks`]. Then [`build`](Builder::build) and
//!   [`run`](Server::run) serve on the caller's thread, [`spawn`](Builder::spawn) on one of its own.
//! - **Act.** A [`Handle`] publishes, delivers to one session, answers remote calls, disconnects, counts and shuts
//!   down, from any thread. It can be had of the builder, before there is a server.
//! - **Have a say.** [`hooks`] has policies, authorizers, extensions, data filters, listeners and services.
//!   [`auth`] is a policy of tokens that is there already.
//! - **Take part.** A [`LocalSession`] is a client within the program. [`Handle::subscribe`] has a function called with
//!   events, [`Handle::receiver`] gives them to another thread.
//! - **Serve pages.** [`Hooks::fallback`] answers what is for no part of the server, on the same port.
//! - **Own the loop.** [`Server::poll_once`] takes one turn, for a program that waits for other things as well.
//!   [`engine`] is the whole server without sockets, clocks and randomness: bytes and time in, bytes and deadlines out.
//! - **WebSocket alone.** [`ws`] is the codec by itself.
//!
//! The folder `examples` has small whole programs: `embedded`, `chat`, `ticker`, `rpc`, `custom_loop` and `ws_echo`.
//!
//! # The life of a message
//!
//! What a client sends goes this way. Each step may end it, and the sender is told in the reply.
//!
//! | step | may end it with |
//! |---|---|
//! | The request: its head is judged, and the whole batch decoded before any of it acts | HTTP status 400 and others |
//! | [`Extension::incoming`](hooks::Extension::incoming), in the order in which extensions were added | `404::message_deleted` |
//! | The session is looked up by its client id | `402::session_unknown` |
//! | [`SecurityPolicy`](hooks::SecurityPolicy): may the channel come into being, may this be done? At once or [later](hooks#answers-that-come-later) | `403:<reason>:publish_denied` and the like |
//! | Each [`Authorizer`](hooks::Authorizer) whose pattern fits, at both questions | the same |
//! | To `/service/…`: each [`Service`](hooks::Service) of the channel, and no further | |
//! | Each [`DataFilter`](hooks::DataFilter) of the channel | `404::message_deleted` |
//! | [`Listener::message`](hooks::Listener::message): may not end it | |
//! | [`Extension::outgoing`](hooks::Extension::outgoing), in the opposite order, once for all subscribers | `404::message_deleted` |
//! | It is encoded once, gets a number if its channel has a history, and is put into the outbox of each subscriber once, however many patterns match | `429::queue_limit` |
//! | [`Extension::reply`](hooks::Extension::reply), in the opposite order, and the reply goes to the sender | |
//!
//! What the program itself publishes, by a [`Handle`] or in a hook, begins at the data filters: nobody is asked whether
//! it may. A [`LocalSession`] goes the whole way, as any client. [`Handle::deliver`] goes into one outbox and nowhere
//! else.
//!
//! # Threading
//!
//! One thread runs the loop and owns everything. A turn of it: read, act, fire timers, answer and write, sleep until
//! the next deadline. Nothing due: it sleeps.
//!
//! | what | where it runs | may it wait? |
//! |---|---|---|
//! | [`Server::run`], [`Server::poll_once`] | the thread that built the server; it cannot leave it | it sleeps there |
//! | [`Builder`] | any; it is `Send` | [`Builder::build`] opens sockets; [`Builder::spawn`] until they are open |
//! | every hook, every [`Sink`](hooks::Sink), the function of [`Handle::subscribe`] | the server's thread | no: all clients wait with it |
//! | every method of [`Handle`], [`LocalSession`] and [`Batch`](server::Batch) | any thread, hooks included | never: what does not fit is [`HandleError::Full`] |
//! | [`Receiver::recv`](server::Receiver::recv) | any other thread | yes |
//! | [`Running::join`], [`Running::shutdown`] | any other thread | yes |
//!
//! **Nothing is re-entered.** A hook is never called from within another one, and finds nothing half-done. What it says
//! to its [`Context`](hooks::Context) is done when it has returned; what it says to a [`Handle`], in a later turn. Both
//! in the order in which it was said.
//!
//! **Everything is bounded.** A mailbox stands between threads and the loop
//! ([`mailbox_commands`](Limits::mailbox_commands), [`mailbox_bytes`](Limits::mailbox_bytes)); as many commands of
//! hooks may wait; answers of policies have a time ([`defer_ms`](Limits::defer_ms)). Who meets a bound is told so at
//! once, and nothing blocks. The locks are those of the mailbox and of [`Receiver`](server::Receiver)s; none is held
//! while anything of yours runs, so there is no deadlock to be had from them.
//!
//! **Panics.** One in a hook goes through [`Server::run`], as any panic does: what was half-done is not trusted any
//! more. The server is dropped, handles hear [`HandleError::Closed`], [`Running::join`] panics with it.
//!
//! **Logs** go to the crate `log`. The library never sets a logger: without one there are no log lines.
//!
//! # Guarantees
//!
//! - A session receives events in the order in which the server took them, each at most once; one that acknowledges
//!   what it gets receives each exactly once.
//! - Events that one thread publishes stay in its order. What a [`Handle`] took is published unless the server ends
//!   before.
//! - A session outlives its connections by [`max_interval_ms`](server::Config::max_interval_ms); what is published
//!   meanwhile waits for it.
//! - A session that cannot keep up is ended as a whole, or loses its oldest events ([`Overflow`](server::Overflow)),
//!   and its client learns it: what it receives has no silent gaps. Nor has what it reads from a history.
//! - A [`SessionId`](hooks::SessionId) never names another session, a ticket never another question. One that is late
//!   touches nothing.
//! - No input makes the server panic. Should parsing do so all the same, it costs that one connection.
//! - An event is encoded once, however many receive it. A connection that is idle has no buffers. A hook that is not
//!   there costs nothing.
//!
//! # Limits
//!
//! Every queue, buffer, table and wait has a bound in [`limits`], and every turn has a budget; what is left over goes
//! first in the next turn. At the limit of connections accepting pauses, at that of sessions handshakes are refused, at
//! that of queued bytes publishes are. Nothing is on disk: sessions, events and histories end with the process.
//! Processes do not know each other. A 64-bit Unix is needed.
//!
//! # Features
//!
//! | feature | what it adds | default |
//! |---|---|---|
//! | `daemon` | the program `encke`; of the library only `Server::obey_signals` | yes |
//! | `deflate` | compressed WebSocket messages | yes |
//! | `demo` | the pages at `/` and `/techniques`, and `/encke.js`: without it no file is served | yes |
//! | `jwt` | JSON Web Tokens in [`auth`] | no |
//! | `tls` | connections that are TLS: [`Listen::Tls`](server::Listen::Tls) | no |
//!
//! A program that embeds the server needs none: `encke = { version = "0.1", default-features = false }`, and `deflate`
//! if its clients may compress.
//!
//! What is hidden in this documentation can be reached for our own tests and benchmarks, and changes without notice.
//!
//! # The house
//!
//! For who reads the source. Every module is a room on one of five floors. A room may use the floors below its own,
//! never one on its own floor or above; what little order there is within a floor is written to the right. The test
//! `layering` reads the `use` lines and fails when one is turned around.
//!
//! | floor | rooms | within it |
//! |---|---|---|
//! | L5 | [`server`]: sockets, clock, wake-ups, signals; `config`, the daemon's `main.rs`: files, the environment | `main` uses `config`, and that `server` |
//! | L4 | [`engine`]: connections and sessions wired together; `refusals`: what is logged of requests refused | `engine` uses `refusals` |
//! | L3 | `conn`: one connection's side of HTTP and WebSocket; `broker`: sessions, subscriptions, queues; [`auth`]: a policy of tokens | none uses another |
//! | L2 | `http`, [`ws`], [`bayeux`]: the vocabularies; `event`: one event, encoded once; [`hooks`]: the vocabulary of embedding; `reply`: what `conn` and `broker` share; `framing`: a batch on the wire; `pages`: the server's own files | `framing` uses `reply`, that `event`; `hooks`, `pages` and `ws` use `http` |
//! | L1 | `arena`: keys with generations; `wheel`: timers; `chunk`: shared and pending bytes; [`limits`]; [`clock`]: the type of an instant | `wheel` uses `arena` |
//!
//! Below L5 nothing does I/O, asks a clock, starts a thread or makes randomness: bytes and time go in, bytes and
//! deadlines come out. So the whole server runs in a test, and the same calls give the same bytes.
//!
//! **The life of one publish**, in rooms:
//!
//! 1. [`server`] reads a socket into the loop's one buffer and hands the bytes to [`engine`]. Only the tail of a
//!    request that is not complete is copied to its connection.
//! 2. `conn` finds a whole request and judges its head: path, method, type, origin.
//! 3. [`bayeux`] decodes the whole batch, or refuses it before anything has acted. `data` stays the text that it was.
//! 4. `broker` checks the client id, asks the hooks, and encodes the event once. If the channel has a
//!    history, the event gets a number and is kept. A pointer to it goes into the queue of each subscriber, once
//!    even if several patterns match, and lists those who hold a connect. A queue that is too full by then ends
//!    its session, after all have got the event.
//! 5. When everything that came in is done, the flush takes the listed sessions, a few at a time and so many a turn, and
//!    writes each one's answer into its connection's pending bytes: small events are copied, large ones referenced.
//! 6. The loop writes them, then the next few. What a socket does not take waits until it does.
//!
//! **The life of one long poll.** A connect is held if it is alone in its batch, its session has had one answered
//! before, nothing is queued, and the browser does not hold too many already; any other is answered at once. Held, it
//! is a link and one timer. It ends by:
//!
//! - an event, at the next flush;
//! - its timer: the same way, without events;
//! - another request on its connection: the same way, before that request acts;
//! - a newer connect of its session: with HTTP 500 and no messages, for an answer would make the client send another
//!   one; or with an empty batch, if events go another way from then on, for its client has moved on purpose;
//! - the end of its session: with `reconnect: none`, or after an overflow with the advice to shake hands again;
//! - the end of its connection: nothing to answer.
//!
//! When the answer is written, or its connection is gone, the session's expiry begins.

pub mod auth;
pub mod bayeux;
pub mod clock;
pub mod engine;
pub mod hooks;
pub mod limits;
pub mod server;
pub mod ws;

// Rooms that the ones above are made of. They can be reached, for our own benchmarks, fuzzing and tests, and are no part of
// the interface.
#[doc(hidden)]
pub mod arena;
#[doc(hidden)]
pub mod broker;
#[doc(hidden)]
pub mod chunk;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod config;
#[doc(hidden)]
pub mod conn;
#[doc(hidden)]
pub mod event;
#[doc(hidden)]
pub mod framing;
#[doc(hidden)]
pub mod http;
#[cfg(test)]
mod layering;
#[doc(hidden)]
pub mod pages;
#[doc(hidden)]
pub mod refusals;
#[doc(hidden)]
pub mod reply;
#[cfg(any(test, feature = "sim"))]
#[doc(hidden)]
pub mod sim;
#[doc(hidden)]
pub mod wheel;

/// The Rust code of the README is tested as that of the documentation is.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[doc(no_inline)]
pub use hooks::Hooks;
#[doc(no_inline)]
pub use limits::Limits;
#[doc(no_inline)]
pub use server::{Builder, Handle, HandleError, LocalSession, Running, Server, Settings};
