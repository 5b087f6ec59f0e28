//! Owns the drawings of the page: lines over an axis and horizontal bars, as SVG.
//!
//! Each is drawn twice, wide and narrow, so that its letters are of one size on a desk and on a phone; the style sheet
//! shows one of them. Colours are classes (`c0`, `c1` …), which the style sheet defines for light and for dark.

use super::Esc;
use serde_json::json;
use std::fmt::Write as _;

/// Colours there are; further lines begin again, dashed.
pub(super) const COLOURS: usize = 8;
/// What a letter of a label takes, in units of the drawing; labels that would touch are left out by it.
const LETTER: f64 = 6.6;
/// The same of a name, which is bold.
const NAME_LETTER: f64 = 7.7;
/// Letters of a name next to a line; longer ones are cut.
const NAME_LETTERS: usize = 20;
/// Between the names of two lines.
const NAME_GAP: f64 = 16.0;
/// From one bar to the next.
const BAR_STEP: f64 = 46.0;

/// One axis: what it is called, what it reaches from and to, and what is written along it.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<(f64, String)>,
    pub(super) logarithmic: bool,
}

impl Axis {
    /// From zero to a little more than `high`, with ticks at round numbers, each divided by `unit`.
    pub(super) fn linear(label: String, high: f64, unit: f64) -> Self {
        let high = if high.is_finite() && high > 0.0 { high / unit } else { 1.0 };
        let step = round_step(high / 6.0);
        let count = (high / step).ceil();
        let places = if step >= 1.0 { 0 } else { (-step.log10()).ceil() as usize };
        let text = |value: f64| {
            if places == 0 { super::figures::count(value as u64) } else { format!("{value:.places$}") }
        };
        let ticks =
            (0..=count as u32).map(|at| f64::from(at) * step).map(|value| (value * unit, text(value))).collect();
        Self { label, low: 0.0, high: count * step * unit, ticks, logarithmic: false }
    }

    /// From the power of ten below `low` to the one above `high`, a tick at each.
    pub(super) fn decades(label: String, (low, high): (f64, f64), text: fn(f64) -> String) -> Self {
        // Between a nanosecond and some thousand years, if these are microseconds: whatever the figures say.
        let (low, high) = (low.clamp(1e-3, 1e17), high.clamp(1e-3, 1e17));
        let first = low.log10().floor() as i32;
        let last = (high.log10().ceil() as i32).max(first + 1);
        // All are powers of ten: what stands behind the point is nothing.
        let whole = |value: f64| text(value).replace(".00 ", " ").replace(".0 ", " ");
        let ticks = (first..=last).map(|power| 10f64.powi(power)).map(|value| (value, whole(value))).collect();
        Self { label, low: 10f64.powi(first), high: 10f64.powi(last), ticks, logarithmic: true }
    }

    /// Where a value lies, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.logarithmic { value.max(self.low).log10() } else { value };
        let (low, high) = (scale(self.low), scale(self.high));
        ((scale(value) - low) / (high - low)).clamp(0.0, 1.0)
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is not below.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].map(|factor| factor * power).into_iter().find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

/// A point of a line: where it is, and what is said of it.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) says: [String; 2],
}

/// A line with its name and the number of its colour.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) points: Vec<Point>,
}

/// Lines in one frame.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    /// No other drawing of the page has it.
    pub(super) id: &'static str,
    pub(super) title: String,
    pub(super) about: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Spans of the x axis that are told apart, with their names.
    pub(super) bands: Vec<(f64, f64, String)>,
    /// Whether it stands alone in its row.
    pub(super) whole_row: bool,
}

/// The frame of a drawing of lines.
struct Frame {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Frame {
    fn x(&self, axis: &Axis, value: f64) -> f64 {
        self.left + axis.place(value) * (self.right - self.left)
    }

