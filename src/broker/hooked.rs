//! Telling listeners, asking extensions, filters and services, and doing what hooks want done.
//!
//! Owns when hooks are called, with what, and the commands that they give. A hook is given parts of the broker that nothing
//! else uses while it runs, so it finds nothing half-done; and its commands are run when it has returned.

use core::net::IpAddr;

use crate::bayeux::{Channel, Message, OwnedMessage, Pattern, Reply, check};
use crate::clock::Now;
use crate::hooks::{
    Command, Context, Extension, Filtered, Listener, Origin, OutgoingReply, Passage, Published, RemoteCall, Removal,
    Request as Asked, Session, SessionId, WebRequest, WebResponse,
};

use super::ask::Seen;
use super::delivery::{Content, Publication};
use super::session::SessionKey;
use super::{Broker, sums};

/// Channels that are looked at in one turn of the loop because nobody has used them for long, count.
const SWEPT: usize = 1_024;
/// Channels of services of which it is logged that nobody listens there, count.
const UNHEARD: usize = 256;

impl Broker {
    /// Tells each listener something about a session.
    pub(super) fn tell(
        &mut self,
        key: SessionKey,
        mut tell: impl FnMut(&mut dyn Listener, &mut Session<'_>, &mut Context<'_>),
    ) {
        if self.hooks.listeners.is_empty() {
            return;
        }
        let address = self.from.filter(|_| self.speaker == Some(key));
        let Some(mut seen) = self.see(key, Origin { address, ..Origin::default() }) else { return };
        let now = self.now();
        for listener in &mut self.hooks.listeners {
            let mut context = Context { commands: &mut self.commands, channels: &mut self.channels, now };
            tell(&mut **listener, &mut seen.view(), &mut context);
        }
        self.unsee(seen);
    }

