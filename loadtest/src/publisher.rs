//! Owns when the next batch is published, and the connection that it goes over. Pure, like `client`.
//!
//! Publishing is open-loop: a request goes at its time, whether those before it are answered or not, one behind the
//! other on the same connection (HTTP pipelining, RFC 9112 section 9.3.2). So a server that is late does not slow the
//! publisher, up to a bound that is told when it is reached, and what is sent on one connection is read in the order in
//! which it was sent. All that goes to one channel goes over one connection, and so "out of order" can be demanded and
//! is the server's doing when it happens; a pool of connections with one request each could not have that, for the
//! requests overtake each other on the way.

use crate::client::{Fault, FaultKind};
use crate::http::{Reassembly, Response};
use crate::protocol::{Protocol, Verdict};
use std::collections::VecDeque;

/// Requests without an answer on one connection. To a server that is this late nothing more is sent.
pub(crate) const UNANSWERED_MAX: usize = 10_000;
/// Bytes of them, which are kept.
const UNANSWERED_BYTES_MAX: usize = 128 * 1024 * 1024;

/// When to publish.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How many batches.
    pub(crate) batches: u32,
    /// Nanoseconds between two; `None`: the next when all have the last.
    pub(crate) interval_ns: Option<f64>,
    /// When the first is due.
    pub(crate) start_ns: u64,
}

/// What is to be done about the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Publish it; it was meant to go at this time.
    Now(u64),
    /// It is meant to go at this time.
    At(u64),
    /// It waits for deliveries.
    Blocked,
    /// There is none.
    Done,
}

impl Pace {
    /// What is to be done at `now` when so many batches are sent, given whether all of them have come and are answered.
    pub(crate) fn due(&self, now: u64, sent: u32, all_done: bool) -> Due {
        if sent == self.batches {
            return Due::Done;
        }
        match self.interval_ns {
            None if all_done => Due::Now(now),
            None => Due::Blocked,
            Some(interval) => {
                // From the start each time, so that rounding does not add up.
                let at = self.start_ns + (f64::from(sent) * interval) as u64;
                if at <= now { Due::Now(at) } else { Due::At(at) }
            }
        }
    }
}

/// A request that is not answered.
#[derive(Debug)]
struct Request {
    bytes: Vec<u8>,
    /// Messages in it; 0 if they are none of the run's.
    count: u32,
}

/// The requests on one connection.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    unanswered: VecDeque<Request>,
    /// Bytes of those.
    bytes: usize,
    reassembly: Reassembly,
    closing: bool,
}

impl Pipeline {
    /// Whether so much is not answered that the next has to wait.
    pub(crate) fn is_full(&self) -> bool {
        self.unanswered.len() >= UNANSWERED_MAX || self.bytes >= UNANSWERED_BYTES_MAX
    }

    /// Takes a request with so many messages; it is kept until it is answered.
    pub(crate) fn add(&mut self, bytes: Vec<u8>, count: u32) {
        self.bytes += bytes.len();
        self.unanswered.push_back(Request { bytes, count });
    }

    /// Whether an answer is to come.
    pub(crate) fn awaits(&self) -> bool {
        !self.unanswered.is_empty()
    }

    /// Whether the server closes the connection behind the answers that came.
    pub(crate) fn closes(&self) -> bool {
        self.closing
    }

    /// The connection is a new one. Gives what is to be sent again: a server that says that it closes behind an answer
    /// has not acted on what came after that request.
    pub(crate) fn reopened(&mut self) -> Vec<u8> {
        self.closing = false;
        self.reassembly.reset();
        self.unanswered.iter().flat_map(|request| &request.bytes).copied().collect()
    }

    /// Takes bytes of the server; what it says of the messages is added to `total`.
    pub(crate) fn receive(&mut self, bytes: &[u8], protocol: Protocol, total: &mut Verdict) -> Result<(), Fault> {
        let mut reassembly = std::mem::take(&mut self.reassembly);
        let taken = reassembly.feed(bytes, |response| self.respond(&response, protocol, total));
        self.reassembly = reassembly;
        taken
    }

