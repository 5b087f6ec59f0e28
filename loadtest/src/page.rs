//! Owns the page that shows one run or several side by side: one file, no request to anywhere, readable without script.
//!
//! `panels` prepares what is drawn, `chart` draws it; the style and the script are the files next to them.

mod chart;
mod panels;

use crate::figures::{self, ALARM, COUNTS, DETAILS, Figure, HEADLINES};
use crate::report::Report;
use std::fmt::{self, Display, Write as _};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/hover.js");
/// Nothing is loaded from anywhere, whatever a figure may say.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    base-uri 'none'; form-action 'none'";

/// Text that is no markup, in an element and in an attribute.
pub(crate) struct Esc<'a>(pub(crate) &'a str);

impl Display for Esc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                letter if letter.is_control() => f.write_str(" "),
                letter => f.write_char(letter),
            }?;
        }
        Ok(())
    }
}

/// The page of these runs.
pub(crate) fn render(runs: &[Report]) -> String {
    let title = match runs {
        [run] => format!("{}: {} clients", figures::title(run), figures::count(run.clients)),
        _ => format!("{} runs side by side", runs.len()),
    };
    let panels = panels::all(runs);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         {header}{cards}<div class=\"panels\">\n{panels}</div>\n{counts}{details}{how}{terms}</main>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        title = Esc(&title),
        header = header(runs, &title),
        cards = cards(runs),
        counts = section("Counts", &table(runs, COUNTS)),
        details = section("All other figures", &folded("Show", &table(runs, DETAILS))),
        how = section("How it was run", &commands(runs)),
        terms = TERMS,
    )
}

const TERMS: &str = "<footer>
<p><b>Latency</b> runs from the time at which a message was meant to be sent to its arrival at a client, one value for each
delivery: a server that is late does not slow the publisher down unnoticed. <b>CPU per delivery</b> is the CPU time of the
server’s process while messages were published, kernel included, divided by the deliveries. <b>Floor</b> is a server that
only sends bytes made beforehand: the least that one thread can spend on the same traffic. <b>Memory per client</b> is the
growth of the process’s resident memory while the clients were parked; what the kernel holds for sockets comes on top.</p>
<p>Made by encke-loadtest.</p>
</footer>
";

fn section(title: &str, body: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{body}</section>\n")
}

fn folded(summary: &str, body: &str) -> String {
    format!("<details><summary>{summary}</summary>\n{body}</details>\n")
}

fn header(runs: &[Report], title: &str) -> String {
    let mut facts: Vec<String> = Vec::new();
    let mut add = |fact: String| {
        if !fact.is_empty() && !facts.contains(&fact) {
            facts.push(fact);
        }
    };
    for run in runs {
        add(run.began.get(..10).unwrap_or_default().to_owned());
    }
    for machine in runs.iter().filter_map(|run| run.machine.as_ref()) {
        add(machine.processor.clone());
        let memory = figures::bytes(machine.memory_kib as f64 * 1024.0);
        add(format!("{} cores, {memory}, {}", machine.cores, machine.system));
    }
    let facts: Vec<String> = facts.iter().map(|fact| format!("<span>{}</span>", Esc(fact))).collect();
    let verdict = if let [run] = runs { verdict(run) } else { String::new() };
    let kind = "<p class=\"kind\">Bayeux load test</p>";
    format!("<header>{kind}<h1>{}</h1><p class=\"facts\">{}</p>{verdict}</header>\n", Esc(title), facts.join(" "))
}

fn verdict(run: &Report) -> String {
    if run.ok {
        return "<p class=\"verdict good\">✓ all as expected</p>".into();
    }
    let complaints: Vec<String> = run.complaints.iter().map(|text| format!("<li>{}</li>", Esc(text))).collect();
    format!("<div class=\"verdict bad\">✗ not as expected<ul>{}</ul></div>", complaints.join(""))
}

