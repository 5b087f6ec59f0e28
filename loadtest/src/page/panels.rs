//! Owns the panels of the page: which curves and bars there are, made from the figures of the runs, each with its table
//! for those who cannot see it.

use super::chart::{self, Axis, Bar, Line, Lines, Point};
use super::{Esc, figures, folded};
use crate::report::{Report, Sample};
use std::fmt::Write as _;

/// Points of a curve over time.
const POINTS_MAX: usize = 60;
/// The least time over which deliveries are counted for a point.
const RATE_SPAN_S: f64 = 0.05;
/// The same for CPU, which the system counts in ticks of 10 ms.
const CPU_SPAN_S: f64 = 0.5;
/// Lines of a table of a curve over time.
const ROWS_MAX: usize = 12;
/// From this ratio of the slowest deliveries on, a logarithmic axis is shown first.
const FAR_APART: f64 = 8.0;
const MIB: f64 = 1024.0 * 1024.0;

/// Those panels for which any run has figures. Two stand in a row; if that left one over, the throughput has its own.
pub(super) fn all(runs: &[Report]) -> String {
    let halves = [memory(runs), cpu_over_time(runs), cpu_bars(runs), memory_bars(runs), idle_bars(runs)];
    let halves: Vec<String> = halves.into_iter().flatten().collect();
    let whole_row = halves.len().is_multiple_of(2);
    [latency(runs), throughput(runs, whole_row)].into_iter().flatten().chain(halves).collect()
}

/// What frames a drawing: its title, a line on how to read it, its class, and its table.
struct Panel<'a> {
    title: &'a str,
    about: &'a str,
    class: &'a str,
    table: String,
}

impl Panel<'_> {
    fn around(&self, drawing: &str, legend: &str) -> String {
        let Self { title, about, class, table } = self;
        format!(
            "<figure class=\"panel {class}\"><figcaption><h2>{title}</h2><p>{about}</p></figcaption>{legend}\
             <div class=\"plot\">{drawing}</div>{}</figure>\n",
            folded("As a table", table)
        )
    }
}

/// The names of the runs with their colours; one run needs none.
fn legend(runs: &[Report]) -> String {
    if runs.len() < 2 {
        return String::new();
    }
    let mut html = String::from("<ul class=\"legend\">");
    for (index, run) in runs.iter().enumerate() {
        let _ = write!(html, "<li class=\"run {}\">{}</li>", chart::class(index), Esc(&figures::title(run)));
    }
    html + "</ul>"
}

/// A table with these heads of columns, and rows of cells.
fn grid(heads: &[String], rows: &[Vec<String>]) -> String {
    let mut html = String::from("<div class=\"scroll\"><table><thead><tr>");
    for head in heads {
        let _ = write!(html, "<th scope=\"col\">{}</th>", Esc(head));
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let _ = match column {
                0 => write!(html, "<th scope=\"row\">{}</th>", Esc(cell)),
                _ => write!(html, "<td>{}</td>", Esc(cell)),
            };
        }
        html.push_str("</tr>");
    }
    html + "</tbody></table></div>\n"
}

/// The quantiles and microseconds of a run, in order; of an old report at least its percentiles.
fn curve(run: &Report) -> Vec<(f64, f64)> {
    let mut curve = run.latency_curve.clone();
    if let (true, Some(latency)) = (curve.is_empty(), run.latency_us) {
        curve = vec![(0.5, latency.p50), (0.9, latency.p90), (0.99, latency.p99), (0.999, latency.p99_9)];
        curve.push((1.0, latency.max));
    }
    curve.retain(|(quantile, us)| (0.0..=1.0).contains(quantile) && *us >= 0.0);
    curve.sort_by(|one, other| one.0.total_cmp(&other.0));
    curve
}

