//! The figures as a table and as curves, for people; as JSON and as SVG, for files.

use std::fmt::Write as _;

use crate::measure::{Order, Row};

/// What must hold at this size.
const BOUND_SESSIONS: usize = 1_000_000;
const BOUND_BYTES: f64 = 600.0;
const BOUND_PUBLISH_NS: f64 = 300.0;
const BOUND_CYCLE_NS: f64 = 1_500.0;
/// Characters of the longest bar.
const BAR: f64 = 60.0;

/// A figure of which there is a curve.
struct Curve {
    name: &'static str,
    bound: f64,
    of: fn(&Row) -> f64,
}

const CURVES: [Curve; 3] = [
    Curve { name: "publish, ns per recipient", bound: BOUND_PUBLISH_NS, of: |row| row.publish_ns },
    Curve { name: "poll cycle, ns per recipient", bound: BOUND_CYCLE_NS, of: |row| row.cycle_ns },
    Curve { name: "bytes per session, all in all", bound: BOUND_BYTES, of: |row| row.all_bytes },
];

fn name(order: Order) -> &'static str {
    match order {
        Order::Joined => "in the order in which they came",
        Order::Random => "in random order",
    }
}

/// A number with a comma after each thousand.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The head of a table.
pub(crate) fn head(order: Order) {
    println!("\nclients {}", name(order));
    println!(
        "           |    bytes per session    |    publish, ns    |       poll cycle, ns        |         | alloca-"
    );
    println!(
        "  sessions |  conn. session      all | queue frame   all | connect frame written   all | timeout | tions"
    );
}

/// One size.
pub(crate) fn line(row: &Row) {
    let Row { connection_bytes, session_bytes, all_bytes, queue_ns, frame_ns, written_ns, .. } = row;
    let Row { connect_ns, publish_ns, cycle_ns, timeout_ns, allocations, .. } = row;
    println!(
        "{:>10} | {connection_bytes:6.0} {session_bytes:7.0} {all_bytes:8.0} | {queue_ns:5.0} {frame_ns:5.0} {publish_ns:5.0} | \
         {connect_ns:7.0} {frame_ns:5.0} {written_ns:7.0} {cycle_ns:5.0} | {timeout_ns:7.0} | {allocations:.2}",
        grouped(row.sessions)
    );
}

/// A bar for each size and order.
pub(crate) fn curves(rows: &[Row]) {
    for Curve { name: title, bound, of } in CURVES {
        let most = rows.iter().map(of).fold(bound, f64::max);
        println!("\n{title}; bound {bound} at {}", grouped(BOUND_SESSIONS));
        for row in rows {
            let figure = of(row);
            let bar = "█".repeat((figure / most * BAR).round() as usize);
            let judged = row.sessions == BOUND_SESSIONS;
            let verdict = if !judged {
                ""
            } else if figure <= bound {
                " met"
            } else {
                " missed"
            };
            let order = if row.order == Order::Joined { "" } else { "random " };
            println!("{order:>7}{:>10} {bar} {figure:.0}{verdict}", grouped(row.sessions));
        }
    }
}

/// Every figure.
pub(crate) fn json(rows: &[Row]) -> String {
    let rows: Vec<_> = rows.iter().map(row_json).collect();
    let bounds = serde_json::json!({
        "sessions": BOUND_SESSIONS,
        "bytes": BOUND_BYTES,
        "publish_ns": BOUND_PUBLISH_NS,
        "cycle_ns": BOUND_CYCLE_NS,
    });
    format!("{:#}\n", serde_json::json!({ "bench": "million", "bounds": bounds, "rows": rows }))
}

fn row_json(row: &Row) -> serde_json::Value {
    serde_json::json!({
        "order": if row.order == Order::Joined { "joined" } else { "random" },
        "sessions": row.sessions,
        "rounds": row.rounds,
        "connection_bytes": row.connection_bytes,
        "session_bytes": row.session_bytes,
        "all_bytes": row.all_bytes,
        "queue_ns": row.queue_ns,
        "frame_ns": row.frame_ns,
        "written_ns": row.written_ns,
        "connect_ns": row.connect_ns,
        "publish_ns": row.publish_ns,
        "cycle_ns": row.cycle_ns,
        "timeout_ns": row.timeout_ns,
        "allocations": row.allocations,
    })
}

/// The curves, one below the other: sessions to the right, on a logarithmic scale.
pub(crate) fn svg(rows: &[Row]) -> String {
    let height = CURVES.len() * 240;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"640\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (at, curve) in CURVES.iter().enumerate() {
        let _ = writeln!(svg, "<g transform=\"translate(0 {})\">", at * 240);
        panel(&mut svg, curve, rows);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

/// One figure, over a plane of 480 by 160 whose lower left corner is at 80, 200.
fn panel(svg: &mut String, Curve { name: title, bound, of }: &Curve, rows: &[Row]) {
    let most = rows.iter().map(of).fold(*bound, f64::max) * 1.1;
    let sizes = || rows.iter().map(|row| row.sessions as f64);
    let (least, largest) = (sizes().fold(f64::MAX, f64::min).ln(), sizes().fold(0.0, f64::max).ln());
    let x =
        |sessions: usize| 80.0 + 480.0 * ((sessions as f64).ln() - least) / (largest - least).max(f64::MIN_POSITIVE);
    let y = |figure: f64| 200.0 - 160.0 * figure / most;
    // Writing to a String cannot fail.
    let _ = writeln!(svg, "<text x=\"80\" y=\"24\" font-weight=\"bold\">{title}</text>");
    let _ = writeln!(svg, "<path d=\"M80 40V200H560\" fill=\"none\" stroke=\"#888\"/>");
    let _ = writeln!(svg, "<path d=\"M80 {0:.1}H560\" stroke=\"#c33\" stroke-dasharray=\"6 4\"/>", y(*bound));
    let _ =
        writeln!(svg, "<text x=\"72\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#c33\">{bound}</text>", y(*bound) + 4.0);
    for (order, colour) in [(Order::Joined, "#06c"), (Order::Random, "#e80")] {
        let own: Vec<&Row> = rows.iter().filter(|row| row.order == order).collect();
        let points: Vec<String> = own.iter().map(|row| format!("{:.1},{:.1}", x(row.sessions), y(of(row)))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
        for row in own {
            let (x, y, figure, sessions) = (x(row.sessions), y(of(row)), of(row), grouped(row.sessions));
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            let above = y - 8.0;
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{above:.1}\" text-anchor=\"middle\" fill=\"{colour}\">{figure:.0}</text>"
            );
            let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"216\" text-anchor=\"middle\">{sessions}</text>");
        }
        let (at, words) =
            if order == Order::Joined { (330, "clients in the order of coming") } else { (520, "random order") };
        let _ = writeln!(svg, "<text x=\"{at}\" y=\"24\" fill=\"{colour}\">{words}</text>");
    }
}
