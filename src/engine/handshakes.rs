//! TLS, as far as it concerns the engine: how long handshakes may take, what becomes of those that fail, and what is kept
//! of records.
//!
//! Owns none of TLS itself, which is the owner of the socket's.

use crate::clock::Now;
use crate::conn::route::{Refusal, RefusalKind};
use crate::conn::{Conn, ConnKey};
use crate::http::origin::Grant;
use crate::http::response::Status;
use crate::refusals::Who;

use super::Engine;

impl Engine {
    /// Something has come of a TLS handshake, and waits for a turn: until [`Engine::read_resumed`] its
    /// peer has all the time there is. All in which it is waited for may be that of a request head.
    pub fn handshake_waits(&mut self, key: ConnKey, now: Now) {
        self.terms.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.await_handshake(&self.limits, self.terms.env(&self.limits));
        }
    }

    /// Whether a TLS handshake is to be gone on with on a connection: not if it has been given up.
    pub fn wants_handshake(&self, key: ConnKey) -> bool {
        self.conns.get(key).is_some_and(Conn::is_open)
    }

    /// A TLS handshake has ended well: what a connection receives from now on has come by TLS.
    pub fn handshake_done(&mut self, key: ConnKey, now: Now) {
        self.terms.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.secure(self.terms.env(&self.limits));
        }
        self.schedule(key);
    }

    /// A TLS handshake has failed, and the peer has been told in the terms of TLS. The connection is ended in order, so
    /// that it hears that.
    pub fn handshake_failed(&mut self, key: ConnKey, reason: &str, now: Now) {
        self.terms.tell_time(now);
        self.end_handshake(key, reason);
        self.touch(key);
    }

    /// A peer speaks plain HTTP where TLS is expected. It is told so, in plain HTTP.
    pub fn tls_expected(&mut self, key: ConnKey, now: Now) {
        self.terms.tell_time(now);
        let text = "This port speaks TLS: write https:// or wss:// in place of http:// or ws://".to_owned();
        let (status, kind) = (Status::BadRequest, RefusalKind::Handshake);
        self.fail(key, &Refusal { status, text, allow: None, grant: Grant::SameOrigin, kind });
        self.touch(key);
    }

    /// So many bytes are kept of a connection's TLS records: of such as have come in part, which have the time of a request
    /// head to be whole, and of such as its socket has not taken, which have the time of an answer.
    pub fn records_kept(&mut self, key: ConnKey, incoming: usize, outgoing: usize, now: Now) {
        self.terms.tell_time(now);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let changed = self.received.set_beneath(key, incoming) | self.unsent.set_beneath(key, outgoing);
        if !changed && incoming == 0 {
            return;
        }
        conn.keep_records(incoming > 0, outgoing > 0, self.terms.env(&self.limits));
        self.pace();
        if incoming > 0 && self.wants_handshake(key) && self.received.bytes() > self.limits.received_bytes {
            self.refuse_input(key);
            return self.touch(key);
        }
        self.schedule(key);
    }

    pub(super) fn end_handshake(&mut self, key: ConnKey, reason: &str) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let who = Who { client: conn.peer().address, path: None };
        self.refusals.note_end(RefusalKind::Handshake, reason, who, self.terms.now.mono_ms);
        conn.part();
    }
}
