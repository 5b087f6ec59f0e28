//! Owns what tells the scenarios apart: who subscribes to what over which transport, and who publishes where. The same
//! command line gives the same plan, whatever the server.

use crate::args::{Run, Scenario};
use crate::bayeux::Transport;
use crate::client::Role;
use crate::swarm::{Group, Source};
use std::rc::Rc;

/// What is done in a run.
#[derive(Debug)]
pub(crate) struct Plan {
    scenario: Scenario,
    transports: Vec<Transport>,
    /// All channels that are published to, and that of the shards behind them.
    pub(crate) channels: Vec<String>,
    /// How many of them are published to.
    open: u32,
    /// Who publishes, in turn.
    sources: Vec<Source>,
    /// The number of the first client, counted over all shards.
    first: u64,
    all: Rc<[u32]>,
}

impl Plan {
    /// What a command line asks for.
    pub(crate) fn of(run: &Run) -> Self {
        let Run { common, scenario, .. } = run;
        let (open, speakers) = match *scenario {
            Scenario::Rooms { rooms, .. } => (rooms, 0),
            Scenario::Mixed { channels, speakers } => (channels, speakers),
            _ => (1, 0),
        };
        let base = &common.channel;
        let mut channels: Vec<String> = match open {
            1 => vec![base.clone()],
            _ => (0..open).map(|at| format!("{base}/{at}")).collect(),
        };
        channels.extend(common.shard.iter().map(|shard| format!("/encke-load/{}/control", shard.run)));
        let members = (0..speakers as usize).map(Source::Member);
        Self {
            scenario: *scenario,
            transports: common.transports.clone(),
            channels,
            open,
            sources: [Source::Press].into_iter().chain(members).collect(),
            first: common.shard.as_ref().map_or(0, |shard| u64::from(shard.index - 1)) * u64::from(common.clients),
            all: (0..open).collect(),
        }
    }

    /// How many sources there are.
    pub(crate) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// What a client does.
    pub(crate) fn client(&self, index: usize) -> (Role, Group) {
        let number = self.first + index as u64;
        let transport = self.transports[index % self.transports.len()];
        let mut role = Role { transport, channels: Rc::clone(&self.all), persists: false };
        let mut group = Group::Good;
        match self.scenario {
            Scenario::Rooms { rooms, per_client } => role.channels = choose(number, rooms, per_client),
            Scenario::Mixed { channels, .. } => {
                let from = (index / self.transports.len()) as u32 % channels;
                let mut half: Vec<u32> = (0..channels.div_ceil(2)).map(|at| (from + at) % channels).collect();
                half.sort_unstable();
                role.channels = half.into();
            }
            Scenario::Slow { share, .. } => {
                let slow_before = |index: usize| (index as f64 * share) as usize;
                (role.persists, group) =
                    if slow_before(index + 1) > slow_before(index) { (true, Group::Slow) } else { (false, group) };
            }
            Scenario::Storm { .. } => role.persists = true,
            Scenario::Fanout | Scenario::Idle { .. } => {}
        }
        (role, group)
    }

    /// What the publisher's session does: it polls, and hears the other shards.
    pub(crate) fn publisher(&self) -> Role {
        let channels = (self.open..self.channels.len() as u32).collect();
        Role { transport: Transport::LongPolling, channels, persists: false }
    }

    /// Who publishes a batch, and in which flow.
    pub(crate) fn aim(&self, batch: u32) -> (Source, u32) {
        let sources = self.sources.len() as u32;
        let (source, turn) = (batch % sources, batch / sources);
        let channel = match self.scenario {
            Scenario::Rooms { rooms, .. } => (mixed(u64::from(batch)) % u64::from(rooms)) as u32,
            _ => turn % self.open,
        };
        (self.sources[source as usize], source * self.channels.len() as u32 + channel)
    }
}

/// Some of the rooms for a client.
fn choose(client: u64, rooms: u32, count: u32) -> Rc<[u32]> {
    let mut chosen: Vec<u32> = Vec::with_capacity(count as usize);
    let mut state = mixed(client.wrapping_add(1) << 20);
    while chosen.len() < count as usize {
        state = mixed(state);
        let room = (state % u64::from(rooms)) as u32;
        if let Err(at) = chosen.binary_search(&room) {
            chosen.insert(at, room);
        }
    }
    chosen.into()
}

/// One number made of another, as `splitmix64` does.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Command};

    fn plan(line: &str) -> Plan {
        let words = format!("{line} --url http://h/cometd");
        match args::parse(words.split_ascii_whitespace()) {
            Ok(Command::Run(run)) => Plan::of(&run),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rooms_are_the_same_in_every_run_and_spread_evenly() {
        let plan = plan("rooms");
        let mut members = [0; 100];
        for index in 0..1000 {
            let (role, _) = plan.client(index);
            assert_eq!(role.channels, plan.client(index).0.channels);
            assert!(role.channels.len() == 10 && role.channels.is_sorted_by(|a, b| a < b));
            role.channels.iter().for_each(|room| members[*room as usize] += 1);
        }
        assert!(members.iter().all(|count| (50..150).contains(count)), "{members:?}");
        let aims: std::collections::BTreeSet<u32> = (0..1000).map(|batch| plan.aim(batch).1).collect();
        assert!(aims.len() > 90 && aims.iter().all(|flow| *flow < 100), "{aims:?}");
    }

    #[test]
    fn shards_have_clients_of_their_own_and_a_channel_to_talk() {
        let line = "rooms --clients 10 --rate 5 --run r --shard";
        let (one, two) = (plan(&format!("{line} 1/2")), plan(&format!("{line} 2/2")));
        assert_ne!(one.client(3).0.channels, two.client(3).0.channels);
        assert_eq!(plan("rooms --clients 20").client(13).0.channels, two.client(3).0.channels);
        assert_eq!(two.channels.last().map(String::as_str), Some("/encke-load/r/control"));
        assert_eq!(&*two.publisher().channels, [100]);
        assert_eq!(one.aim(17), plan("rooms").aim(17).clone(), "a flow of the first source is its channel");
    }

    #[test]
    fn a_share_of_the_clients_is_slow() {
        let plan = plan("slow --clients 40 --slow-share 10");
        let slow: Vec<usize> = (0..40).filter(|index| plan.client(*index).1 == Group::Slow).collect();
        assert_eq!(slow, [9, 19, 29, 39]);
    }

    #[test]
    fn mixed_has_all_transports_and_every_source_speaks_everywhere() {
        let plan = plan("mixed --clients 40 --channels 3 --speakers 2");
        let transports: Vec<Transport> = (0..4).map(|index| plan.client(index).0.transport).collect();
        assert_eq!(transports, Transport::ALL);
        assert!((0..40).all(|index| plan.client(index).0.channels.len() == 2));
        let aims: std::collections::BTreeSet<u32> = (0..9).map(|batch| plan.aim(batch).1).collect();
        assert_eq!(aims.into_iter().collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
        assert_eq!(
            [plan.aim(0).0, plan.aim(1).0, plan.aim(5).0],
            [Source::Press, Source::Member(0), Source::Member(1)]
        );
    }
}
