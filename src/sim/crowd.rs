//! All model clients of a run, and the server's own part in it.
//!
//! Owns the clients, their alarms and the book of what they got. The server's own publishes and dismissals, which come
//! through commands, are made here as well, as by one more publisher.

use crate::engine::Command;

use super::client::{Client, Scene};
use super::invariants::Ledger;
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

/// See the [module](self).
pub(crate) struct Crowd {
    clients: Vec<Client>,
    /// Numbered after the clients.
    listeners: Vec<Listener>,
    pub(crate) ledger: Ledger,
    alarms: Alarms,
    scenario: Scenario,
    rng: Rng,
    quiet: bool,
    drained: bool,
}

impl Crowd {
    /// A crowd that begins to arrive.
    pub(crate) fn new(chance: &Chance, scenario: &Scenario) -> Self {
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
        let (rules, limits) = (scenario.broker.channels.clone(), scenario.limits.clone());
        let mut ledger = Ledger::default();
        (ledger.shelf.rules, ledger.shelf.limits) = (rules, limits);
        let scenario = scenario.clone();
        Self { clients, listeners, ledger, alarms, scenario, rng, quiet: false, drained: false }
    }

    /// The server ends: connections may be closed, and are not taken.
    pub(crate) fn be_drained(&mut self) {
        self.drained = true;
    }

    /// Nobody publishes or is untidy any more.
    pub(crate) fn be_quiet(&mut self) {
        self.quiet = true;
    }

    /// After a quiet time everyone has a session, if there is room for it, and all that was to be had.
    pub(crate) fn check_served(&self, since: u64) {
        let served: Vec<bool> = self.clients.iter().map(|client| client.is_served(&self.ledger, since)).collect();
        let expected = self.clients.len().min(self.scenario.limits.sessions);
        let count = served.iter().filter(|served| **served).count();
        assert!(count >= expected, "not everyone is served in quiet times: {served:?}");
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
        let mut scene = Scene { ground, ledger, alarms, scenario, quiet: *quiet, drained: *drained };
        if let Some(listener) = number.checked_sub(clients.len()).and_then(|place| listeners.get_mut(place)) {
            act(listener, &mut scene);
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
        let mut scene = Scene { ground, ledger, alarms, scenario, quiet: *quiet, drained: *drained };
        for (number, client) in clients.iter_mut().enumerate() {
            if only.is_none_or(|only| only == number) {
                act(client, &mut scene);
            }
        }
    }

    /// The server publishes, or sends someone away.
    fn serve(&mut self, ground: &mut Ground<'_>) {
        if self.quiet {
            return;
        }
        let pause = 1 + self.rng.below(2 * self.scenario.habits.server_every_ms);
        self.alarms.push(ground.now + pause, SERVER, Alarm::Server);
        if self.rng.chance(self.scenario.habits.dismiss) {
            let number = self.rng.below(self.clients.len() as u64) as usize;
            ground.commands.extend(self.clients[number].give_up_session().map(Command::Disconnect));
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
            }
        }
    }

    fn arrival(&mut self, wire: WireId, arrival: Arrival, ground: &mut Ground<'_>) {
        let owner = ground.network.owner(wire);
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

    fn numbered(&mut self, event: &Numbered, now: u64) {
        self.ledger.shelf.put(event, now);
    }

    fn restarted(&mut self, now: u64, start: u64) {
        self.ledger.shelf.restart(now, start);
    }

    fn lost(&mut self, owner: usize, bytes: &[u8]) {
        self.ledger.lost(owner, bytes);
    }
}
