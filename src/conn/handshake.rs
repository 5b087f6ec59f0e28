//! What TLS beneath a connection means for it.
//!
//! Owns the time that handshakes and records have, and nothing of TLS itself.

use crate::limits::Limits;

use super::{Conn, Env, Phase, Stage};

impl Conn {
    /// Something has come of a TLS handshake, which waits for its turn.
    pub fn await_handshake(&mut self, limits: &Limits, env: Env<'_>) {
        if self.stage == Stage::New {
            self.stage = Stage::Handshake;
        }
        self.await_read(limits, env);
    }

    /// What comes from now on has come by TLS.
    pub fn secure(&mut self, env: Env<'_>) {
        self.tls = true;
        self.stage = Stage::New;
        self.since_ms = env.now_ms;
    }

    /// Ends the connection in order, but without an answer: its peer could not read one.
    pub fn part(&mut self) {
        if matches!(self.phase, Phase::Open | Phase::Last) {
            self.phase = Phase::Parting;
        }
    }

    /// Whether it is in the middle of a TLS handshake.
    pub fn is_shaking_hands(&self) -> bool {
        self.stage == Stage::Handshake && self.phase == Phase::Open
    }

    /// Whether part of a TLS record has come, and whether the socket has not taken all that are made. Part of a record is
    /// part of a request, or of a message, of which nothing can be read yet.
    pub fn keep_records(&mut self, incoming: bool, outgoing: bool, env: Env<'_>) {
        let part = if self.socket().is_some() { Stage::Body } else { self.in_head() };
        let next = match incoming {
            true if self.is_between() => part,
            false if self.stage == part && self.input.is_none() => self.between(),
            _ => self.stage,
        };
        if self.phase == Phase::Open {
            self.enter(next, env);
        }
        if outgoing && !self.is_writing() {
            self.progress_ms = env.now_ms;
            self.moved = 0;
        }
        self.sealed = outgoing;
    }
}
