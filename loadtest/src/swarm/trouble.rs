//! Owns what clients do that is not nice: lose their connections and come back, or read slowly.

use super::{Absence, Group, Link, Member, NS_PER_MS, SLOW_READS_PER_S, Swarm, Timer};
use crate::client::{Fault, FaultKind, Lane};
use std::cmp::Reverse;

/// How long after a connection broke a server may still write to it as if it stood.
const UNSEEN_NS: u64 = 1000 * NS_PER_MS;

impl Swarm {
    /// Breaks off all connections but the publisher's. Gives how many clients that are.
    pub(crate) fn drop_all(&mut self) -> usize {
        let mut dropped = 0;
        for index in 0..self.members.len() {
            if self.session == Some(index) || self.members[index].lost {
                continue;
            }
            dropped += 1;
            let Member { client, links, tally, parked, absence, .. } = &mut self.members[index];
            links.iter_mut().for_each(Link::abort);
            self.parked -= usize::from(std::mem::take(parked));
            let flows = self.ledger.flows_of(client.channels());
            let absent = |flow| Absence { flow, from: tally.next(flow), seen: u32::MAX, to: u32::MAX };
            absence.extend(flows.map(absent));
        }
        self.timers.push(Reverse((self.now() + UNSEEN_NS, Timer::Seen)));
        dropped
    }

    /// What is published from now on nobody may lose because connections broke.
    pub(super) fn note_seen(&mut self) {
        for absence in self.members.iter_mut().flat_map(|member| &mut member.absence) {
            absence.seen = absence.seen.min(self.ledger.published_in(absence.flow));
        }
    }

    /// Has all clients come back at once.
    pub(crate) fn return_all(&mut self) {
        for index in 0..self.members.len() {
            let Member { client, lost, absence, .. } = &mut self.members[index];
            if *lost || absence.is_empty() {
                continue;
            }
            client.returns(&self.setting.script, &mut self.output);
            self.send(index);
            self.output.clear();
        }
    }

    /// Deliveries that did not come, and that nobody can demand: without acknowledgement, what was under way to a
    /// connection that broke is lost; and with it too all of the absence, if the server has forgotten the session or
    /// knows none.
    pub(crate) fn excused(&self) -> u64 {
        let missing = |member: &Member| {
            let forgotten = member.anew || member.client.session().is_none();
            let until = |absence: &Absence| match (forgotten, self.setting.script.ack) {
                (true, _) => absence.to,
                (false, false) => absence.to.min(absence.seen),
                (false, true) => absence.from,
            };
            let excused = member.absence.iter().map(|absence| {
                let to = until(absence).min(self.ledger.published_in(absence.flow));
                member.tally.missing(absence.flow, absence.from, to)
            });
            excused.sum::<u64>()
        };
        self.members.iter().filter(|member| member.group == Group::Good).map(missing).sum()
    }

    /// From now on the slow ones are slow.
    pub(crate) fn slow_down(&mut self) {
        self.slowed = true;
    }

    /// The slow ones read all that is left, so that they learn what the server did with them: its end of a connection
    /// stands behind what they have not read.
    pub(crate) fn wake_slow(&mut self) {
        self.woken = true;
        let mut buffer = std::mem::take(&mut self.buffer);
        for index in 0..self.members.len() {
            if self.members[index].group == Group::Slow {
                self.read(index, Lane::Main, &mut buffer, true);
            }
        }
        self.buffer = buffer;
    }

    /// How many slow ones there are.
    pub(crate) fn slow(&self) -> usize {
        self.members.iter().filter(|member| member.group == Group::Slow).count()
    }

    /// Something is there for a slow client.
    pub(super) fn wait_slowly(&mut self, index: usize, ended: bool) {
        let rate = self.setting.slow_bytes_per_s;
        if rate == 0 {
            if ended {
                self.fail(index, &Fault::new(FaultKind::Closed, "the server closed the connection of a slow client"));
            }
            return;
        }
        if !std::mem::replace(&mut self.members[index].reading, true) {
            self.timers.push(Reverse((self.now(), Timer::Read(index))));
        }
    }

    /// A slow client reads its share of a second.
    pub(super) fn read_slowly(&mut self, index: usize) {
        let share = (self.setting.slow_bytes_per_s / SLOW_READS_PER_S).max(1) as usize;
        let mut buffer = std::mem::take(&mut self.buffer);
        let share = share.min(buffer.len());
        let read = self.members[index].links[Lane::Main as usize].read(&mut buffer[..share]);
        match read {
            Ok(crate::link::Got::Bytes(count)) => {
                self.received(index, Lane::Main, &buffer[..count]);
                self.timers.push(Reverse((self.now() + 1000 / SLOW_READS_PER_S * NS_PER_MS, Timer::Read(index))));
            }
            Ok(crate::link::Got::Nothing) => self.members[index].reading = false,
            Ok(crate::link::Got::End) => {
                self.members[index].reading = false;
                self.ended(index, Lane::Main);
            }
            Err(fault) => self.fail(index, &fault),
        }
        self.buffer = buffer;
    }
}
