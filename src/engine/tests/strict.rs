//! What is taken and what is refused, as tables of bytes with verdicts that a person can read and extend.
//!
//! Owns how the tables are run: each case whole, cut in two at every byte, byte by byte, and between other requests. The
//! verdict never varies. The tables stand beside: `strict/*.txt`.

mod bayeux;
mod channels;
mod frames;
mod http;
mod table;
mod theft;
