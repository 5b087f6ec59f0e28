//! Owns what differs between the protocols that a run can speak: who its clients are, how a publish is written and how
//! its answer is judged.

use crate::bayeux;
use crate::client::{Client, Fault, FaultKind, Role, Script, Session};
use crate::event::Batch;
use crate::foreign::nchan::{self, Subscriber};
use crate::http::{self, Response};

/// A protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Bayeux.
    #[default]
    Bayeux,
    /// That of nchan, the publish-subscribe module of nginx.
    Nchan,
}

/// What the answer to a publish says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Messages that the server took.
    pub(crate) accepted: u64,
    /// Messages that it refused.
    pub(crate) refused: u64,
    /// Why it refused the first.
    pub(crate) reason: Option<String>,
}

impl Protocol {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::Bayeux, Self::Nchan];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bayeux => "bayeux",
            Self::Nchan => "nchan",
        }
    }

    /// A client that has not begun.
    pub(crate) fn client(self, role: Role) -> Client {
        match self {
            Self::Bayeux => Client::Bayeux(Session::new(role)),
            Self::Nchan => Client::Nchan(Subscriber::new(role)),
        }
    }

    /// Writes a request that publishes; `session` is the publisher's.
    pub(crate) fn write_publish(
        self,
        channel: &str,
        batch: Batch,
        script: &Script,
        (session, out): (&Client, &mut Vec<u8>),
    ) {
        match self {
            Self::Bayeux => {
                let Some(session) = session.session() else { return };
                let mut body = Vec::new();
                bayeux::write_publish(&mut body, session.client_id(), channel, batch);
                http::write_post(out, &script.target, session.cookies(), &body);
            }
            Self::Nchan => nchan::write_publish(out, &script.publish, channel, batch),
        }
    }

    /// Judges the answer to a request that published `count` messages.
    pub(crate) fn judge_publish(self, response: &Response<'_>, count: u32) -> Result<Verdict, Fault> {
        match self {
            Self::Bayeux if response.status != 200 => {
                Err(Fault::new(FaultKind::Status, format!("HTTP {} to a publish", response.status)))
            }
            Self::Bayeux => {
                let verdict = bayeux_verdict(&response.body)?;
                if verdict.accepted + verdict.refused != u64::from(count) {
                    return Err(Fault::new(FaultKind::Protocol, "no answer to a publish"));
                }
                Ok(verdict)
            }
            Self::Nchan => nchan::judge_publish(response),
        }
    }
}

/// What a Bayeux server says of the messages that were published with [`bayeux::PUBLISH_ID`].
pub(crate) fn bayeux_verdict(body: &[u8]) -> Result<Verdict, Fault> {
    let batch = bayeux::decode(body)
        .map_err(|error| Fault::new(FaultKind::Protocol, format!("no batch of messages to a publish: {error}")))?;
    let mut verdict = Verdict::default();
    for message in batch.iter().filter(|message| message.is_publish_reply()) {
        if message.successful == Some(true) {
            verdict.accepted += 1;
        } else {
            verdict.refused += 1;
            verdict.reason.get_or_insert_with(|| message.error().to_owned());
        }
    }
    Ok(verdict)
}
