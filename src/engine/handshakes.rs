//! TLS handshakes, as far as they concern the engine: how long they may take, and what becomes of those that fail.
//!
//! Owns none of TLS itself, which is the owner of the socket's.

use crate::clock::Now;
use crate::conn::ConnKey;
use crate::conn::route::{Refusal, RefusalKind};
use crate::http::origin::Grant;
use crate::http::response::Status;
use crate::refusals::Who;

use super::{Engine, env};

impl Engine {
    /// The first bytes of a TLS handshake have come on a connection. It has the time of a request head to end.
    pub fn handshake_begun(&mut self, key: ConnKey, now: Now) {
        self.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.begin_handshake(env(&self.date, &self.site, self.now, self.course));
        }
        self.schedule(key);
    }

    /// A TLS handshake has ended well: what a connection receives from now on has come by TLS.
    pub fn handshake_done(&mut self, key: ConnKey, now: Now) {
        self.tell_time(now);
        if let Some(conn) = self.conns.get_mut(key) {
            conn.secure(env(&self.date, &self.site, self.now, self.course));
        }
        self.schedule(key);
    }

    /// A TLS handshake has failed, and the peer has been told in the terms of TLS. The connection is ended in order, so
    /// that it hears that.
    pub fn handshake_failed(&mut self, key: ConnKey, reason: &str, now: Now) {
        self.tell_time(now);
        self.end_handshake(key, reason);
        self.touch(key);
    }

    /// A peer speaks plain HTTP where TLS is expected. It is told so, in plain HTTP.
    pub fn tls_expected(&mut self, key: ConnKey, now: Now) {
        self.tell_time(now);
        let text = "This port speaks TLS: write https:// or wss:// in place of http:// or ws://".to_owned();
        let (status, kind) = (Status::BadRequest, RefusalKind::Handshake);
        self.fail(key, &Refusal { status, text, allow: None, grant: Grant::SameOrigin, kind });
        self.touch(key);
    }

    pub(super) fn end_handshake(&mut self, key: ConnKey, reason: &str) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        self.refusals.note_handshake(reason, Who { client: conn.peer().address, path: None }, self.now.mono_ms);
        conn.part();
    }
}
