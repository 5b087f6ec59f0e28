//! Owns when the next message is published and whether the server took it. Pure, like `client`. The publisher's session
//! polls on a connection of its own, whatever the transport of the others; publishes go over a second one, one request
//! under way at a time.
//!
//! Open-loop publishing over several connections will be another pace here.

use crate::bayeux::{self, Event};
use crate::client::{Client, Fault, FaultKind, Script};
use crate::http::{self, Reassembly, Response};

/// What is to be published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// How many messages.
    pub(crate) messages: u32,
    /// Nanoseconds between two; `None`: the next when all have the last.
    pub(crate) interval_ns: Option<f64>,
    /// Bytes of each one's data.
    pub(crate) size: usize,
    /// The mark of this run.
    pub(crate) run: u32,
}

/// What is to be done about the next message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Publish it; it was meant to go at this time.
    Now(u64),
    /// It is meant to go at this time.
    At(u64),
    /// It waits for an answer or for deliveries.
    Blocked,
    /// There is none.
    Done,
}

/// The publisher.
#[derive(Debug)]
pub(crate) struct Publisher {
    plan: Plan,
    start_ns: u64,
    published: u32,
    acknowledged: u32,
    refused: u32,
    first_refusal: Option<String>,
    awaits: bool,
    close: bool,
    body: Vec<u8>,
    reassembly: Reassembly,
}

impl Publisher {
    /// A publisher whose first message is due at `start_ns`.
    pub(crate) fn new(plan: Plan, start_ns: u64) -> Self {
        let (body, reassembly) = (Vec::new(), Reassembly::default());
        let (published, acknowledged, refused, first_refusal) = (0, 0, 0, None);
        Self {
            plan,
            start_ns,
            published,
            acknowledged,
            refused,
            first_refusal,
            awaits: false,
            close: false,
            body,
            reassembly,
        }
    }

    /// Messages that were sent.
    pub(crate) fn published(&self) -> u32 {
        self.published
    }

    /// Messages that the server said it took.
    pub(crate) fn acknowledged(&self) -> u32 {
        self.acknowledged
    }

    /// Messages that the server refused.
    pub(crate) fn refused(&self) -> u32 {
        self.refused
    }

    /// The first refusal in words.
    pub(crate) fn first_refusal(&self) -> Option<&str> {
        self.first_refusal.as_deref()
    }

    /// Whether a publish is under way.
    pub(crate) fn awaits(&self) -> bool {
        self.awaits
    }

    /// Whether the server closes the connection after the last answer.
    pub(crate) fn closes(&self) -> bool {
        self.close
    }

    /// What is to be done at `now`, given whether everything published so far was delivered.
    pub(crate) fn due(&self, now: u64, all_delivered: bool) -> Due {
        if self.published == self.plan.messages {
            return Due::Done;
        }
        if self.awaits {
            return Due::Blocked;
        }
        match self.plan.interval_ns {
            None if all_delivered => Due::Now(now),
            None => Due::Blocked,
            Some(interval) => {
                // From the start each time, so that rounding does not add up.
                let at = self.start_ns + (f64::from(self.published) * interval) as u64;
                if at <= now { Due::Now(at) } else { Due::At(at) }
            }
        }
    }

    /// Writes the next publish for `session`.
    pub(crate) fn publish(&mut self, session: &Client, script: &Script, intended: u64, out: &mut Vec<u8>) {
        let event = Event { run: self.plan.run, seq: self.published, sent: intended };
        self.body.clear();
        bayeux::write_publish(&mut self.body, session.client_id(), &script.channel, event, self.plan.size);
        http::write_post(out, &script.target, session.cookies(), &self.body);
        self.published += 1;
        self.awaits = true;
    }

    /// Takes bytes of the server.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let mut reassembly = std::mem::take(&mut self.reassembly);
        let taken = reassembly.feed(bytes, |response| self.respond(&response));
        self.reassembly = reassembly;
        taken
    }

    fn respond(&mut self, response: &Response<'_>) -> Result<(), Fault> {
        if !std::mem::take(&mut self.awaits) {
            return Err(Fault::new(FaultKind::Protocol, "a response to no publish"));
        }
        self.close = !response.keep_alive;
        if response.status != 200 {
            return Err(Fault::new(FaultKind::Status, format!("HTTP {} to a publish", response.status)));
        }
        let batch = bayeux::decode(&response.body)
            .map_err(|error| Fault::new(FaultKind::Protocol, format!("no batch of messages to a publish: {error}")))?;
        let Some(ack) = batch.iter().find(|message| message.id() == bayeux::PUBLISH_ID && message.successful.is_some())
        else {
            return Err(Fault::new(FaultKind::Protocol, "no answer to a publish"));
        };
        if ack.successful == Some(true) {
            self.acknowledged += 1;
        } else {
            self.refused += 1;
            self.first_refusal.get_or_insert_with(|| ack.error().to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bayeux::Transport;
    use crate::http::Target;

    const ACK: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Length: 48\r\n\r\n[{\"channel\":\"/load\",\"id\":\"4\",\"successful\":true}]";

    fn publish(publisher: &mut Publisher, intended: u64) -> String {
        let target = Target { host: "h".into(), path: "/".into() };
        let (transport, deflate) = (Transport::LongPolling, false);
        let script = Script { target, channel: "/load".into(), transport, deflate };
        let mut out = Vec::new();
        publisher.publish(&Client::session(), &script, intended, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_rate_sets_the_times_and_delay_does_not_move_them() {
        let plan = Plan { messages: 3, interval_ns: Some(1e6), size: 0, run: 1 };
        let mut publisher = Publisher::new(plan, 500);
        assert_eq!(publisher.due(400, true), Due::At(500));
        assert_eq!(publisher.due(500, true), Due::Now(500));
        assert!(publish(&mut publisher, 500).contains(r#""seq":0,"sent":500"#));
        assert_eq!(publisher.due(9_000_000, true), Due::Blocked);
        for split in 0..ACK.len() {
            let mut publisher = Publisher::new(plan, 500);
            publish(&mut publisher, 500);
            publisher.receive(&ACK[..split]).unwrap();
            assert!(publisher.awaits());
            publisher.receive(&ACK[split..]).unwrap();
            assert!(!publisher.awaits() && publisher.acknowledged() == 1);
        }
        publisher.receive(ACK).unwrap();
        assert_eq!(publisher.due(9_000_000, false), Due::Now(1_000_500));
        publish(&mut publisher, 1_000_500);
        publisher.receive(ACK).unwrap();
        assert_eq!(publisher.due(1_500_000, false), Due::At(2_000_500));
    }

    #[test]
    fn without_a_rate_the_next_waits_for_deliveries() {
        let mut publisher = Publisher::new(Plan { messages: 1, interval_ns: None, size: 0, run: 1 }, 0);
        assert_eq!(publisher.due(7, false), Due::Blocked);
        assert_eq!(publisher.due(7, true), Due::Now(7));
        publish(&mut publisher, 7);
        assert_eq!(publisher.due(8, true), Due::Done);
    }

    #[test]
    fn refusals_are_counted() {
        let mut publisher = Publisher::new(Plan { messages: 2, interval_ns: None, size: 0, run: 1 }, 0);
        publish(&mut publisher, 0);
        let body = r#"[{"channel":"/load","id":"4","successful":false,"error":"403:no:publish_denied"}]"#;
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        publisher.receive(response.as_bytes()).unwrap();
        assert_eq!((publisher.refused(), publisher.first_refusal()), (1, Some("403:no:publish_denied")));
        assert_eq!(publisher.receive(ACK).unwrap_err().kind, FaultKind::Protocol);
    }
}
