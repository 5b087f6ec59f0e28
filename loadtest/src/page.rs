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
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
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
<p><b>Latency</b> runs from the time at which a message was meant to be sent to its arrival at a client, one value for
each delivery: a server that is late does not slow the publisher down unnoticed. <b>CPU per delivery</b> is the CPU time
of the server’s process while messages were published, kernel included, divided by the deliveries. <b>Floor</b> is a
server that only sends bytes made beforehand: the least that one thread can spend on the same traffic. <b>Memory per
client</b> is the growth of the process’s resident memory while the clients were parked; what the kernel holds for
sockets comes on top.</p>
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
            let (sign, rest) = value.strip_prefix(ALARM).map_or(("", value.as_str()), |rest| (ALARM, rest));
            let (number, unit) = rest.split_once(' ').unwrap_or((rest, ""));
            let _ = writeln!(
                html,
                "<div class=\"card\"><dt>{}</dt><dd{}><b>{sign}{}</b> {}</dd><dd class=\"note\">{}</dd></div>",
                Esc(name),
                alarm(&value),
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
            let _ = write!(html, "<div><dt>{}</dt><dd{}>{}</dd></div>", Esc(name), alarm(&value), Esc(&value));
        }
        html.push_str("</dl></article>\n");
    }
    html + "</div>\n"
}

/// The class of a value that should not be.
fn alarm(value: &str) -> &'static str {
    if value.starts_with(ALARM) { " class=\"alarm\"" } else { "" }
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
            "CPU × floor" => format!("the floor’s is {}", figures::micros(figures::floor_us(run, &[])?)),
            "p99.9 × floor" => format!("the floor’s is {}", figures::micros(run.floor?.cost.latency_us?.p99_9)),
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
            let _ = write!(html, "<td{}>{}</td>", alarm(&value), Esc(&value));
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
        html.push_str("<pre><code>encke-loadtest");
        for word in &run.command {
            // In a box of its own it is not broken at its hyphens.
            let _ = write!(html, " <span>{}</span>", Esc(&quoted(word)));
        }
        html.push_str("</code></pre>\n");
    }
    if html.is_empty() { "<p>The command was not recorded.</p>\n".into() } else { html }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@%+[]".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Delivery, Idle, Latency, Machine, Sample, Server};

    /// A run in which every figure is there, and every text is `text`.
    fn run(name: &str, text: &str) -> Report {
        let sample = |at: u64| Sample {
            at_s: at as f64 / 40.0,
            phase: text.into(),
            parked: 10,
            published: at,
            delivered: at * 10,
            rss_kib: Some(3000 + at),
            cpu_s: Some(at as f64 / 100.0),
        };
        let server = Server { cpu_user_s: 1.0, cpu_system_s: 3.0, cpu_us_per_delivery: Some(8.4), ..Server::default() };
        let machine = Machine { system: text.into(), processor: text.into(), cores: 2, memory_kib: 1 << 20 };
        Report {
            name: name.into(),
            version: text.into(),
            scenario: text.into(),
            transport: text.into(),
            url: text.into(),
            clients: 10,
            complaints: vec![text.into()],
            delivery: Some(Delivery { lost: 3, expected: 4000, delivered: 3997, ..Delivery::default() }),
            latency_us: Some(Latency { p50: 100.0, p90: 200.0, p99: 300.0, p99_9: 400.0, max: 20_000.0 }),
            latency_curve: vec![(0.0, 50.0), (0.5, 100.0), (0.9, 200.0), (1.0, 20_000.0)],
            idle: Some(Idle { seconds: 8.0, polls_ended: 0 }),
            server: Some(server),
            first_fault: Some(text.into()),
            began: "2026-11-21T06:40:12.000Z".into(),
            command: vec![text.into()],
            machine: Some(machine),
            series: (0..400).map(sample).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn the_page_has_every_run_in_every_panel() {
        let names: Vec<String> = (0..11).map(|index| format!("run-{index}-")).collect();
        let runs: Vec<Report> = names.iter().map(|name| run(name, "text")).collect();
        let page = render(&runs);
        let panels: Vec<&str> = page.split("<figure").skip(1).collect();
        assert_eq!(panels.len(), 7, "latency, throughput, memory, CPU, and the bars of three");
        for name in &names {
            assert!(panels.iter().all(|panel| panel.contains(name.as_str())), "{name}");
            assert!(page.contains(&format!("<h2>{name}</h2>")), "{name}");
        }
        // Colours begin again after the last, dashed.
        assert!(page.contains("class=\"line c2 dashed\"") && !page.contains("line c8"));
        assert!(render(&runs[..1]).contains("of 4,000 expected"));
    }

    #[test]
    fn no_text_becomes_markup() {
        let text = "</script><script>alert(1)</script>\"' onload=x &amp;\u{0}\n";
        for runs in [vec![run(text, text)], vec![run(text, text), run("other", text)]] {
            let page = render(&runs);
            assert_eq!(page.matches("<script").count(), 1);
            assert!(!page.contains("alert(1)</script>") && !page.contains('\u{0}'));
            assert!(
                page.contains("&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39; onload=x &amp;amp;")
            );
            // No attribute is left early: each ends where a space, a slash or the tag's end follows.
            let script = page.find("<script").unwrap();
            for tag in page[page.find("<body").unwrap()..script].split('<').skip(1) {
                let tag = &tag[..tag.find('>').expect("a tag has an end")];
                assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
                assert!(!tag.contains("onload=x &amp;amp;") || tag.contains("data-hover"), "{tag}");
            }
        }
    }

    #[test]
    fn nothing_is_loaded_from_anywhere() {
        let page = render(&[run("a", "b"), run("c", "d")]);
        for reference in ["src=", "@import", "url(", "http:", "https:", "//cdn"] {
            let found = page.replace("http://www.w3.org/2000/svg", "").matches(reference).count();
            assert_eq!(found, 0, "{reference}");
        }
        assert_eq!(page.matches("href=").count(), page.matches("href=\"data:,\"").count());
    }

    #[test]
    fn drawings_are_named_and_have_tables() {
        let page = render(&[run("a", "b"), run("c", "d")]);
        let drawings = page.matches("<svg").count();
        assert_eq!((page.matches("<title id=").count(), page.matches("<desc id=").count()), (drawings, drawings));
        let mut ids: Vec<&str> = page.split(" id=\"").skip(1).map(|rest| &rest[..rest.find('"').unwrap()]).collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "no two of one id");
        assert_eq!(page.matches("As a table").count(), page.matches("<figure").count());
    }

    #[test]
    fn figures_beyond_reason_draw_something_finite() {
        let mut mad = run("mad", "x");
        mad.latency_curve = vec![(0.5, 1e308), (7.0, 1.0), (-1.0, 5.0), (1.0, 1e308)];
        for (index, sample) in mad.series.iter_mut().enumerate() {
            (sample.at_s, sample.rss_kib) = (if index % 4 == 0 { -3.0 } else { sample.at_s * 1e300 }, Some(u64::MAX));
        }
        let page = render(&[mad, Report::default()]);
        assert!(!page.contains("-100 %") && !page.contains("at -3"));
        assert!(!page.contains("NaN") && !page.contains("inf\"") && page.len() < 400_000, "{}", page.len());
    }

    #[test]
    fn a_shell_takes_the_words_back() {
        let words = ["--url", "http://h/x?a=1&b", "it's", ""].map(quoted);
        assert_eq!(words, ["--url", "'http://h/x?a=1&b'", r"'it'\''s'", "''"]);
    }
}
