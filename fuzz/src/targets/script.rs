//! A world of the simulator: the input makes its choices, one after another, until it is used up.
//!
//! Which scenario is played, what clients do, what the network does to them and when the server begins anew. All that the
//! simulator demands must hold, and the world must leave no memory behind.

use encke::sim;

use super::meter;

/// Plays an input.
pub(crate) fn run(data: &[u8]) {
    // What is made once for all worlds, when it is first needed, is none of the second one's.
    if left_behind(data) != 0 {
        assert_eq!(left_behind(data), 0, "bytes that a world has left behind");
    }
}

fn left_behind(data: &[u8]) -> isize {
    let before = meter::held();
    sim::script(data);
    meter::held() - before
}
