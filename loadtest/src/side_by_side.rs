//! Owns the `report` command: runs that were written as JSON before, read again and shown side by side, as a page or as
//! a table in Markdown.

use crate::args::Reports;
use crate::figures::{self, Figure, HEADLINES};
use crate::page;
use crate::report::Report;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

/// Does it; the error is a line for the user.
pub(crate) fn execute(args: &Reports) -> Result<(), String> {
    let runs = read(&args.files, |path| fs::read_to_string(path).map_err(|error| error.to_string()))?;
    let write = |path: &Path, text: String| {
        fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    if let Some(path) = &args.html {
        write(path, page::render(&runs))?;
    }
    if let Some(path) = &args.markdown {
        write(path, markdown(&runs))?;
    }
    if args.html.is_none() && args.markdown.is_none() {
        let mut out = std::io::stdout().lock();
        out.write_all(markdown(&runs).as_bytes()).map_err(|error| format!("cannot print: {error}"))?;
    }
    Ok(())
}

/// The runs of these files, each with a name that no other has.
fn read<P: AsRef<Path>>(
    files: &[(Option<String>, P)],
    text: impl Fn(&Path) -> Result<String, String>,
) -> Result<Vec<Report>, String> {
    let mut taken = BTreeSet::new();
    let mut runs = Vec::new();
    for (name, path) in files {
        let path = path.as_ref();
        let mut run = text(path)
            .and_then(|text| Report::from_json(&text))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        run.name = name.clone().or_else(stem).unwrap_or_default();
        if !taken.insert(run.name.clone()) {
            // Files of one name from several directories are told apart by those.
            run.name = if name.is_none() { path.display().to_string() } else { run.name };
            if name.is_some() || !taken.insert(run.name.clone()) {
                return Err(format!("two runs are called {:?}: give names, as in NAME={}", run.name, path.display()));
            }
        }
        runs.push(run);
    }
    Ok(runs)
}

/// A table in Markdown: a line for each run, a column for each figure that any of them has.
pub(crate) fn markdown(runs: &[Report]) -> String {
    let columns: Vec<&Figure> =
        HEADLINES.iter().filter(|figure| runs.iter().any(|run| (figure.of)(run, runs).is_some())).collect();
    let mut lines = vec![["run", "clients", "transport"].map(str::to_owned).to_vec()];
    lines[0].extend(columns.iter().map(|figure| figure.name.to_owned()));
    lines[0].push("as expected".into());
    for run in runs {
        let mut line = vec![figures::title(run), figures::count(run.clients), run.transport.clone()];
        line.extend(columns.iter().map(|figure| (figure.of)(run, runs).unwrap_or_else(|| "–".into())));
        line.push(if run.ok { "yes".into() } else { format!("NO: {}", run.complaints.join("; ")) });
        lines.push(line);
    }
    let lines: Vec<Vec<String>> = lines.iter().map(|line| line.iter().map(|cell| plain(cell)).collect()).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    // Numbers stand at the right: all but the name, the transport and the verdict.
    let right = |column: usize| column != 0 && column != 2 && column + 1 != widths.len();
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        for (column, cell) in line.iter().enumerate() {
            let width = widths[column];
            let _ = if right(column) { write!(text, "| {cell:>width$} ") } else { write!(text, "| {cell:<width$} ") };
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let _ = write!(text, "|{}{}", "-".repeat(width + 1), if right(column) { ":" } else { "-" });
            }
            text.push_str("|\n");
        }
    }
    text
}

/// Without what would be markup: a name is a name.
fn plain(cell: &str) -> String {
    cell.chars().fold(String::new(), |mut text, letter| {
        match letter {
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '~' => text.extend(['\\', letter]),
            letter if letter.is_control() => text.push(' '),
            letter => text.push(letter),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Delivery, Latency};

    fn runs() -> Vec<Report> {
        let run = |name: &str, lost| {
            let delivery = Delivery { messages: 5, published: 5, acknowledged: 5, lost, ..Delivery::default() };
            let latency_us = Some(Latency { p50: 1500.0, ..Latency::default() });
            let (scenario, transport) = ("fanout".into(), "long-polling".into());
            let delivery = Some(delivery);
            Report {
                name: name.into(),
                scenario,
                transport,
                clients: 12_000,
                delivery,
                latency_us,
                ..Report::default()
            }
            .judge()
        };
        vec![run("ours", 0), run("other|`x`\n<b>", 7)]
    }

    #[test]
    fn a_table_has_every_run_and_no_column_without_figures() {
        let text = markdown(&runs());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[0].contains("| latency p50 |") && !text.contains("CPU"), "{text}");
        assert!(lines[1].chars().all(|letter| "|-:".contains(letter)), "{text}");
        assert!(lines[2].contains("| ours") && lines[2].contains("12,000 |") && lines[2].contains("1.50 ms"), "{text}");
        assert!(lines[3].contains(r"other\|\`x\` \<b\>") && lines[3].contains("NO: 7 deliveries were lost"), "{text}");
        let columns = |line: &str| line.replace(r"\|", "").matches('|').count();
        assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{text}");
    }

    #[test]
    fn names_come_from_files_and_are_unlike() {
        let json = runs()[0].to_json().unwrap();
        let text = |_: &Path| Ok(json.clone());
        let named = |words: &[(Option<&str>, &'static str)]| {
            let files: Vec<_> = words.iter().map(|(name, path)| (name.map(str::to_owned), *path)).collect();
            read(&files, text).map(|runs| runs.into_iter().map(|run| run.name).collect::<Vec<_>>())
        };
        assert_eq!(named(&[(None, "a/x.json"), (Some("n"), "y.json")]).unwrap(), ["x", "n"]);
        assert_eq!(named(&[(None, "a/x.json"), (None, "b/x.json")]).unwrap(), ["x", "b/x.json"]);
        assert!(named(&[(Some("n"), "a"), (Some("n"), "b")]).unwrap_err().contains("two runs are called \"n\""));
        assert!(named(&[(None, "a"), (None, "a"), (None, "a")]).unwrap_err().contains("two runs"));
    }

    #[test]
    fn what_is_no_report_is_told() {
        for (text, expected) in
            [("{}", "it names no \"scenario\""), ("[", "not a report: EOF"), (r#"{"clients":"x"}"#, "invalid type")]
        {
            let error = read(&[(None, "f.json")], |_| Ok(text.into())).unwrap_err();
            assert!(error.starts_with("f.json: not a report") && error.contains(expected), "{error}");
        }
    }
}
