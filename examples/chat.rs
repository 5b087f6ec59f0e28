//! A chat server: a policy that asks for names, presence, lists of members, and a page to see it with.
//!
//! ```text
//! $ cargo run --example chat
//! open http://127.0.0.1:40123/
//! ```
//!
//! Open that in two tabs, with two names. Close one: after ten seconds, in which a client may come back, the other one hears
//! that who was there has left.
//!
//! | channel | carries |
//! |---|---|
//! | `/chat/<room>` | what is said: `{"from":"Ann","text":"hello"}`. Who subscribes has joined; only they may publish |
//! | `/members/<room>` | `{"joined":"Bob"}`, `{"left":"Bob"}`; to who has just joined, `{"members":["Ann","Bob"]}` |
//! | `/service/members` | asked with the name of a room, answered with the same list |
//!
//! A client says its name in the handshake, `"ext":{"name":"Ann"}`, and finds there what it is called: `Ann-2`, if there is
//! an Ann already. Another place to listen on than a free port is its argument: `chat 0.0.0.0:8080`.

use std::collections::BTreeSet;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use encke::hooks::{
    Admission, Command, Context, Extension, Filtered, Hooks, Listener, Method, Now, OutgoingReply, Query, Removal,
    Request, SecurityPolicy, Session, Verdict, WebRequest, WebResponse,
};
use encke::server::Server;
use serde_json::{Value, json};

const PAGE: &str = include_str!("chat.html");
/// The longest name, letters.
const NAME: usize = 20;

