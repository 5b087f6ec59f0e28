//! A world of the simulator: the input makes its choices, one after another, until it is used up.
//!
//! Which scenario is played, what clients do, what the network does to them and when the server begins anew. All that the
//! simulator demands must hold, and the world must leave no memory behind.

use encke::sim;

use super::meter;

/// Plays an input.
pub(crate) fn run(data: &[u8]) {
    let before = meter::held();
    sim::script(data);
    assert_eq!(meter::held() - before, 0, "bytes that a world has left behind");
}
