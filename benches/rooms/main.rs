//! What the rooms below the sockets cost, through their public interfaces: `cargo bench --bench rooms [NAME]`.
//!
//! Each number is for one thing: one request head, one body, one match, one timer, one event framed, one delivery. None of
//! it touches a socket; the cost of those is what `encke-loadtest fanout` adds. How these costs grow with the number of
//! sessions shows `cargo bench --bench million`.

mod delivery;
mod encoding;
mod reading;
mod tables;
#[path = "../world/mod.rs"]
mod world;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    reading::head(&mut criterion);
    reading::decode(&mut criterion);
    tables::topics(&mut criterion);
    tables::wheel(&mut criterion);
    encoding::json(&mut criterion);
    encoding::wires(&mut criterion);
    encoding::responses(&mut criterion);
    delivery::outboxes(&mut criterion);
    delivery::fan_out(&mut criterion);
    criterion.final_summary();
}