fn main() -> ExitCode {
    let at = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let Ok(at) = at.parse::<SocketAddr>() else {
        eprintln!("{at:?}: must be an address and a port, such as 127.0.0.1:8080");
        return ExitCode::FAILURE;
    };
    match serve(at) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(at: SocketAddr) -> Result<(), Box<dyn Error>> {
    // The policy and the listener both want to know who is there. All hooks run on the server's thread, one after the other:
    // nobody ever waits for this lock.
    let names = Names::default();
    let page = |request: &WebRequest<'_>, _: &mut Context<'_>| {
        let shown = request.path() == "/" && matches!(request.method(), Method::Get | Method::Head);
        shown.then(|| WebResponse::new("text/html;charset=UTF-8", PAGE))
    };
    let hooks = Hooks::default()
        .policy(Door { names: names.clone() })
        .listener(Presence { names })
        .extension(NameTag)
        .filter("/chat/*", sign)?
        .service("/service/members", members)?
        .fallback(page);
    let server = Server::builder().listen([at]).hooks(hooks).build()?;
    for at in server.addresses() {
        println!("open http://{at}/");
    }
    Ok(server.run()?)
}

/// The names of all who are there.
type Names = Arc<Mutex<BTreeSet<String>>>;

/// Decides who may do what. What it writes on a session, here the name, other hooks find there.
struct Door {
    names: Names,
}

impl SecurityPolicy for Door {
    fn can_handshake(&mut self, query: &Query<'_>, admission: &mut Admission) -> Verdict {
        let name = query.message().ext_text("name").unwrap_or_default();
        if !(1..=NAME).contains(&name.chars().count()) || !name.chars().all(char::is_alphanumeric) {
            return Verdict::deny(format!("say who you are in ext.name, with up to {NAME} letters and digits"));
        }
        let names = self.names.lock().unwrap();
        let others = (2..).map(|n| format!("{name}-{n}"));
        let free = [name.to_string()].into_iter().chain(others).find(|name| !names.contains(name));
        match free.map(|name| admission.attributes.set("name", &name)) {
            Some(Ok(())) => Verdict::Allow,
            _ => Verdict::deny("there is no room for your name"),
        }
    }

    fn can_subscribe(&mut self, _: &Query<'_>, _: &mut Session<'_>, channel: &str) -> Verdict {
        let room = channel.strip_prefix("/chat/").or_else(|| channel.strip_prefix("/members/"));
        match room {
            Some(room) if !room.contains(['/', '*']) => Verdict::Allow,
            _ => Verdict::deny("there are /chat/<room> and /members/<room>"),
        }
    }

    fn can_publish(&mut self, _: &Query<'_>, session: Option<&mut Session<'_>>, channel: &str) -> Verdict {
        // `Presence` writes the rooms of a session on it.
        let joined = session.is_some_and(|session| session.attribute(channel).is_some());
        if joined || channel == "/service/members" { Verdict::Allow } else { Verdict::deny("join the room first") }
    }
}

/// Tells who comes and goes. That of a session which has expired is told as well: its subscriptions end with it.
struct Presence {
    names: Names,
}

impl Listener for Presence {
    fn session_added(&mut self, session: &mut Session<'_>, _: &mut Context<'_>) {
        self.names.lock().unwrap().insert(name_of(session));
    }

    fn session_removed(&mut self, session: &mut Session<'_>, _: Removal, _: &mut Context<'_>) {
        self.names.lock().unwrap().remove(&name_of(session));
    }

    fn subscribed(&mut self, session: &mut Session<'_>, channel: &str, context: &mut Context<'_>) {
        let Some(room) = channel.strip_prefix("/chat/") else { return };
        let name = name_of(session);
        // Members stand on the channel, which is there as long as there are any. There is room for some thousands.
        let members = context.channel_attributes(channel);
        let fits = members.is_some_and(|members| members.set(&name, "").is_ok());
        let told = if fits && session.attributes.set(channel, "").is_ok() {
            let list = json!({ "members": members_of(channel, context) }).to_string();
            let members = format!("/members/{room}");
            // Commands are run when the hook has returned, in this order.
            let published = context.publish(&members, &json!({ "joined": name }).to_string());
            published.and_then(|()| context.deliver(session.id(), &members, &list))
        } else {
            context.run(Command::Unsubscribe(session.id(), channel.to_owned()))
        };
        told.unwrap_or_else(|full| eprintln!("{name} in {channel}: {full}"));
    }

    fn unsubscribed(&mut self, session: &mut Session<'_>, channel: &str, context: &mut Context<'_>) {
        let Some(room) = channel.strip_prefix("/chat/") else { return };
        let name = name_of(session);
        session.attributes.remove(channel);
        if context.channel_attributes(channel).and_then(|members| members.remove(&name)).is_some() {
            let told = context.publish(&format!("/members/{room}"), &json!({ "left": name }).to_string());
            told.unwrap_or_else(|full| eprintln!("{name} in {channel}: {full}"));
        }
    }
}

/// Tells a client what it is called, in the `ext` of the reply to its handshake.
struct NameTag;

impl Extension for NameTag {
    fn reply(&mut self, reply: &mut OutgoingReply<'_>, session: Option<&mut Session<'_>>, _: &mut Context<'_>) {
        if let ("/meta/handshake", Some(session)) = (reply.channel(), session) {
            reply.set_ext("name", json!(name_of(session)).to_string()).expect("a string is JSON");
        }
    }
}

/// Writes on what is said who says it, whatever the client claims. What is no text goes to nobody.
fn sign(_: &str, data: &str, session: Option<&mut Session<'_>>, _: Now) -> Filtered {
    let text = serde_json::from_str::<Value>(data).ok().and_then(|data| Some(data.get("text")?.as_str()?.to_owned()));
    match (text, session) {
        (Some(text), Some(session)) => Filtered::Replace(json!({ "from": name_of(session), "text": text }).to_string()),
        _ => Filtered::Drop,
    }
}

/// Answers who asks, and nobody else.
fn members(request: Request<'_>, _: &mut Session<'_>, context: &mut Context<'_>) {
    let room = serde_json::from_str::<String>(request.data()).unwrap_or_default();
    let list = json!({ "room": room, "members": members_of(&format!("/chat/{room}"), context) });
    request.reply(context, &list.to_string()).unwrap_or_else(|full| eprintln!("a list of members: {full}"));
}

fn members_of(channel: &str, context: &mut Context<'_>) -> Vec<String> {
    let members = context.channel_attributes(channel);
    members.map(|members| members.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default()
}

fn name_of(session: &Session<'_>) -> String {
    session.attribute("name").unwrap_or_default().to_owned()
}