/// Where quantiles lie on an axis of 1/(1-quantile) in powers of ten. The last, 1, is put behind the others.
fn nines(curve: &[(f64, f64)]) -> Vec<f64> {
    let mut last: f64 = 0.0;
    let place = |(quantile, _): &(f64, f64)| {
        last = if *quantile < 1.0 { -(1.0 - quantile).log10() } else { last + 0.1 };
        last
    };
    curve.iter().map(place).collect()
}

/// Such as `99.9 %`: as many places as make a difference there.
fn percentile(quantile: f64) -> String {
    if quantile >= 1.0 {
        return "the slowest".into();
    }
    // 0.99 lies a hair above 2 on this scale.
    let places = (-(1.0 - quantile).log10() - 1e-6).ceil().max(1.0) as usize - 1;
    let text = format!("{:.places$}", quantile * 100.0);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

fn latency(runs: &[Report]) -> Option<String> {
    let line = |(colour, run): (usize, &Report)| {
        let curve = curve(run);
        let points = nines(&curve).into_iter().zip(&curve);
        let points =
            points.map(|(x, (quantile, us))| Point { x, y: *us, says: [percentile(*quantile), figures::micros(*us)] });
        Line { name: figures::title(run), colour, points: points.collect() }
    };
    let lines: Vec<Line> = runs.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect();
    let far = highest(&lines, |point| point.x)?;
    let slowest = highest(&lines, |point| point.y)?;
    let ticks = [0.0, 0.5].into_iter().chain((1..16).map(|nines| 1.0 - 10f64.powi(-nines)));
    let ticks = ticks.map(|quantile| (-(1.0 - quantile).log10(), percentile(quantile)));
    let x = Axis {
        label: "percentile of deliveries".into(),
        low: 0.0,
        high: far.max(1.0),
        ticks: ticks.filter(|(x, _)| *x <= far.max(1.0)).collect(),
        logarithmic: false,
    };
    let (unit, unit_name) = match slowest {
        us if us >= 2e6 => (1e6, "s"),
        us if us >= 2e3 => (1e3, "ms"),
        _ => (1.0, "µs"),
    };
    let about = format!("Latency by percentile, the slowest delivery at {}.", figures::micros(slowest));
    let fastest = lines.iter().flat_map(|line| &line.points).map(|point| point.y).fold(f64::MAX, f64::min);
    let slowest_of = |line: &Line| line.points.iter().map(|point| point.y).fold(0.0, f64::max);
    let apart = slowest / lines.iter().map(slowest_of).fold(f64::MAX, f64::min).max(1e-3);
    let drawing = |id, y| {
        let title = "Latency by percentile".to_owned();
        let (lines, x, about) = (lines.clone(), x.clone(), about.clone());
        Lines { id, title, about, x, y, lines, bands: Vec::new(), whole_row: true }.draw()
    };
    let linear = drawing("latency", Axis::linear(format!("latency, {unit_name}"), slowest, unit));
    let decades = Axis::decades("latency".into(), (fastest, slowest), figures::micros);
    let logarithmic = drawing("latency-log", decades);
    let checked = |yes: bool| if yes { " checked" } else { "" };
    let switch = format!(
        "<fieldset class=\"switch\"><legend>latency axis</legend>\
         <input type=\"radio\" name=\"latency\" id=\"linear\"{}><label for=\"linear\">linear</label>\
         <input type=\"radio\" name=\"latency\" id=\"log\"{}><label for=\"log\">logarithmic</label></fieldset>\
         <div class=\"if-linear\">{linear}</div><div class=\"if-log\">{logarithmic}</div>",
        checked(apart < FAR_APART),
        checked(apart >= FAR_APART)
    );
    let panel = Panel {
        title: "Latency",
        about: "Of all deliveries, how many were at least as fast. To the right are the slow ones: each step of the \
                axis is a tenth of those before.",
        class: "whole",
        table: latency_table(runs),
    };
    Some(panel.around(&switch, &legend(runs)))
}

fn latency_table(runs: &[Report]) -> String {
    let runs: Vec<(String, Vec<(f64, f64)>)> =
        runs.iter().map(|run| (figures::title(run), curve(run))).filter(|(_, curve)| !curve.is_empty()).collect();
    let heads: Vec<String> =
        ["percentile".to_owned()].into_iter().chain(runs.iter().map(|(name, _)| name.clone())).collect();
    let row = |quantile: f64| {
        let at = |curve: &[(f64, f64)]| {
            // The first point that is as far; the curve is dense.
            let (_, us) = curve.iter().find(|(at, _)| *at >= quantile - 1e-9)?;
            Some(figures::micros(*us))
        };
        let values = runs.iter().map(|(_, curve)| at(curve).unwrap_or_else(|| "–".into()));
        [percentile(quantile)].into_iter().chain(values).collect()
    };
    let rows: Vec<Vec<String>> = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1.0].into_iter().map(row).collect();
    grid(&heads, &rows)
}

