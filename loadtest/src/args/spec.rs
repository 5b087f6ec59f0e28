//! Owns which commands and options there are, and the help that says so.

use super::Command;
use std::fmt::Write as _;

/// One option: name, what its value stands for, if it has one, and help; hidden without help.
pub(super) struct Opt(pub(super) &'static str, pub(super) &'static str, pub(super) &'static str);

/// One command: name, what it does, and its options.
pub(super) struct Spec {
    pub(super) name: &'static str,
    what: &'static str,
    /// What words it takes besides; empty: none.
    pub(super) words: &'static str,
    options: &'static [&'static [Opt]],
}

const SERVER: &[Opt] = &[
    Opt("url", "URL", "the endpoint, such as http://127.0.0.1:8080/cometd (required)"),
    Opt("clients", "N", "clients, each with a session and a connection (required; rooms: 1000)"),
    Opt("channel", "/CH", "the channel that all subscribe to, or how the names of several begin [/load]"),
    Opt("ca", "FILE", "https, wss: trust the certificates in this file (PEM), in place of the system's"),
    Opt("insecure", "", "https, wss: take any certificate; for measuring only"),
    Opt("deflate", "", "offer compression on each WebSocket"),
    Opt("ack", "", "acknowledge events, by CometD's extension"),
    Opt("pid", "PID", "the server's process: adds its memory and CPU (Linux, same machine)"),
    Opt("json", "FILE", "write the figures there too"),
    Opt("report", "FILE.html", "write them there as a page with curves"),
    Opt("quiet", "", "show no progress"),
    Opt("source-addrs", "A,B-C", "connect from these addresses in turn, for more than one range of ports"),
    Opt("ramp", "C", "clients on their way to being parked at once [256]"),
    Opt("timeout", "S", "seconds that the whole run may take [300]"),
];
const TRANSPORT: &[Opt] = &[Opt(
    "transport",
    "T",
    "how they reach the server: long-polling, websocket, streaming or eventsource [long-polling]",
)];
const FOREIGN: &[Opt] = &[
    Opt("protocol", "P", "what the server speaks: bayeux or nchan, whose paths end in the channel's name [bayeux]"),
    Opt("publish-url", "URL", "with nchan: where messages are published (required)"),
];
const FLOORED: &[Opt] = &[
    Opt("no-floor", "", "with --pid: do not run the same against `floor` afterwards"),
    Opt("floor-json", "FILE", "with --pid: take the figures of an earlier run against `floor` from there"),
];
const SHARDED: &[Opt] = &[
    Opt("shard", "I/N", "be the I-th of N processes that share a run; each has its own --clients, the first publishes"),
    Opt("run", "ID", "what these processes call their run (required with --shard)"),
];
const PUBLISHING: &[Opt] = &[
    Opt("messages", "M", "messages to publish [100; rooms: 1000]"),
    Opt("rate", "R", "messages a second; 0 publishes the next when all have the last [0; storm, slow: 50]"),
    Opt("burst", "N", "messages in one request, all to one channel [1; rooms: 10]"),
    Opt("size", "BYTES", "bytes of each message's data, at least what its numbers take (about 45) [100; rooms: 50]"),
    Opt("drain", "S", "seconds without a delivery after which what is missing is lost [10]"),
];

