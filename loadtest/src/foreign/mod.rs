//! Owns the protocols of servers that do not speak Bayeux, so that they can be measured with the same counts.

pub(crate) mod nchan;