fn highest(lines: &[Line], of: fn(&Point) -> f64) -> Option<f64> {
    lines.iter().flat_map(|line| &line.points).map(of).filter(|value| value.is_finite()).max_by(f64::total_cmp)
}

/// The samples of a run, as far as their times go up.
fn moments(run: &Report) -> Vec<&Sample> {
    let mut last = -1.0;
    let forward = |sample: &&Sample| {
        let forward = sample.at_s.is_finite() && sample.at_s > last;
        last = if forward { sample.at_s } else { last };
        forward
    };
    run.series.iter().filter(forward).collect()
}

/// How fast a figure grows between moments: the middle of each span of `span_s` or longer, and the growth in a second.
fn growth(moments: &[(f64, f64)], span_s: f64) -> Vec<(f64, f64)> {
    let (Some(first), Some(last)) = (moments.first(), moments.last()) else { return Vec::new() };
    let span = span_s.max((last.0 - first.0) / POINTS_MAX as f64);
    let (mut since, mut points) = (*first, Vec::new());
    for (at, value) in &moments[1..] {
        // Half a sample early is as good as half a sample late.
        if at - since.0 >= span * 0.999 {
            points.push(((at + since.0) / 2.0, (value - since.1).max(0.0) / (at - since.0)));
            since = (*at, *value);
        }
    }
    points
}

/// The deliveries of the time of publishing, from its start.
fn deliveries(run: &Report) -> Vec<(f64, f64)> {
    let moments = moments(run);
    let all = moments.last().map_or(0, |sample| sample.delivered);
    let start = moments.iter().rposition(|sample| sample.published + sample.delivered == 0).unwrap_or(0);
    let end = moments.iter().position(|sample| sample.delivered >= all && all > 0).unwrap_or(0);
    if end <= start {
        return Vec::new();
    }
    let since = moments[start].at_s;
    moments[start..=end].iter().map(|sample| (sample.at_s - since, sample.delivered as f64)).collect()
}

/// What a run did over time: the number of its colour, its name, and a value for each time.
type Course = (usize, String, Vec<(f64, f64)>);

/// Lines over time, one a run. `says` is what a value is called.
fn over_time(points: Vec<Course>, says: fn(f64) -> String) -> Option<(Vec<Line>, Axis)> {
    let line = |(colour, name, points): Course| {
        let point = |(x, y)| Point { x, y, says: [format!("at {}", figures::seconds(x)), says(y)] };
        Line { name, colour, points: points.into_iter().map(point).collect() }
    };
    let lines: Vec<Line> = points.into_iter().filter(|(.., points)| points.len() > 1).map(line).collect();
    let last = highest(&lines, |point| point.x)?;
    let (unit, name) = if last >= 600.0 { (60.0, "time, min") } else { (1.0, "time, s") };
    let mut x = Axis::linear(name.into(), last, unit);
    x.high = last.max(f64::MIN_POSITIVE);
    x.ticks.retain(|(value, _)| *value <= last);
    Some((lines, x))
}

