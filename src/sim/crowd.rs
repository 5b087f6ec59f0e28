//! All model clients of a run, and the server's own part in it.
//!
//! Owns the clients, their alarms and the book of what they got. The server's own publishes and dismissals, which come
//! through commands, are made here as well, as by one more publisher.

use crate::hooks::Command;

use super::client::{Client, Scene};
use super::hooks::{News, Shared};
use super::hostile::Hostile;
use super::invariants::{Kind, Ledger};
use super::lane::{Alarm, Alarms};
use super::listener::Listener;
use super::network::{Arrival, WireId};
use super::rng::{Chance, Rng};
use super::scenario::Scenario;
use super::shelf::Numbered;
use super::world::{Ground, People};

/// The publisher's number that stands for the server itself.
const SERVER: usize = usize::MAX;
/// How long the clients take to begin, ms.
const ARRIVE_WITHIN_MS: u64 = 1_000;

fn numbers_of_hostiles(scenario: &Scenario) -> core::ops::Range<usize> {
    let first = scenario.clients + scenario.listeners;
    first..first + scenario.hostiles
}

fn is_calm(quiet: Option<u64>, now: u64, scenario: &Scenario) -> bool {
    quiet.is_some_and(|since| now > since + 2 * scenario.patience_ms())
}

/// See the [module](self).
pub(crate) struct Crowd {
    clients: Vec<Client>,
    /// Numbered after the clients.
    listeners: Vec<Listener>,
    /// Numbered after the listeners.
    hostiles: Vec<Hostile>,
    pub(crate) ledger: Ledger,
    alarms: Alarms,
    scenario: Scenario,
    rng: Rng,
    /// Since when.
    quiet: Option<u64>,
    drained: bool,
}

impl Crowd {
    /// A crowd that begins to arrive.
    pub(crate) fn new(chance: &Chance, scenario: &Scenario, hooked: Option<Shared>) -> Self {
        let mut rng = chance.of("crowd", 0);
        let mut alarms = Alarms::default();
        for number in 0..scenario.clients + scenario.listeners {
            let at = rng.below(ARRIVE_WITHIN_MS);
            for alarm in [Alarm::GoOn, Alarm::Publish, Alarm::Act] {
                alarms.push(at, number, alarm);
            }
        }
        if scenario.habits.server_every_ms > 0 {
            alarms.push(0, SERVER, Alarm::Server);
        }
        let clients = (0..scenario.clients).map(|number| Client::new(number, chance, scenario)).collect();
        let numbers = scenario.clients..scenario.clients + scenario.listeners;
        let listeners = numbers.map(|number| Listener::new(number, chance, scenario)).collect();
        let numbers = numbers_of_hostiles(scenario);
        let mut hostiles: Vec<Hostile> = numbers.map(|number| Hostile::new(number, chance, scenario.guarded)).collect();
        for (hostile, number) in hostiles.iter_mut().zip(numbers_of_hostiles(scenario)) {
            alarms.push(hostile.begins_at(scenario.busy_ms), number, Alarm::Act);
        }
        let (rules, limits) = (scenario.broker.channels.clone(), scenario.limits.clone());
        let mut ledger = Ledger::default();
        (ledger.shelf.rules, ledger.shelf.limits) = (rules, limits);
        (ledger.starves, ledger.hooked) = (scenario.starves, hooked);
        ledger.lazy_ms = scenario.broker.max_lazy_ms.into();
        let scenario = scenario.clone();
        Self { clients, listeners, hostiles, ledger, alarms, scenario, rng, quiet: None, drained: false }
    }

    /// The server ends: connections may be closed, and are not taken.
    pub(crate) fn be_drained(&mut self) {
        self.drained = true;
    }

    /// Nobody publishes or is untidy any more, and the hostile ones go.
    pub(crate) fn be_quiet(&mut self, ground: &mut Ground<'_>) {
        self.quiet = Some(ground.now);
        if let Some(mut log) = self.ledger.log() {
            log.quiet = true;
        }
        for number in numbers_of_hostiles(&self.scenario) {
            self.with_hostile(ground, number, |hostile, scene| hostile.leave(scene));
        }
    }

    fn served(&self, since: u64) -> Vec<bool> {
        self.clients.iter().map(|client| client.is_served(&self.ledger, since)).collect()
    }

    /// Whether everyone has a session, if there is room for it, and all that was to be had then.
    pub(crate) fn is_served(&self, since: u64) -> bool {
        let expected = self.clients.len().min(self.scenario.limits.sessions);
        self.served(since).into_iter().filter(|served| *served).count() >= expected
    }

    /// After a quiet time everyone is served.
    pub(crate) fn check_served(&self, since: u64) {
        assert!(self.is_served(since), "not everyone is served in quiet times: {:?}", self.served(since));
    }

    /// Everyone goes for good.
    pub(crate) fn leave(&mut self, ground: &mut Ground<'_>) {
        self.each(ground, None, |client, scene| client.leave(scene));
        for number in 0..self.listeners.len() {
            self.with_listener(ground, self.clients.len() + number, |listener, scene| listener.leave(scene));
        }
    }