/// The first figures: of one run a card each, of several a card for each run.
fn cards(runs: &[Report]) -> String {
    let figures = |run: &Report| -> Vec<(&str, String)> {
        HEADLINES.iter().filter_map(|figure| Some((figure.name, (figure.of)(run, runs)?))).collect()
    };
    let mut html = String::new();
    if let [run] = runs {
        html.push_str("<dl class=\"cards\">\n");
        for (name, value) in figures(run) {
            let (number, unit) = value.split_once(' ').unwrap_or((&value, ""));
            let _ = writeln!(
                html,
                "<div class=\"card\"><dt>{}</dt><dd><b>{}</b> {}</dd><dd class=\"note\">{}</dd></div>",
                Esc(name),
                Esc(number),
                Esc(unit),
                Esc(&note(run, name))
            );
        }
        return html + "</dl>\n";
    }
    html.push_str("<div class=\"cards runs\">\n");
    for (index, run) in runs.iter().enumerate() {
        let about = format!("{}, {}, {} clients", run.scenario, run.transport, figures::count(run.clients));
        let _ = write!(
            html,
            "<article class=\"card {}\"><h2>{}</h2><p class=\"note\">{}</p>{}<dl>",
            chart::class(index),
            Esc(&figures::title(run)),
            Esc(&about),
            verdict(run)
        );
        for (name, value) in figures(run) {
            let _ = write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", Esc(name), Esc(&value));
        }
        html.push_str("</dl></article>\n");
    }
    html + "</div>\n"
}

/// What stands under a figure, to show what it is made of.
fn note(run: &Report, figure: &str) -> String {
    let note = || {
        Some(match figure {
            "deliveries/s" => {
                let delivery = run.delivery?;
                format!("{} in {}", figures::count(delivery.delivered), figures::seconds(delivery.seconds))
            }
            "latency p50" => "half are faster".into(),
            "latency p99" => "1 of 100 is slower".into(),
            "latency p99.9" => "1 of 1,000 is slower".into(),
            "latency max" => "the slowest of all".into(),
            "CPU/delivery" => {
                let server = run.server?;
                let (user, system) = (figures::seconds(server.cpu_user_s), figures::seconds(server.cpu_system_s));
                format!("own code {user}, kernel {system}")
            }
            "memory/client" => {
                let server = run.server?;
                let kib = |kib: u64| figures::bytes(kib as f64 * 1024.0);
                format!("{} → {}", kib(server.rss_before_kib), kib(server.rss_parked_kib))
            }
            "CPU while idle" => format!("{} clients parked", figures::count(run.clients)),
            "lost" => format!("of {} expected", figures::count(run.delivery?.expected)),
            _ => return None,
        })
    };
    note().unwrap_or_default()
}

/// Figures in rows, runs in columns.
fn table(runs: &[Report], figures: &[Figure]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table>\n");
    if runs.len() > 1 {
        html.push_str("<thead><tr><td></td>");
        for (index, run) in runs.iter().enumerate() {
            let name = figures::title(run);
            let _ = write!(html, "<th scope=\"col\" class=\"run {}\">{}</th>", chart::class(index), Esc(&name));
        }
        html.push_str("</tr></thead>\n");
    }
    html.push_str("<tbody>\n");
    for figure in figures {
        let values: Vec<Option<String>> =
            runs.iter().map(|run| (figure.of)(run, runs).filter(|value| !value.is_empty())).collect();
        if values.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(html, "<tr><th scope=\"row\">{}</th>", Esc(figure.name));
        for value in values {
            let value = value.unwrap_or_else(|| "–".into());
            let class = if value.starts_with(ALARM) { " class=\"alarm\"" } else { "" };
            let _ = write!(html, "<td{class}>{}</td>", Esc(&value));
        }
        html.push_str("</tr>\n");
    }
    html + "</tbody>\n</table></div>\n"
}

/// The command of each run, to be run again.
fn commands(runs: &[Report]) -> String {
    let mut html = String::new();
    for (index, run) in runs.iter().enumerate().filter(|(_, run)| !run.command.is_empty()) {
        if runs.len() > 1 {
            let _ = write!(html, "<h3 class=\"run {}\">{}</h3>", chart::class(index), Esc(&figures::title(run)));
        }
        let words: Vec<String> = run.command.iter().map(|word| quoted(word)).collect();
        let _ = writeln!(html, "<pre><code>encke-loadtest {}</code></pre>", Esc(&words.join(" ")));
    }
    if html.is_empty() { "<p>The command was not recorded.</p>\n".into() } else { html }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+[]".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
