//! encke: a Comet server. It speaks Bayeux (CometD, Faye) to thousands of clients that wait, on one thread.
//!
//! [`server`] has what an embedder needs: a builder, a loop, and a [`Handle`] for other threads.
//!
//! # The house
//!
//! Every module is a room on one of five floors. A room may use the floors below its own, never one on its own floor or
//! above; what little order there is within a floor is written to the right. The test `layering` reads the `use` lines
//! and fails when one is turned around.
//!
//! | floor | rooms | within it |
//! |---|---|---|
//! | L5 | [`server`]: sockets, clock, wake-ups, signals; `config`, the daemon's `main.rs`: files, the environment | `main` uses `config`, and that `server` |
//! | L4 | [`engine`]: connections and sessions wired together; [`refusals`]: what is logged of requests refused | `engine` uses `refusals` |
//! | L3 | [`conn`]: one connection's side of HTTP and WebSocket; [`broker`]: sessions, subscriptions, queues; [`auth`]: a policy of tokens | none uses another |
//! | L2 | [`http`], [`ws`], [`bayeux`]: the vocabularies; [`event`]: one event, encoded once; [`reply`]: what `conn` and `broker` share; [`framing`]: a batch on the wire; [`pages`]: the server's own files | `framing` uses `reply`, that `event`; `pages` and `ws` use `http` |
//! | L1 | [`arena`]: keys with generations; [`wheel`]: timers; [`chunk`]: shared and pending bytes; [`limits`]; [`clock`]: the type of an instant | `wheel` uses `arena` |
//!
//! Below L5 nothing does I/O, asks a clock, starts a thread or makes randomness: bytes and time go in, bytes and
//! deadlines come out. So the whole server runs in a test, and the same calls give the same bytes.
//!
//! # The life of one publish
//!
//! 1. [`server`] reads a socket into the loop's one buffer and hands the bytes to [`engine`]. Only the tail of a
//!    request that is not complete is copied to its connection.
//! 2. [`conn`] finds a whole request and judges its head: path, method, type, origin.
//! 3. [`bayeux`] decodes the whole batch, or refuses it before anything has acted. `data` stays the text that it was.
//! 4. [`broker`] checks the client id, asks the policy, and encodes the event once. If the channel has a
//!    history, the event gets a number and is kept. A pointer to it goes into the queue of each subscriber, once
//!    even if several patterns match, and lists those who hold a connect. A queue that is too full by then ends
//!    its session, after all have got the event.
//! 5. When everything that came in is done, the flush takes the listed sessions, a few at a time and so many a turn, and
//!    writes each one's answer into its connection's pending bytes: small events are copied, large ones referenced.
//! 6. The loop writes them, then the next few. What a socket does not take waits until it does.
//!
//! # The life of one long poll
//!
//! A connect is held if it is alone in its batch, its session has had one answered before, nothing is queued, and the
//! browser does not hold too many already; any other is answered at once. Held, it is a link and one timer. It ends by:
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
//!
//! # Threading
//!
//! One thread runs the loop and owns everything; events are shared by `Rc`, and the only locks are those of a bounded
//! mailbox, to which other threads have [`Handle`]s. A server therefore stays on the thread that built
//! it; a [`Builder`] may go to another one before, and [`spawn`](Builder::spawn) has it do so. A turn of the loop: read, act, fire timers, answer and write, sleep until the next deadline. Nothing due: it
//! sleeps.
//!
//! # Guarantees
//!
//! - A session receives events in the order in which the broker took them, each at most once; one that acknowledges what
//!   it gets receives each exactly once.
//! - A session outlives its connections by `max_interval_ms`; what is published meanwhile waits for it.
//! - A session that cannot keep up is ended as a whole, or loses its oldest events, and its client learns it: what it
//!   receives has no silent gaps. Nor has what it reads from a history.
//! - A stale key, timer or ticket touches nothing: all of them carry generations.
//! - No input makes the server panic. Should parsing do so all the same, it costs that one connection; a panic in the
//!   broker ends the process, for what it knows can no longer be trusted.
//! - An event is encoded once, however many receive it; a connection that is idle has no buffers.
//!
//! # Limits
//!
//! Every queue, buffer, table and wait has a bound in [`limits`], and every turn has a budget; what is left over goes
//! first in the next turn. At the limit of connections accepting pauses, at that of sessions handshakes are refused, at
//! that of queued bytes publishes are.

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

#[doc(no_inline)]
pub use hooks::Hooks;
#[doc(no_inline)]
pub use limits::Limits;
#[doc(no_inline)]
pub use server::{Builder, Handle, HandleError, LocalSession, Running, Server, Settings};
