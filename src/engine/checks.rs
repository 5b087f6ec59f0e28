//! What the engine's sums must agree with, counted again; for the simulator.

use super::Engine;

impl Engine {
    /// Bytes that connections keep of what has come and is not complete.
    pub(crate) fn input_weight(&self) -> usize {
        self.conns.iter().map(|(_, conn)| conn.input_weight()).sum()
    }

    /// Bytes that wait on connections, of each as far as they are more than so many.
    pub(crate) fn unsent_beyond(&self, each: usize) -> usize {
        self.conns.iter().map(|(_, conn)| conn.pending_weight().saturating_sub(each)).sum()
    }
}
