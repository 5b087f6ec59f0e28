//! What is taken and what is refused, as tables of bytes with verdicts that a person can read and extend.
//!
//! Owns how the tables are run: each case whole, cut in two at every byte, byte by byte, and between other requests. The
//! verdict never varies. The tables stand beside, and which of their cases (by the beginning of their names) show what:
//!
//! | defence | cases |
//! |---|---|
//! | Content-Length with Transfer-Encoding | `framing`: `cl-te`, `te-cl` |
//! | duplicate or list lengths | `framing`: `cl-twice`, `cl-list` |
//! | any Transfer-Encoding but exactly `chunked`, or on HTTP/1.0 | `framing`: `te-` |
//! | bare CR or LF, obs-fold, NUL, a space before a colon | `heads`: `line-`, `field-`, `name-`, `end-` |
//! | Host missing, duplicate, invalid | `targets`: `host-`, `absolute-` |
//! | controls or non-ASCII in the target | `targets`: `path-` |
//! | chunk sizes, extensions, sums, trailers | `framing`: `size-`, `ext-`, `chunks-`, `data-`, `last-`, `trailer` |
//! | nothing is parsed after an error | every `close`, before a good request |
//! | line, head, fields, body at N−1, N, N+1 | `heads`: the last ones; `framing`: `body-`, `chunks-of`; `limits_` |
//! | pipelining in order | `heads`: `pipelined-`; every case between other requests |
//! | Content-Encoding | `requests`: `coding-` |
//! | WebSocket: its handshake | `requests`: `upgrade` |
//! | WebSocket: masks, reserved bits, lengths, UTF-8, sizes | `frames`, `deflated` |
//! | cross-origin requests, scripts and frames | `requests`: `origin-`, `referer-`, `cross-site-` |
//! | JSON: depth, duplicate fields, surrogates, numbers | `bayeux`: `depth-`, `twice-`, `surrogate-`, `number-` |
//! | batches at N−1, N, N+1 | `bayeux`: `batch-` |
//! | channel grammar, wildcards, meta and service channels | `bayeux`: `to-`, `sub-`; `channels` |
//! | a client id with another cookie | `theft` |

mod bayeux;
mod channels;
mod frames;
mod http;
mod table;
mod theft;
