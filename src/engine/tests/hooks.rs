//! What the embedder's hooks are asked and told, in which order, and what comes of their answers. Derived anew from what
//! CometD documents where ours says the same; where it differs on purpose, the test says why.

mod attributes;
mod authorizers;
mod bounds;

mod channels;
mod commands;
mod deferral;
mod deferred_ends;
mod extensions;
mod fallback;
mod filters;
mod listeners;
mod plain;
mod services;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::bench::{Bench, Client, Post, Setup, connected};
use crate::conn::ConnKey;
use crate::hooks::{
    Admission, Command, Context, Denial, Hooks, Listener, PolicyTicket, Published, Query, Removal, SecurityPolicy,
    Session, Verdict,
};

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

/// Notes what a listener hears, or some of it, with the name that is written on the session.
struct Words {
    log: Log,
    /// Stands before each line.
    name: &'static str,
    /// Notes messages, and nothing else.
    only_messages: bool,
}

impl Words {
    fn all(log: &Log) -> Self {
        Self { log: log.clone(), name: "", only_messages: false }
    }

    fn named(name: &'static str, log: &Log) -> Self {
        Self { name, ..Self::all(log) }
    }

    fn messages(log: &Log) -> Self {
        Self { only_messages: true, ..Self::all(log) }
    }

    fn note(&self, line: &str) {
        if !self.only_messages || line.starts_with("message ") {
            self.log.note(format!("{}{line}", self.name));
        }
    }
}

fn name<'a>(session: &'a Session<'_>) -> &'a str {
    session.attribute("name").unwrap_or("-")
}

impl Listener for Words {
    fn session_added(&mut self, session: &mut Session<'_>, _: &mut Context<'_>) {
        self.note(&format!("added {}", name(session)));
    }

    fn session_removed(&mut self, session: &mut Session<'_>, removal: Removal, _: &mut Context<'_>) {
        self.note(&format!("removed {} {removal:?}", name(session)));
    }

    fn channel_added(&mut self, channel: &str, _: &mut Context<'_>) {
        self.note(&format!("channel added {channel}"));
    }

    fn channel_removed(&mut self, channel: &str, _: &mut Context<'_>) {
        self.note(&format!("channel removed {channel}"));
    }

    fn subscribed(&mut self, session: &mut Session<'_>, channel: &str, _: &mut Context<'_>) {
        self.note(&format!("subscribed {} {channel}", name(session)));
    }

    fn unsubscribed(&mut self, session: &mut Session<'_>, channel: &str, _: &mut Context<'_>) {
        self.note(&format!("unsubscribed {} {channel}", name(session)));
    }

    fn message(&mut self, event: Published<'_>, session: Option<&mut Session<'_>>, _: &mut Context<'_>) {
        let who = session.as_deref().map_or("the server", name);
        self.note(&format!("message {} {} by {who}", event.channel(), event.data()));
    }

    fn queue_overflow(&mut self, session: &mut Session<'_>, _: &mut Context<'_>) {
        self.note(&format!("overflow {}", name(session)));
    }
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

/// The answer to a held connect that brings one event.
fn connected_event(channel: &str, data: impl Into<Value>) -> Value {
    json!([{"channel": channel, "data": data.into()}, connected()])
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