    /// Does something with one listener.
    fn with_listener(
        &mut self,
        ground: &mut Ground<'_>,
        number: usize,
        act: impl FnOnce(&mut Listener, &mut Scene<'_, '_>),
    ) {
        let Self { clients, listeners, ledger, alarms, scenario, quiet, drained, .. } = self;
        let calm = is_calm(*quiet, ground.now, scenario);
        let mut scene = Scene { ground, ledger, alarms, scenario, quiet: quiet.is_some(), calm, drained: *drained };
        if let Some(listener) = number.checked_sub(clients.len()).and_then(|place| listeners.get_mut(place)) {
            act(listener, &mut scene);
        }
    }

    /// Does something with one hostile.
    fn with_hostile(
        &mut self,
        ground: &mut Ground<'_>,
        number: usize,
        act: impl FnOnce(&mut Hostile, &mut Scene<'_, '_>),
    ) {
        let Self { clients, listeners, hostiles, ledger, alarms, scenario, quiet, drained, .. } = self;
        let calm = is_calm(*quiet, ground.now, scenario);
        let mut scene = Scene { ground, ledger, alarms, scenario, quiet: quiet.is_some(), calm, drained: *drained };
        let place = number.checked_sub(clients.len() + listeners.len());
        if let Some(hostile) = place.and_then(|place| hostiles.get_mut(place)) {
            act(hostile, &mut scene);
        }
    }

    /// Does something with one client, or with each.
    fn each(
        &mut self,
        ground: &mut Ground<'_>,
        only: Option<usize>,
        mut act: impl FnMut(&mut Client, &mut Scene<'_, '_>),
    ) {
        let Self { clients, ledger, alarms, scenario, quiet, drained, .. } = self;
        let calm = is_calm(*quiet, ground.now, scenario);
        let mut scene = Scene { ground, ledger, alarms, scenario, quiet: quiet.is_some(), calm, drained: *drained };
        for (number, client) in clients.iter_mut().enumerate() {
            if only.is_none_or(|only| only == number) {
                act(client, &mut scene);
            }
        }
    }

    /// The server publishes, or sends someone away.
    fn serve(&mut self, ground: &mut Ground<'_>) {
        if self.quiet.is_some() {
            return;
        }
        let pause = 1 + self.rng.below(2 * self.scenario.habits.server_every_ms);
        self.alarms.push(ground.now + pause, SERVER, Alarm::Server);
        if self.rng.chance(self.scenario.habits.dismiss) {
            let number = self.rng.below(self.clients.len() as u64) as usize;
            ground.commands.extend(self.clients[number].give_up_session().map(Command::DisconnectClient));
            return;
        }
        let channel = *self.rng.pick(&["/a/b", "/x"]);
        let (_, data) = self.ledger.publish(SERVER, channel, ground.now, |mark| format!("{{\"mark\":{mark}}}"));
        ground.commands.push(Command::Publish { channel: channel.to_owned(), data: data.to_owned(), lazy: false });
    }
}

impl People for Crowd {
    fn next(&self) -> Option<u64> {
        self.alarms.next()
    }

    fn ring(&mut self, ground: &mut Ground<'_>) {
        while let Some((who, alarm)) = self.alarms.pop(ground.now) {
            if who == SERVER {
                self.serve(ground);
            } else {
                self.each(ground, Some(who), |client, scene| client.ring(alarm, scene));
                self.with_listener(ground, who, |listener, scene| listener.ring(alarm, scene));
                self.with_hostile(ground, who, |hostile, scene| hostile.ring(alarm, scene));
            }
        }
    }

    fn arrival(&mut self, wire: WireId, arrival: Arrival, ground: &mut Ground<'_>) {
        let owner = ground.network.owner(wire);
        if numbers_of_hostiles(&self.scenario).contains(&owner) {
            return self.with_hostile(ground, owner, |hostile, scene| hostile.arrival(wire, arrival, scene));
        }
        if owner >= self.clients.len() {
            return self.with_listener(ground, owner, |listener, scene| listener.arrival(wire, arrival, scene));
        }
        let mut arrival = Some(arrival);
        self.each(ground, Some(owner), |client, scene| {
            if let Some(arrival) = arrival.take() {
                client.arrival(wire, arrival, scene);
            }
        });
    }

    fn commanded(&mut self, command: &Command, done: bool, now: u64) {
        if let Command::Publish { data, .. } = command
            && let Some(mark) = self.ledger.mark_of(data)
        {
            self.ledger.acked(mark, done, now);
        }
    }

    fn hooked(&mut self, news: Vec<News>, now: u64) {
        self.ledger.learn(news, now);
    }

    fn numbered(&mut self, event: &Numbered, now: u64) {
        self.ledger.shelf.put(event, now);
    }

    fn restarted(&mut self, now: u64, start: u64) {
        self.ledger.count(Kind::Died);
        self.ledger.forget_unsettled();
        self.ledger.shelf.restart(now, start);
    }

    fn lost(&mut self, owner: usize, bytes: &[u8]) {
        if !numbers_of_hostiles(&self.scenario).contains(&owner) {
            self.ledger.lost(owner, bytes);
        }
    }
}
