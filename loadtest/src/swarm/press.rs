//! Owns the connections that publish. Each channel has one of them, so that its order is kept.

use super::Setting;
use crate::client::{Client, Fault, FaultKind, Script};
use crate::event::Batch;
use crate::link::{Got, Link};
use crate::protocol::Verdict;
use crate::publisher::Pipeline;
use mio::event::Event as Readiness;
use mio::{Registry, Token};

/// Connections that publish.
const CONNECTIONS: usize = 4;

/// The publisher.
#[derive(Debug, Default)]
pub(crate) struct Press {
    lines: [(Pipeline, Link); CONNECTIONS],
    /// What the server said of all messages.
    pub(super) total: Verdict,
}

impl Press {
    /// The token of a connection, counted from the end of all.
    pub(super) fn token(at: usize) -> Token {
        Token(usize::MAX - 1 - at)
    }

    /// Whose token that is.
    pub(super) fn line_of(token: Token) -> Option<usize> {
        Some(usize::MAX - 1 - token.0).filter(|at| *at < CONNECTIONS)
    }

    /// Whether a channel has to wait for answers.
    pub(super) fn is_full(&self, channel: usize) -> bool {
        self.lines[channel % CONNECTIONS].0.is_full()
    }

    /// How often connections were opened again.
    pub(super) fn reopened(&self) -> u64 {
        self.lines.iter().map(|(_, link)| u64::from(link.reopened())).sum()
    }

    /// Whether an answer is to come.
    pub(super) fn awaits(&self) -> bool {
        self.lines.iter().any(|(pipeline, _)| pipeline.awaits())
    }

    /// Publishes a batch of the run in the name of `session`.
    pub(super) fn publish(
        &mut self,
        (channel, batch): (usize, Batch),
        session: &Client,
        setting: &Setting,
        registry: &Registry,
    ) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        let script: &Script = &setting.script;
        script.protocol.write_publish(&script.channels[channel], batch, script, (session, &mut bytes));
        self.send(channel, (bytes, batch.count), setting, registry)
    }

    /// Sends a request with so many messages of the run.
    pub(super) fn send(
        &mut self,
        channel: usize,
        (bytes, count): (Vec<u8>, u32),
        setting: &Setting,
        registry: &Registry,
    ) -> Result<(), Fault> {
        let at = channel % CONNECTIONS;
        let (pipeline, link) = &mut self.lines[at];
        link.send(&bytes, setting.route(at), registry, Self::token(at))?;
        pipeline.add(bytes, count);
        Ok(())
    }

    /// Serves readiness of a connection.
    pub(super) fn serve(
        &mut self,
        (at, event): (usize, &Readiness),
        setting: &Setting,
        registry: &Registry,
        buffer: &mut [u8],
    ) -> Result<(), Fault> {
        let (pipeline, link) = &mut self.lines[at];
        link.ready(event, setting.route(at))?;
        let ended = loop {
            match link.read(buffer)? {
                Got::Bytes(count) => {
                    pipeline.receive(&buffer[..count], setting.script.protocol, &mut self.total)?;
                    if pipeline.closes() {
                        break true;
                    }
                }
                Got::Nothing => break false,
                Got::End if pipeline.awaits() => {
                    let text = "the server closed the connection before it answered a publish";
                    return Err(Fault::new(FaultKind::Closed, text));
                }
                Got::End => break true,
            }
        };
        if ended {
            link.close();
            let again = pipeline.reopened();
            if !again.is_empty() {
                link.send(&again, setting.route(at), registry, Self::token(at))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_publishing_connections_are_none_of_a_client() {
        for at in 0..CONNECTIONS {
            assert_eq!(Press::line_of(Press::token(at)), Some(at));
        }
        for index in [0, 1, 2 * 1_000_000 + 1] {
            assert_eq!(Press::line_of(Token(index)), None);
        }
    }

    #[test]
    fn a_channel_has_one_connection() {
        let mut press = Press::default();
        let batch = vec![0; 128 * 1024 * 1024];
        press.lines[5 % CONNECTIONS].0.add(batch, 1);
        assert!(press.awaits());
        let full: Vec<usize> = (0..8).filter(|channel| press.is_full(*channel)).collect();
        assert_eq!(full, [1, 5]);
    }
}
