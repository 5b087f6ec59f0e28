//! A hook that waits for its own server.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use encke::hooks::{Context, Hooks, Listener, Published, Session};
use encke::server::{Running, Server};

struct Joins(Arc<Mutex<Option<Running>>>, mpsc::Sender<String>);

impl Listener for Joins {
    fn message(&mut self, _: Published<'_>, _: Option<&mut Session<'_>>, _: &mut Context<'_>) {
        let Some(running) = self.0.lock().unwrap().take() else { return };
        let sender = self.1.clone();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.join()));
        sender.send(format!("{result:?}")).unwrap();
    }
}

#[test]
fn joining_from_a_hook_is_an_error_not_a_panic_nor_a_deadlock() {
    let (place, (sender, receiver)) = (Arc::default(), mpsc::channel());
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    let hooks = Hooks::default().listener(Joins(Arc::clone(&place), sender));
    let running = Server::builder().listen([any]).hooks(hooks).spawn().unwrap();
    let handle = running.handle();
    *place.lock().unwrap() = Some(running);
    handle.publish("/a", "1").unwrap();
    let said = receiver.recv_timeout(Duration::from_secs(20)).expect("no deadlock");
    handle.stop().unwrap();
    assert!(said.starts_with("Ok(Err("), "{said}");
}