    fn respond(&mut self, response: &Response<'_>, protocol: Protocol, total: &mut Verdict) -> Result<(), Fault> {
        let Some(Request { bytes, count }) = self.unanswered.pop_front().filter(|_| !self.closing) else {
            return Err(Fault::new(FaultKind::Protocol, "a response to no publish"));
        };
        self.bytes -= bytes.len();
        self.closing = !response.keep_alive;
        let Verdict { accepted, refused, reason } = protocol.judge_publish(response, count.max(1))?;
        if count > 0 {
            total.accepted += accepted;
            total.refused += refused;
        }
        if let Some(reason) = reason {
            total.reason.get_or_insert(reason);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: &str =
        "HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n[{\"channel\":\"/load\",\"id\":\"4\",\"successful\":true}]";

    fn receive(pipeline: &mut Pipeline, bytes: &str) -> Result<Verdict, Fault> {
        let mut total = Verdict::default();
        pipeline.receive(bytes.as_bytes(), Protocol::Bayeux, &mut total).map(|()| total)
    }

    #[test]
    fn a_rate_sets_the_times_and_delay_does_not_move_them() {
        let pace = Pace { batches: 3, interval_ns: Some(1e6), start_ns: 500 };
        assert_eq!(pace.due(400, 0, true), Due::At(500));
        assert_eq!(pace.due(500, 0, true), Due::Now(500));
        assert_eq!(pace.due(9_000_000, 1, false), Due::Now(1_000_500), "nobody waits for an answer");
        assert_eq!(pace.due(1_500_000, 2, false), Due::At(2_000_500));
        assert_eq!(pace.due(1_500_000, 3, false), Due::Done);
    }

    #[test]
    fn without_a_rate_the_next_waits_for_deliveries() {
        let pace = Pace { batches: 1, interval_ns: None, start_ns: 0 };
        assert_eq!(
            [pace.due(7, 0, false), pace.due(7, 0, true), pace.due(8, 1, true)],
            [Due::Blocked, Due::Now(7), Due::Done]
        );
    }

    #[test]
    fn answers_belong_to_requests_in_order_at_every_split_point() {
        let body = r#"[{"channel":"/load","id":"4","successful":false,"error":"403:no:publish_denied"}]"#;
        let refused = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let all = [ACK, &refused, ACK].concat();
        for split in 0..=all.len() {
            let mut pipeline = Pipeline::default();
            for count in [1, 1, 0] {
                pipeline.add(b"request".to_vec(), count);
            }
            let mut total = Verdict::default();
            for part in [&all[..split], &all[split..]] {
                pipeline.receive(part.as_bytes(), Protocol::Bayeux, &mut total).unwrap();
            }
            assert!(!pipeline.awaits());
            assert_eq!((total.accepted, total.refused), (1, 1), "split at {split}");
            assert_eq!(total.reason.as_deref(), Some("403:no:publish_denied"));
        }
        assert_eq!(receive(&mut Pipeline::default(), ACK).unwrap_err().kind, FaultKind::Protocol);
    }

    #[test]
    fn what_is_behind_a_close_goes_again() {
        let mut pipeline = Pipeline::default();
        for bytes in ["a", "b", "c"] {
            pipeline.add(bytes.into(), 1);
        }
        receive(&mut pipeline, &ACK.replacen("\r\n", "\r\nConnection: close\r\n", 1)).unwrap();
        assert!(pipeline.closes() && pipeline.awaits());
        assert_eq!(pipeline.reopened(), b"bc");
        assert!(!pipeline.closes());
        assert_eq!(receive(&mut pipeline, ACK).unwrap().accepted, 1);
    }

    #[test]
    fn what_is_not_answered_is_bounded() {
        let mut pipeline = Pipeline::default();
        for _ in 0..UNANSWERED_MAX {
            assert!(!pipeline.is_full());
            pipeline.add(Vec::new(), 1);
        }
        assert!(pipeline.is_full());
        receive(&mut pipeline, ACK).unwrap();
        assert!(!pipeline.is_full());
        pipeline.add(vec![0; UNANSWERED_BYTES_MAX], 1);
        assert!(pipeline.is_full() && pipeline.unanswered.len() == UNANSWERED_MAX);
    }
}
