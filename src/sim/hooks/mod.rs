//! Hooks that do what they like, by chance.
//!
//! Owns how often they do it ([`Habits`]) and how the world comes to its hooks. What they do is in `program`; what they have
//! done, so that the model knows what to expect, in `log`.

mod log;
mod program;
#[cfg(test)]
mod programs;

pub(crate) use log::{Aim, HANDED, Log, News, OWN, PLANNED, Shared};

use crate::hooks::Hooks;
use crate::limits::Limits;

use super::rng::{Chance, Rng};

use program::{Clerk, Extending, Filter, Hearing, Page, Policy, Say};

/// How hooks behave. Chances are out of a thousand.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// For a question: to be answered with no.
    pub(crate) deny: u32,
    /// For a question to the policy: to be answered later.
    pub(crate) defer: u32,
    /// For what was deferred: never to be answered.
    pub(crate) never: u32,
    /// For a message: to be ended by an extension.
    pub(crate) delete: u32,
    /// For the data of an event, at each place where it can be done: to be replaced, and for the event to be ended.
    pub(crate) reshape: u32,
    pub(crate) drop: u32,
    /// For a call of a hook that may act: to do so.
    pub(crate) act: u32,
    /// Commands of one run: without an end, one would lead to another for ever.
    pub(crate) commands: u64,
    /// There are authorizers.
    pub(crate) authorizers: bool,
    /// A command may end a session, and a session may be admitted for a while only.
    pub(crate) end: u32,
}

impl Habits {
    /// Hooks of a world.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            deny: *rng.pick(&[0, 50, 150]),
            defer: *rng.pick(&[0, 200, 600]),
            never: *rng.pick(&[0, 100, 400]),
            delete: *rng.pick(&[0, 30, 100]),
            reshape: *rng.pick(&[0, 100, 300]),
            drop: *rng.pick(&[0, 30, 100]),
            act: *rng.pick(&[0, 100, 300]),
            commands: *rng.pick(&[20, 100, 300]),
            authorizers: rng.chance(500),
            end: *rng.pick(&[0, 30, 200]),
        }
    }
}

/// The bounds of hooks are so close that they are reached.
pub(crate) fn bound(limits: &mut Limits, rng: &mut Rng) {
    limits.defer_ms = *rng.pick(&[100, 400, 1_000]);
    limits.sweep_ms = *rng.pick(&[200, 1_000, 3_000]);
    limits.mailbox_commands = *rng.pick(&[1, 5, 40]);
    if rng.chance(300) {
        limits.deferred_batches = 1 + rng.below(3) as usize;
    }
}

/// The hooks of one life of a server.
pub(crate) fn hooks(shared: &Shared, chance: &Chance, life: usize) -> Hooks {
    shared.log().begin(life);
    let mut number = life * 100;
    let mut say = || {
        number += 1;
        Say { rng: chance.of("hook", number), shared: shared.clone() }
    };
    let habits = shared.log().habits.clone();
    let hooks = Hooks::default()
        .policy(Policy(say()))
        .extension(Extending { say: say(), some: false })
        .extension(Extending { say: say(), some: true })
        .listener(Hearing { say: say(), first: true })
        .listener(Hearing { say: say(), first: false })
        .fallback(Page(say()));
    let hooks = hooks.service("/service/**", Clerk(say())).and_then(|hooks| hooks.filter("/**", Filter(say())));
    let hooks = hooks.expect("patterns");
    if !habits.authorizers {
        return hooks;
    }
    let hooks = hooks.authorizer("/**", program::Authorizing { say: say(), own: "/**" });
    let hooks = hooks.and_then(|hooks| hooks.authorizer("/a/**", program::Authorizing { say: say(), own: "/a/**" }));
    hooks.expect("patterns")
}
