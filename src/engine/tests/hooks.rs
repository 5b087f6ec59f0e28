//! What the embedder's hooks are asked and told, in which order, and what comes of their answers. Derived anew from what
//! CometD documents where ours says the same; where it differs on purpose, the test says why.

mod deferral;
mod deferred_ends;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::bench::{Bench, Client, Post, Setup};
use crate::conn::ConnKey;
use crate::hooks::{Admission, Command, Denial, Hooks, PolicyTicket, Query, SecurityPolicy, Session, Verdict};

/// What hooks have been asked and told, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    /// All since the last time.
    fn take(&self) -> Vec<String> {
        core::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// A policy that is one function of the operation and the channel.
struct Says<F>(F);

impl<F: FnMut(&str, &str, &Query<'_>) -> Verdict + Send> SecurityPolicy for Says<F> {
    fn can_handshake(&mut self, query: &Query<'_>, _: &mut Admission) -> Verdict {
        (self.0)("handshake", "", query)
    }

    fn can_create(&mut self, query: &Query<'_>, _: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        (self.0)("create", channel, query)
    }

    fn can_subscribe(&mut self, query: &Query<'_>, _: &mut Session<'_>, channel: &str) -> Verdict {
        (self.0)("subscribe", channel, query)
    }

    fn can_publish(&mut self, query: &Query<'_>, _: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        (self.0)("publish", channel, query)
    }
}

fn policy(says: impl FnMut(&str, &str, &Query<'_>) -> Verdict + Send + 'static) -> impl SecurityPolicy {
    Says(says)
}

/// The questions that a policy has deferred, in order.
#[derive(Clone, Default)]
struct Later(Arc<Mutex<Vec<(String, PolicyTicket)>>>);

impl Later {
    /// Hooks whose policy answers later what it is asked about by this rule, and allows the rest.
    fn hooks(&self, later: impl Fn(&str, &str) -> bool + Send + 'static) -> Hooks {
        let kept = self.0.clone();
        Hooks::default().policy(policy(move |operation, channel, query| {
            if !later(operation, channel) {
                return Verdict::Allow;
            }
            kept.lock().unwrap().push((format!("{operation} {channel}"), query.ticket()));
            Verdict::Defer
        }))
    }

    /// All since the last time.
    fn take(&self) -> Vec<(String, PolicyTicket)> {
        core::mem::take(&mut *self.0.lock().unwrap())
    }

    /// The only one since the last time, which is this one.
    fn one(&self, question: &str) -> PolicyTicket {
        let all = self.take();
        assert_eq!(all.len(), 1, "{all:?}");
        assert_eq!(all[0].0, question);
        all[0].1
    }
}

fn with_hooks(hooks: Hooks) -> Bench {
    Bench::with(|setup: &mut Setup| setup.hooks = hooks)
}

fn allow(b: &mut Bench, ticket: PolicyTicket) {
    assert!(b.command(&Command::Resolve(ticket, Ok(Admission::default()))));
}

fn deny(b: &mut Bench, ticket: PolicyTicket, reason: &str) {
    assert!(b.command(&Command::Resolve(ticket, Err(Denial::new(reason)))));
}

/// Messages to which nothing is answered now.
fn ask(b: &mut Bench, conn: ConnKey, messages: &Value) {
    b.give(conn, &Post::json(messages).bytes());
    assert_eq!(b.raw(conn), "", "it waits");
}

fn done(channel: &str, id: &str) -> Value {
    json!({"channel": channel, "id": id, "successful": true})
}

fn failed(channel: &str, id: &str, error: &str) -> Value {
    json!({"channel": channel, "id": id, "successful": false, "error": error})
}

/// All sessions and connections end: nothing is kept for anyone.
fn comes_to_rest(b: &mut Bench, clients: &[&Client]) {
    for client in clients {
        for conn in [client.down, client.up] {
            if !b.is_closed(conn) {
                b.cut(conn);
            }
        }
    }
    b.advance(60_000);
    assert_eq!(b.sessions(), 0);
    assert!(b.engine.is_at_rest());
}