    fn tell_channel(&mut self, mut tell: impl FnMut(&mut dyn Listener, &mut Context<'_>)) {
        let now = self.now();
        for listener in &mut self.hooks.listeners {
            tell(&mut **listener, &mut Context { commands: &mut self.commands, channels: &mut self.channels, now });
        }
    }

    /// A session has subscribed, and perhaps brought the pattern into being.
    pub(super) fn subscribed(&mut self, key: SessionKey, pattern: Pattern<'_>) {
        if !self.hooks.watch_channels() {
            return;
        }
        let name = pattern.to_string();
        self.note_channel(&name, true);
        self.tell(key, |listener, session, context| listener.subscribed(session, &name, context));
    }

    /// A session is not subscribed any more.
    pub(super) fn unsubscribed(&mut self, key: SessionKey, name: &str, last: bool) {
        if last {
            self.channels.unheard(name, (self.now_ms, self.limits.sweep_ms));
        }
        self.tell(key, |listener, session, context| listener.unsubscribed(session, name, context));
    }

    /// A channel is used: hooks are told if it is new.
    pub(super) fn note_channel(&mut self, name: &str, heard: bool) {
        if !self.hooks.watch_channels() || (self.channels.len() >= self.limits.channels && !self.channels.has(name)) {
            return;
        }
        if self.channels.used(name, heard, (self.now_ms, self.limits.sweep_ms)) {
            self.tell_channel(|listener, context| listener.channel_added(name, context));
        }
    }

    /// Takes out channels that nobody uses, as many as fit into a turn.
    pub(super) fn sweep(&mut self) {
        let mut left = SWEPT;
        loop {
            let rules = &self.rules;
            let stays = |name: &str| Pattern::parse(name).is_ok_and(|pattern| rules.of_name(pattern).persistent);
            let swept = self.channels.sweep((self.now_ms, self.limits.sweep_ms), &mut left, stays);
            let Some(name) = swept else { return };
            self.tell_channel(|listener, context| listener.channel_removed(&name, context));
        }
    }

    /// What is written on a session goes with it: listeners see it for the last time.
    pub(super) fn tell_removal(&mut self, key: SessionKey, removal: Removal) {
        self.tell(key, |listener, session, context| listener.session_removed(session, removal, context));
    }

    /// Has extensions look at a message that has come, from this session if it is known.
    pub(super) fn extend_incoming(
        &mut self,
        message: &mut OwnedMessage,
        (speaker, origin): (Option<SessionKey>, Origin<'_>),
    ) -> Passage {
        let now = self.now();
        let mut seen = speaker.and_then(|key| self.see(key, origin));
        let mut passage = Passage::Pass;
        for extension in &mut self.hooks.extensions {
            let mut view = seen.as_mut().map(Seen::view);
            if !serves(&**extension, view.as_ref()) {
                continue;
            }
            let mut context = Context { commands: &mut self.commands, channels: &mut self.channels, now };
            passage = extension.incoming(message, view.as_mut(), &mut context);
            if passage == Passage::Delete {
                break;
            }
        }
        if let Some(seen) = seen {
            self.unsee(seen);
        }
        passage
    }

    /// Has extensions look at a reply: its `ext` as it is to go.
    pub(super) fn extend_reply(&mut self, reply: &Reply<'_>) -> Option<String> {
        let now = self.now();
        let mut seen = self.speaker.and_then(|key| self.see(key, Origin::default()));
        let ext = reply.ext.map(str::to_owned);
        let mut outgoing = OutgoingReply { channel: reply.channel, successful: reply.successful, ext };
        for extension in self.hooks.extensions.iter_mut().rev() {
            let mut view = seen.as_mut().map(Seen::view);
            if serves(&**extension, view.as_ref()) {
                let mut context = Context { commands: &mut self.commands, channels: &mut self.channels, now };
                extension.reply(&mut outgoing, view.as_mut(), &mut context);
            }
        }
        let ext = outgoing.ext;
        if let Some(seen) = seen {
            self.unsee(seen);
        }
        ext
    }

    /// What hooks make of an event before it goes anywhere; `None` if it ends here.
    pub(super) fn shape(
        &mut self,
        channel: Channel<'_>,
        content: Content<'_>,
        (publisher, address): (Option<SessionKey>, Option<IpAddr>),
    ) -> Option<OwnedMessage> {
        let mut event = match content {
            Content::Message(message) => OwnedMessage::from(message),
            Content::Data(data) => OwnedMessage::event(channel.as_str(), data)?,
        };
        let origin = Origin { address, ..Origin::default() };
        let mut seen = publisher.and_then(|key| self.see(key, origin));
        let passed = self.pass_hooks(channel, &mut event, &mut seen);
        if let Some(seen) = seen {
            self.unsee(seen);
        }
        (passed == Passage::Pass).then_some(event)
    }

    fn pass_hooks(&mut self, channel: Channel<'_>, event: &mut OwnedMessage, seen: &mut Option<Seen>) -> Passage {
        let (name, now) = (channel.as_str(), self.now());
        for (pattern, filter) in self.hooks.filters.iter_mut().filter(|(pattern, _)| pattern.covers(channel)) {
            let filtered =
                filter.filter(name, event.data().unwrap_or("null"), seen.as_mut().map(Seen::view).as_mut(), now);
            match filtered {
                Filtered::Keep => {}
                Filtered::Drop => return Passage::Delete,
                Filtered::Replace(data) => {
                    if let Err(error) = event.set_data(data) {
                        log::error!(
                            "what a filter of {pattern} made of an event of {name} is {error}; it goes to nobody"
                        );
                        return Passage::Delete;
                    }
                }
            }
        }
        for listener in &mut self.hooks.listeners {
            let mut context = Context { commands: &mut self.commands, channels: &mut self.channels, now };
            let published = Published { channel: name, data: event.data().unwrap_or("null") };
            listener.message(published, seen.as_mut().map(Seen::view).as_mut(), &mut context);
        }
        for extension in self.hooks.extensions.iter_mut().rev() {
            let mut context = Context { commands: &mut self.commands, channels: &mut self.channels, now };
            if extension.outgoing(event, &mut context) == Passage::Delete {
                return Passage::Delete;
            }
        }
        Passage::Pass
    }

    /// Gives a message to the services of its channel; the log hears once of a channel without any.
    pub(super) fn serve(
        &mut self,
        key: SessionKey,
        message: &Message<'_>,
        (channel, origin): (Channel<'_>, Origin<'_>),
    ) {
        if !self.hooks.serves(channel) {
            // Clients say so that their stream gets through, which was heard before this.
            if message.ext_number("probe").is_none() {
                self.tell_unheard(channel);
            }
            return;
        }
        let Some(mut seen) = self.see(key, origin) else { return };
        let call = RemoteCall {
            session: SessionId::from_bits(key.to_bits()),
            channel: channel.as_str().to_owned(),
            id: message.id.map(|id| id.as_json().to_owned()),
        };
        let data = message.data.map_or("null", |data| data.get());
        let request = Asked { call: &call, data, ext: message.ext.map(|ext| ext.get()) };
        let now = self.now();
        for (_, service) in self.hooks.services.iter_mut().filter(|(pattern, _)| pattern.covers(channel)) {
            let mut context = Context { commands: &mut self.commands, channels: &mut self.channels, now };
            service.call(request, &mut seen.view(), &mut context);
        }
        self.unsee(seen);
    }

    fn tell_unheard(&mut self, channel: Channel<'_>) {
        if self.unheard.len() >= UNHEARD || self.unheard.iter().any(|told| **told == *channel.as_str()) {
            return;
        }
        self.unheard.push(channel.as_str().into());
        log::warn!("nobody listens on {channel}: what clients publish there is acknowledged and goes nowhere");
        if self.unheard.len() == UNHEARD {
            log::warn!("of further channels of services on which nobody listens the log does not hear");
        }
    }

    /// Whether commands of hooks wait, or batches that wait for nothing else.
    pub fn has_commands(&self) -> bool {
        !self.commands.is_empty() || !self.orphans.is_empty() || !self.steps.is_empty()
    }

    /// Lets a batch go on that waits for nothing any more, or else runs the next command of a hook; whether there was one.
    pub fn follow_up(&mut self) -> bool {
        if self.go_on() {
            return true;
        }
        let Some(command) = self.commands.next() else { return false };
        let fault = self.fault_of(&command);
        if let Some((channel, fault)) = &fault {
            log::error!("what a hook says on {channel:?} is {fault}; it goes to nobody");
        }
        if fault.is_some() || !self.command(command) {
            sums::one(&mut self.counters.commands_failed);
        }
        true
    }

    /// What is wrong with what a hook says, and its channel; what other threads say has been looked at there.
    fn fault_of<'c>(&self, command: &'c Command) -> Option<(&'c str, String)> {
        let (channel, data, publishes) = match command {
            Command::Publish { channel, data, .. } => (channel, data, true),
            Command::Deliver { channel, data, .. } => (channel, data, false),
            Command::Answer { call, result: Ok(data) | Err(data) } => (&call.channel, data, false),
            _ => return None,
        };
        let allowed = |channel: Channel<'_>| !(channel.is_meta() || publishes && channel.is_service());
        let fault = if Channel::parse(channel).is_ok_and(allowed) {
            check::value(data.as_bytes(), self.limits.data_depth()).err()
        } else {
            Some("for no channel that it could go to".to_owned())
        };
        fault.map(|fault| (&**channel, fault))
    }

    /// Does what another thread wants done; whether it could be done.
    pub fn run_command(&mut self, command: Command, now: Now) -> bool {
        self.tell_time(now);
        self.begin_call();
        self.command(command)
    }

    /// Whether anybody wants to know the request that brought a message.
    pub fn wants_origin(&self) -> bool {
        self.hooks.want_origin()
    }

    /// Whether anybody wants to know where it came from.
    pub fn wants_address(&self) -> bool {
        self.hooks.want_address()
    }

    /// What the embedder's program answers a request that is not for the server.
    pub fn fall_back(&mut self, request: &WebRequest<'_>, now: Now) -> Option<WebResponse> {
        self.tell_time(now);
        let mut context = Context { commands: &mut self.commands, channels: &mut self.channels, now };
        self.hooks.fallback.as_mut()?.serve(request, &mut context)
    }

    /// Does what a hook wants done.
    fn command(&mut self, command: Command) -> bool {
        match command {
            Command::Publish { channel, data, lazy } => {
                self.publish_own(Publication { channel: &channel, data: &data, lazy }).is_ok()
            }
            Command::Deliver { session, channel, data } => self.deliver_to(session, (&channel, &data), None),
            Command::Answer { call, result } => {
                let (data, successful) = match &result {
                    Ok(data) => (data, true),
                    Err(data) => (data, false),
                };
                self.deliver_to(call.session, (&call.channel, data), Some((call.id.as_deref(), successful)))
            }
            Command::Disconnect(session) => self.disconnect_named(session),
            Command::DisconnectClient(client_id) => self.kick(&client_id),
            Command::Subscribe(session, name) => self.subscribe_named(session, &name),
            Command::Unsubscribe(session, name) => self.unsubscribe_named(session, &name),
            Command::SetAttribute(session, name, value) => self.write_on(session, &name, value.as_deref()),
            Command::Resolve(ticket, result) => {
                self.resolve(ticket, result);
                true
            }
        }
    }

    fn disconnect_named(&mut self, session: SessionId) -> bool {
        let Some(key) = self.named(session) else { return false };
        self.close(key, Removal::Kicked);
        true
    }

    fn subscribe_named(&mut self, session: SessionId, name: &str) -> bool {
        let Some(key) = self.named(session) else { return false };
        let Ok(pattern) = Pattern::parse(name) else { return false };
        let count = self.sessions.get(key).map_or(0, |session| session.subscriptions.as_slice().len());
        let full = count >= self.limits.subscriptions || self.topics.bytes() >= self.limits.subscribed_bytes;
        if full || pattern.is_meta() || pattern.is_service() {
            return false;
        }
        if self.place_of(key, pattern).is_none() {
            self.add_subscription(key, pattern);
        }
        true
    }

    fn unsubscribe_named(&mut self, session: SessionId, name: &str) -> bool {
        let Some(key) = self.named(session) else { return false };
        let Ok(pattern) = Pattern::parse(name) else { return false };
        if let Some(place) = self.place_of(key, pattern) {
            self.drop_subscription(key, place);
        }
        self.read_no_more(key, pattern);
        true
    }

    fn write_on(&mut self, session: SessionId, name: &str, value: Option<&str>) -> bool {
        let Some(mut seen) = self.named(session).and_then(|key| self.see(key, Origin::default())) else { return false };
        let written = match value {
            Some(value) => seen.view().attributes.set(name, value).is_ok(),
            None => seen.view().attributes.remove(name).is_some(),
        };
        self.unsee(seen);
        written
    }

    /// The session of this name, if it lives.
    pub(super) fn named(&self, session: SessionId) -> Option<SessionKey> {
        SessionKey::from_bits(session.to_bits()).filter(|key| self.sessions.get(*key).is_some())
    }
}

/// Whether an extension is asked: about whom nothing is known, always.
fn serves(extension: &dyn Extension, session: Option<&Session<'_>>) -> bool {
    session.is_none_or(|session| extension.serves(session))
}