    fn y(&self, axis: &Axis, value: f64) -> f64 {
        self.bottom - axis.place(value) * (self.bottom - self.top)
    }
}

impl Lines {
    /// Both drawings.
    pub(super) fn draw(&self) -> String {
        let named = self.lines.len() > 1;
        let letters = self.lines.iter().map(|line| short(&line.name).chars().count()).max().unwrap_or(0);
        let margin = if named { letters as f64 * NAME_LETTER + 18.0 } else { 22.0 };
        let (width, height) = if self.whole_row { (1072.0, 380.0) } else { (524.0, 300.0) };
        let ticks = self.y.ticks.iter().map(|(_, text)| text.chars().count()).max().unwrap_or(0);
        let left = ticks as f64 * LETTER + 14.0;
        let wide =
            Frame { class: "wide", width, height, left, right: width - margin, top: 30.0, bottom: height - 46.0 };
        let narrow =
            Frame { class: "narrow", width: 358.0, height: 290.0, left, right: 344.0, top: 30.0, bottom: 244.0 };
        self.draw_in(&wide, named) + &self.draw_in(&narrow, false)
    }

    fn draw_in(&self, frame: &Frame, named: bool) -> String {
        let id = format!("{}-{}", self.id, frame.class);
        let mut svg = open(&id, frame, [&self.title, &self.about], &self.hover(frame));
        for (from, until, name) in &self.bands {
            let (from, until) = (frame.x(&self.x, *from), frame.x(&self.x, *until));
            let (top, width, height) = (frame.top, until - from, frame.bottom - frame.top);
            let _ = write!(svg, r#"<rect class="band" x="{from:.1}" y="{top}" width="{width:.1}" height="{height}"/>"#);
            if width > name.chars().count() as f64 * LETTER + 8.0 {
                let _ = write!(
                    svg,
                    r#"<text class="faint" x="{:.1}" y="{:.1}">{}</text>"#,
                    from + 5.0,
                    top + 14.0,
                    Esc(name)
                );
            }
        }
        self.axes(&mut svg, frame);
        for line in &self.lines {
            let (class, path) = (class(line.colour), path(line, &self.x, &self.y, frame));
            let _ = write!(svg, r#"<path class="line {class}" d="{path}"/>"#);
            if let Some(end) = line.points.last() {
                let (x, y) = (frame.x(&self.x, end.x), frame.y(&self.y, end.y));
                let _ = write!(svg, r#"<circle class="dot {class}" cx="{x:.1}" cy="{y:.1}" r="3.5"/>"#);
            }
        }
        if named {
            self.names(&mut svg, frame);
        }
        svg + "</svg>"
    }

    fn axes(&self, svg: &mut String, frame: &Frame) {
        let Frame { left, right, top, bottom, width, height, .. } = frame;
        for (value, text) in &self.y.ticks {
            let y = frame.y(&self.y, *value);
            let _ = write!(svg, r#"<line class="grid" x1="{left}" x2="{right}" y1="{y:.1}" y2="{y:.1}"/>"#);
            label(svg, "tick", End::Right, (left - 8.0, y + 4.0), text);
        }
        let mut free = f64::MIN;
        for (value, text) in &self.x.ticks {
            let (x, half) = (frame.x(&self.x, *value), text.chars().count() as f64 * LETTER / 2.0);
            let _ = write!(svg, r#"<line class="grid" x1="{x:.1}" x2="{x:.1}" y1="{top}" y2="{bottom}"/>"#);
            // At the edge it moves inwards.
            let middle = x.min(width - half);
            if middle - half < free {
                continue;
            }
            free = middle + half + LETTER;
            label(svg, "tick", End::Middle, (middle, bottom + 18.0), text);
        }
        label(svg, "axis", End::Left, (0.0, 14.0), &self.y.label);
        label(svg, "axis", End::Right, (*right, height - 8.0), &self.x.label);
    }

    /// The names of the lines at the right, where each line ends or as close as they fit.
    fn names(&self, svg: &mut String, frame: &Frame) {
        let mut ends: Vec<(&Line, f64, f64)> = self
            .lines
            .iter()
            .filter_map(|line| line.points.last().map(|end| (line, end)))
            .map(|(line, end)| (line, frame.x(&self.x, end.x), frame.y(&self.y, end.y)))
            .collect();
        ends.sort_by(|one, other| one.2.total_cmp(&other.2));
        let wanted: Vec<f64> = ends.iter().map(|(_, _, y)| *y).collect();
        for ((line, x, y), place) in ends.into_iter().zip(spread(&wanted, frame.top, frame.bottom)) {
            let class = class(line.colour);
            let right = frame.right;
            let _ = write!(svg, r#"<path class="leader {class}" d="M{x:.1} {y:.1}L{right:.1} {place:.1}h6"/>"#);
            label(svg, &format!("name {class}"), End::Left, (right + 10.0, place + 4.0), &short(&line.name));
        }
    }

    /// What a pointer over the drawing is told, for the script.
    fn hover(&self, frame: &Frame) -> String {
        let tenth = |value: f64| (value * 10.0).round() / 10.0;
        let lines: Vec<_> = self
            .lines
            .iter()
            .map(|line| {
                let place = |point: &Point| {
                    let (x, y) = (frame.x(&self.x, point.x), frame.y(&self.y, point.y));
                    json!([tenth(x), tenth(y), point.says[0], point.says[1]])
                };
                json!({ "name": line.name, "class": class(line.colour),
                    "points": line.points.iter().map(place).collect::<Vec<_>>() })
            })
            .collect();
        json!({ "top": frame.top, "bottom": frame.bottom, "lines": lines }).to_string()
    }
}

/// The places closest to the wanted ones, which go up, that are not closer to each other than a line of text.
fn spread(wanted: &[f64], top: f64, bottom: f64) -> Vec<f64> {
    let mut places = Vec::with_capacity(wanted.len());
    let mut free = top;
    for want in wanted {
        let place = want.max(free);
        places.push(place);
        free = place + NAME_GAP;
    }
    // What went too far down pushes the others up again.
    let mut lowest = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(lowest);
        lowest = *place - NAME_GAP;
    }
    places
}

fn path(line: &Line, x: &Axis, y: &Axis, frame: &Frame) -> String {
    let mut path = String::new();
    for (index, point) in line.points.iter().enumerate() {
        let letter = if index == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{letter}{:.1} {:.1}", frame.x(x, point.x), frame.y(y, point.y));
    }
    path
}

/// A bar: its name, its colour, its parts from the left (the first is solid), what is written at its end, and a mark to
/// be held against.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) colour: usize,
    pub(super) parts: Vec<f64>,
    pub(super) says: String,
    pub(super) mark: Option<f64>,
}

/// Bars below each other, both drawings.
pub(super) fn bars(id: &'static str, [title, about]: [&str; 2], bars: &[Bar]) -> String {
    let reach = |bar: &Bar| bar.parts.iter().sum::<f64>().max(bar.mark.unwrap_or(0.0));
    let longest = bars.iter().map(reach).fold(f64::MIN_POSITIVE, f64::max);
    let height = bars.len() as f64 * BAR_STEP + 4.0;
    let draw = |class_name: &'static str, width: f64| {
        let frame = Frame { class: class_name, width, height, left: 0.0, right: width, top: 0.0, bottom: height };
        let mut svg = open(&format!("{id}-{class_name}"), &frame, [title, about], "");
        let long = |value: f64| (value / longest).clamp(0.0, 1.0) * (width - 4.0);
        for (index, bar) in bars.iter().enumerate() {
            let (top, class) = (index as f64 * BAR_STEP, class(bar.colour));
            label(&mut svg, &format!("name {class}"), End::Left, (0.0, top + 15.0), &short(&bar.name));
            label(&mut svg, "value", End::Right, (width, top + 15.0), &bar.says);
            let y = top + 22.0;
            let _ = write!(svg, r#"<rect class="trough" x="0" y="{y:.1}" width="{width}" height="16" rx="3"/>"#);
            let mut from = 0.0;
            for (part, value) in bar.parts.iter().enumerate() {
                let part = if part == 0 { "solid" } else { "light" };
                let _ = write!(
                    svg,
                    r#"<rect class="bar {part} {class}" x="{from:.1}" y="{:.1}" width="{:.1}" height="16"/>"#,
                    top + 22.0,
                    long(*value).max(1.0)
                );
                from += long(*value);
            }
            if let Some(mark) = bar.mark {
                let (x, y) = (long(mark), top + 18.0);
                let _ = write!(svg, r#"<path class="mark" d="M{x:.1} {y:.1}v24"/>"#);
            }
        }
        svg + "</svg>"
    };
    draw("wide", 524.0) + &draw("narrow", 358.0)
}

fn open(id: &str, frame: &Frame, [title, about]: [&str; 2], hover: &str) -> String {
    let Frame { class, width, height, .. } = frame;
    let hover = if hover.is_empty() { String::new() } else { format!(r#" data-hover="{}""#, Esc(hover)) };
    let named = format!(r#"role="img" aria-labelledby="{id}-t {id}-d""#);
    let (title, about) = (Esc(title), Esc(about));
    format!(r#"<svg class="{class}" viewBox="0 0 {width} {height}" {named}{hover}>"#)
        + &format!(r#"<title id="{id}-t">{title}</title><desc id="{id}-d">{about}</desc>"#)
}

/// Which end of a text stands at its place.
#[derive(Clone, Copy)]
enum End {
    Left,
    Middle,
    Right,
}

/// A text at a place; `class` says how it looks.
fn label(svg: &mut String, class: &str, end: End, (x, y): (f64, f64), text: &str) {
    let anchor = match end {
        End::Left => "start",
        End::Middle => "middle",
        End::Right => "end",
    };
    let text = Esc(text);
    let _ = write!(svg, r#"<text class="{class}" text-anchor="{anchor}" x="{x:.1}" y="{y:.1}">{text}</text>"#);
}

/// The class of a line's colour; those beyond the last colour are dashed.
pub(super) fn class(colour: usize) -> String {
    let dashed = if colour / COLOURS % 2 == 1 { " dashed" } else { "" };
    format!("c{}{dashed}", colour % COLOURS)
}

/// A name that fits next to a line.
fn short(name: &str) -> String {
    if name.chars().count() <= NAME_LETTERS {
        return name.to_owned();
    }
    name.chars().take(NAME_LETTERS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (high, last, text) in [
            (20.8, 25.0, "25"),
            (108_416.0, 120_000.0, "120,000"),
            (0.07, 0.08, "0.08"),
            (0.0, 1.0, "1.0"),
            (5.0, 5.0, "5"),
        ] {
            let axis = Axis::linear(String::new(), high, 1.0);
            assert!((axis.high - last).abs() < last * 1e-9, "{high}: {axis:?}");
            assert_eq!(axis.ticks.last().unwrap().1, text, "{high}");
            assert!((4..=8).contains(&axis.ticks.len()), "{axis:?}");
        }
        let axis = Axis::decades(String::new(), (870.0, 20_800.0), super::super::figures::micros);
        assert_eq!((axis.low, axis.high), (100.0, 100_000.0));
        let texts: Vec<&str> = axis.ticks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["100 µs", "1 ms", "10 ms", "100 ms"]);
        assert!((axis.place(1000.0) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn whatever_the_figures_the_drawing_is_bounded() {
        for high in [f64::MAX, f64::INFINITY, f64::NAN, -1.0, 1e-300] {
            let axis = Axis::linear(String::new(), high, 1.0);
            assert!(axis.ticks.len() < 12 && axis.high > 0.0, "{high}: {}", axis.ticks.len());
            let axis = Axis::decades(String::new(), (-1.0, high), super::super::figures::micros);
            assert!(axis.ticks.len() <= 21, "{high}: {}", axis.ticks.len());
            assert!((0.0..=1.0).contains(&axis.place(high.max(0.0))));
        }
    }

    #[test]
    fn names_do_not_lie_on_each_other() {
        let places = spread(&[10.0, 12.0, 13.0, 199.0, 200.0], 0.0, 200.0);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= NAME_GAP), "{places:?}");
        assert!(places[4] <= 200.0 && places[0] == 10.0, "{places:?}");
    }
}
