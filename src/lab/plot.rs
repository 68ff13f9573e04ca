//! A drawing: rates over time as lines, and moments as upright strokes with a text. SVG, nothing else.

use std::fmt::Write;

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What it is called in the legend.
    pub name: String,
    /// Its values, one for each step of time.
    pub values: Vec<f64>,
}

/// A moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// When, in seconds.
    pub at: f64,
    /// What happened.
    pub text: String,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot<'a> {
    /// Above it.
    pub title: &'a str,
    /// Beside the upright axis.
    pub unit: &'a str,
    /// From one value to the next, in seconds.
    pub step: f64,
    /// The lines.
    pub lines: &'a [Line],
    /// The moments.
    pub marks: &'a [Mark],
}

/// Colours that most people tell apart, also those who see fewer (Okabe and Ito).
const COLOURS: [&str; 8] = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#8B5A2B", "#56B4E9", "#000000", "#999933"];

/// The line of everything that failed has a colour of its own.
pub(super) const FAILED: &str = "failed";

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 130.0;
const BOTTOM: f64 = 50.0;

impl Plot<'_> {
    /// The drawing as SVG.
    pub fn svg(&self) -> String {
        let steps = self.lines.iter().map(|line| line.values.len()).max().unwrap_or(0).max(1);
        let time = steps as f64 * self.step;
        let most = self.lines.iter().flat_map(|line| &line.values).copied().fold(1.0, f64::max);
        let (tick, time_tick) = (nice(most / 5.0), nice(time / 10.0));
        let top = (most / tick).ceil() * tick;
        let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * (seconds / time).clamp(0.0, 1.0);
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / top);
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}</text>\n\
             <text x=\"18\" y=\"{}\" transform=\"rotate(-90 18 {})\" text-anchor=\"middle\">{}</text>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">seconds</text>",
            escape(self.title),
            y(top / 2.0),
            y(top / 2.0),
            escape(self.unit),
            x(time / 2.0),
            HEIGHT - 12.0,
        );
        for n in 0..=(top / tick).round() as u32 {
            let value = f64::from(n) * tick;
            let at = y(value);
            let _ = writeln!(
                out,
                "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value}</text>",
                x(time),
                LEFT - 8.0,
                at + 4.0,
            );
        }
        for n in 0..=(time / time_tick).floor() as u32 {
            let seconds = f64::from(n) * time_tick;
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                x(seconds),
                HEIGHT - BOTTOM + 18.0,
                short(seconds),
            );
        }
        for mark in self.marks {
            let at = x(mark.at);
            let _ = writeln!(
                out,
                "<path d=\"M{at:.1} {TOP}V{}\" stroke=\"#888\" stroke-dasharray=\"3 3\"/>\
                 <text transform=\"translate({:.1} {}) rotate(-45)\" font-size=\"11\" fill=\"#444\">{}</text>",
                HEIGHT - BOTTOM,
                at + 3.0,
                TOP - 4.0,
                escape(&mark.text),
            );
        }
        for (n, line) in self.lines.iter().enumerate() {
            let colour = if line.name == FAILED { "#CC0000" } else { COLOURS[n % COLOURS.len()] };
            let points: Vec<_> = (line.values.iter().enumerate())
                .map(|(n, value)| format!("{:.1},{:.1}", x((n as f64 + 0.5) * self.step), y(*value)))
                .collect();
            let at = TOP + 10.0 + 18.0 * n as f64;
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>\n\
                 <path d=\"M{} {at}h22\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{}\" y=\"{}\">{}</text>",
                points.join(" "),
                WIDTH - RIGHT + 14.0,
                WIDTH - RIGHT + 42.0,
                at + 4.0,
                escape(&line.name),
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

/// A step of 1, 2 or 5 times a power of ten, at least this.
fn nice(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-3).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= least * 0.999_999).unwrap_or(power)
}

fn short(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (least, step) in [(0.9, 1.0), (1.0, 1.0), (1.1, 2.0), (37.0, 50.0), (51.0, 100.0), (0.03, 0.05)] {
            assert!((nice(least) - step).abs() < step * 1e-9, "{least}: {}", nice(least));
        }
    }

    #[test]
    fn a_drawing_is_well_formed_and_holds_what_it_shows() {
        let lines = [
            Line { name: "v1 <old>".into(), values: vec![100.0, 50.0, 0.0] },
            Line { name: "v2 & new".into(), values: vec![0.0, 50.0, 100.0] },
        ];
        let marks = [Mark { at: 0.4, text: "s1 leaves".into() }, Mark { at: 99.0, text: "late".into() }];
        let svg = Plot { title: "A & B", unit: "requests/s", step: 0.2, lines: &lines, marks: &marks }.svg();
        let parsed = roxmltree::Document::parse(&svg).unwrap();
        let count = |name: &str| parsed.descendants().filter(|node| node.has_tag_name(name)).count();
        assert_eq!(count("polyline"), 2);
        for text in ["v1 <old>", "v2 & new", "s1 leaves", "requests/s", "A & B"] {
            assert!(parsed.descendants().any(|node| node.text() == Some(text)), "{text}\n{svg}");
        }
        let empty = Plot { title: "", unit: "", step: 0.2, lines: &[], marks: &[] }.svg();
        roxmltree::Document::parse(&empty).unwrap();
    }
}