fn per_run(runs: &[Report], of: impl Fn(&Report) -> Vec<(f64, f64)>) -> Vec<Course> {
    runs.iter().enumerate().map(|(index, run)| (index, figures::title(run), of(run))).collect()
}

/// A few rows of each line over time.
fn time_table(lines: &[Line]) -> String {
    let heads = ["run", "time", "value"].map(str::to_owned);
    let mut rows = Vec::new();
    for line in lines {
        let step = line.points.len().div_ceil(ROWS_MAX).max(1);
        let says = |point: &Point| vec![line.name.clone(), point.says[0].clone(), point.says[1].clone()];
        rows.extend(line.points.iter().step_by(step).map(says));
    }
    grid(&heads, &rows)
}

fn throughput(runs: &[Report], whole_row: bool) -> Option<String> {
    let of = |run: &Report| {
        // A span holds whole messages, or a steady pace would look like a saw.
        let rate = run.delivery.map_or(0.0, |delivery| delivery.rate);
        let span = if rate > 0.0 { (RATE_SPAN_S * rate).ceil().max(2.0) / rate } else { RATE_SPAN_S };
        growth(&deliveries(run), span)
    };
    let (lines, x) = over_time(per_run(runs, of), |rate| format!("{}/s", figures::count(rate as u64)))?;
    let y = Axis::linear("deliveries/s".into(), highest(&lines, |point| point.y)?, 1.0);
    let panel = Panel {
        title: "Throughput",
        about: "Deliveries in a second, since the first message was published.",
        class: if whole_row { "whole" } else { "" },
        table: time_table(&lines),
    };
    let title = "Deliveries in a second over time".to_owned();
    let about = format!("Up to {} deliveries a second.", figures::count(highest(&lines, |point| point.y)? as u64));
    let drawing = Lines { id: "throughput", title, about, x, y, lines, bands: Vec::new(), whole_row };
    Some(panel.around(&drawing.draw(), &legend(runs)))
}

fn memory(runs: &[Report]) -> Option<String> {
    let of = |run: &Report| {
        let moments = moments(run);
        let step = moments.len().div_ceil(POINTS_MAX * 2).max(1);
        let rss = |sample: &&Sample| Some((sample.at_s, sample.rss_kib? as f64 * 1024.0));
        moments.iter().step_by(step).filter_map(rss).collect()
    };
    let (lines, x) = over_time(per_run(runs, of), figures::bytes)?;
    let y = Axis::linear("resident memory, MiB".into(), highest(&lines, |point| point.y)?, MIB);
    let panel = Panel {
        title: "Memory over time",
        about: "Resident memory of the server’s process, from the first handshake on.",
        class: "",
        table: time_table(&lines),
    };
    let title = "Resident memory of the server over time".to_owned();
    let about = format!("Up to {}.", figures::bytes(highest(&lines, |point| point.y)?));
    let bands = if let [run] = runs { phases(run, x.high) } else { Vec::new() };
    let drawing = Lines { id: "memory", title, about, x, y, lines, bands, whole_row: false };
    Some(panel.around(&drawing.draw(), &legend(runs)))
}

/// Every other phase of a run as a band, beginning with the second.
fn phases(run: &Report, until: f64) -> Vec<(f64, f64, String)> {
    let mut spans: Vec<(f64, String)> = Vec::new();
    for sample in moments(run) {
        if spans.last().is_none_or(|(_, phase)| *phase != sample.phase) {
            spans.push((sample.at_s, sample.phase.clone()));
        }
    }
    let ends: Vec<f64> = spans.iter().skip(1).map(|(from, _)| *from).chain([until]).collect();
    let bands = spans.into_iter().zip(ends).map(|((from, phase), end)| (from, end, phase));
    bands.filter(|(.., phase)| matches!(phase.as_str(), "parking" | "publishing" | "watching")).collect()
}