pub(super) const COMMANDS: [&Spec; 10] = [
    &Spec {
        name: "fanout",
        what: "Parks N clients, publishes M messages to all of them and counts every delivery.",
        words: "",
        options: &[SERVER, TRANSPORT, PUBLISHING, FOREIGN, SHARDED, FLOORED],
    },
    &Spec {
        name: "rooms",
        what: "The shape of CometD's own benchmark: many rooms, some of them each client's, bursts to one at a time.",
        words: "",
        options: &[
            SERVER,
            TRANSPORT,
            PUBLISHING,
            &[
                Opt("rooms", "N", "rooms [100]"),
                Opt("rooms-per-client", "N", "rooms that each client subscribes to, the same in every run [10]"),
            ],
            SHARDED,
            FLOORED,
        ],
    },
    &Spec {
        name: "idle",
        what: "Parks N clients and watches the server for S seconds in which nothing is published. Needs --pid.",
        words: "",
        options: &[
            SERVER,
            TRANSPORT,
            &[Opt(
                "seconds",
                "S",
                "how long to watch; shorter than the server's poll timeout shows the state without any event (required)",
            )],
            FOREIGN,
            FLOORED,
        ],
    },
    &Spec {
        name: "storm",
        what: "Half-way through all connections drop at once; all clients come back to their sessions. Publishing goes on.",
        words: "",
        options: &[SERVER, TRANSPORT, PUBLISHING, &[Opt("away", "S", "seconds until they come back [0]")]],
    },
    &Spec {
        name: "slow",
        what: "Some of the clients read slowly, or not at all. The others must not feel it.",
        words: "",
        options: &[
            SERVER,
            TRANSPORT,
            PUBLISHING,
            &[
                Opt("slow-share", "P", "percent of the clients that are slow [10]"),
                Opt("slow-rate", "BYTES", "bytes that each of them reads in a second; 0 is none [0]"),
            ],
        ],
    },
    &Spec {
        name: "mixed",
        what: "Several transports, several channels, and clients that publish over their own transport.",
        words: "",
        options: &[
            SERVER,
            PUBLISHING,
            &[
                Opt("transport", "A,B", "how they reach the server, in turn [all transports]"),
                Opt("channels", "N", "channels, of which each client has half [8]"),
                Opt("speakers", "N", "clients that publish, in turn with the publisher [8]"),
            ],
            FLOORED,
        ],
    },
    &Spec {
        name: "floor",
        what: "Serves what a run asks for with bytes made beforehand: the least that a server on one thread can spend on it.",
        words: "",
        options: &[&[Opt("listen", "ADDR", "where to listen [127.0.0.1:0]"), Opt("drop-every", "K", "")]],
    },
    &Spec {
        name: "merge",
        what: "Joins the figures that the shards of a run wrote with --json into those of the whole.",
        words: "FILE…",
        options: &[&[Opt("json", "FILE", "write the joined figures there too")]],
    },
    &Spec {
        name: "report",
        what: "Shows runs written by --json side by side; without an option, as a table on the screen.",
        words: "[NAME=]FILE…",
        options: &[&[
            Opt("html", "FILE", "write a page with curves there"),
            Opt("markdown", "FILE", "write a table for a README there"),
        ]],
    },
    &Spec {
        name: "doctor",
        what: "Checks whether this machine can hold N clients, at both ends, and says how to mend what is short.",
        words: "",
        options: &[&[
            Opt("clients", "N", "how many [10000]"),
            Opt("source-addrs", "A,B-C", "the addresses that they will connect from, if there are several"),
        ]],
    },
];

impl Spec {
    pub(super) fn options(&self) -> impl Iterator<Item = &Opt> {
        self.options.iter().copied().flatten()
    }

    pub(super) fn shown(&self) -> String {
        let names = self.options().filter(|Opt(_, _, help)| !help.is_empty()).map(|Opt(name, ..)| format!("--{name}"));
        names.chain(["--help".into()]).collect::<Vec<_>>().join(", ")
    }

    /// The help that belongs to it.
    pub(super) fn help(&self) -> Command {
        let Self { name, what, words, .. } = self;
        let words = [words, " "].concat();
        let mut text = format!("{what}\n\nUsage: encke-loadtest {name} {}[options]\n\nOptions:\n", words.trim_start());
        for Opt(name, value, help) in self.options().filter(|Opt(_, _, help)| !help.is_empty()) {
            let shown = format!("--{name} {value}");
            let _ = writeln!(text, "  {:<22}{help}", shown.trim_end());
        }
        Command::Print(text + "  --help                print this\n\n" + EXIT_CODES)
    }
}

const EXIT_CODES: &str = "Exit code: 0 if all is as expected, 1 if anything is not, 2 if the command line is wrong.\n";

pub(super) fn help() -> String {
    let mut text = format!("{}\n\nUsage: encke-loadtest COMMAND [options]\n\nCommands:\n", version());
    for Spec { name, what, .. } in COMMANDS {
        let _ = writeln!(text, "  {name:<9}{what}");
    }
    for (option, what) in [
        ("COMMAND --help", "print the options of a command"),
        ("--help", "print this"),
        ("--version", "print the version"),
    ] {
        let _ = write!(text, "\n  {option:<17}{what}");
    }
    text + "\n\n" + EXIT_CODES
}

pub(super) fn version() -> String {
    format!("encke-loadtest {}: load generator for Bayeux servers", env!("CARGO_PKG_VERSION"))
}