fn cpu_over_time(runs: &[Report]) -> Option<String> {
    let of = |run: &Report| {
        let cpu = |sample: &&Sample| Some((sample.at_s, sample.cpu_s? * 100.0));
        let points = growth(&moments(run).iter().filter_map(cpu).collect::<Vec<_>>(), CPU_SPAN_S);
        // Fewer are not a curve.
        if points.len() < 5 { Vec::new() } else { points }
    };
    let (lines, x) = over_time(per_run(runs, of), |share| format!("{} % of a core", figures::digits(share)))?;
    let y = Axis::linear("% of a core".into(), highest(&lines, |point| point.y)?, 1.0);
    let panel = Panel {
        title: "CPU over time",
        about: "CPU time of the server’s process in a second, kernel included.",
        class: "",
        table: time_table(&lines),
    };
    let title = "CPU of the server over time".to_owned();
    let about = format!("Up to {:.1} % of a core.", highest(&lines, |point| point.y)?);
    let bands = if let [run] = runs { phases(run, x.high) } else { Vec::new() };
    let drawing = Lines { id: "cpu", title, about, x, y, lines, bands, whole_row: false };
    Some(panel.around(&drawing.draw(), &legend(runs)))
}

/// A panel of bars, one for each run that has one. A single bar of one piece is no more than its figure: none then.
fn bars(
    runs: &[Report],
    id: &'static str,
    [title, about]: [&str; 2],
    of: impl Fn(&Report) -> Option<Bar>,
) -> Option<String> {
    let bar = |(colour, run): (usize, &Report)| Some(Bar { colour, name: figures::title(run), ..of(run)? });
    let bars: Vec<Bar> = runs.iter().enumerate().filter_map(bar).collect();
    if bars.is_empty() || (bars.len() == 1 && bars[0].parts.len() == 1) {
        return None;
    }
    let rows: Vec<Vec<String>> = bars.iter().map(|bar| vec![bar.name.clone(), bar.says.clone()]).collect();
    let table = grid(&["run", "value"].map(str::to_owned), &rows);
    Some(Panel { title, about, class: "", table }.around(&chart::bars(id, [title, about], &bars), ""))
}

fn bar(parts: Vec<f64>, says: String, mark: Option<f64>) -> Option<Bar> {
    Some(Bar { name: String::new(), colour: 0, parts, says, mark })
}

fn cpu_bars(runs: &[Report]) -> Option<String> {
    let about = "CPU time of the server’s process. Solid: its own code; light: the kernel. The line across a bar is \
                 the floor, where it was measured.";
    bars(runs, "cpu-bars", ["CPU per delivery", about], |run| {
        let (each, server) = (figures::cpu_per_delivery(run)?, run.server?);
        let all = server.cpu_user_s + server.cpu_system_s;
        let own = if all > 0.0 { server.cpu_user_s / all } else { 0.0 };
        let ratio = figures::floor_ratio(run, runs).map_or_else(String::new, |ratio| format!(" · {ratio:.2} × floor"));
        let says = format!("{}{ratio}", figures::micros(each));
        let floor = figures::floor_us(run, runs).filter(|_| !figures::is_floor(run));
        bar(vec![each * own, each * (1.0 - own)], says, floor)
    })
}

fn memory_bars(runs: &[Report]) -> Option<String> {
    let about = "Growth of the server’s resident memory for each client that was parked. What the kernel holds for the \
                 sockets is not in it.";
    bars(runs, "memory-bars", ["Memory per client", about], |run| {
        let each = run.server?.rss_bytes_per_client;
        bar(vec![each.max(0.0)], figures::bytes(each), None)
    })
}

fn idle_bars(runs: &[Report]) -> Option<String> {
    let about = "CPU time of the server’s process in a second while all clients waited and nothing was published.";
    bars(runs, "idle-bars", ["CPU while idle", about], |run| {
        let share = figures::idle_cpu(run)? * 100.0;
        bar(vec![share], format!("{share:.2} % of a core"), None)
    })
}
