//! Pictures: bars with the least, the median and the most, and points with the line that fits them. Nothing but what these
//! two need.

use std::fmt::Write;

use crate::fit::Line;
use crate::stats::Spread;

/// One bar.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) spread: Spread,
}

/// One line of points.
pub(super) struct Trace {
    pub(super) label: String,
    pub(super) points: Vec<(f64, Spread)>,
    pub(super) line: Line,
}

const WIDTH: f64 = 820.0;
/// Room for labels beside the bars.
const LABELS: f64 = 290.0;
const ROW: f64 = 24.0;
const HEAD: f64 = 40.0;
const FOOT: f64 = 44.0;
const HEIGHT: f64 = 400.0;
/// Room for numbers beside a plot.
const SIDE: f64 = 70.0;
const EDGE: f64 = 20.0;
const INK: &str = "#24292f";
const FAINT: &str = "#d0d7de";
/// Of lines, in their order.
const COLOURS: [&str; 4] = ["#0b7285", "#c2410c", "#6741d9", "#2b8a3e"];
/// How many steps an axis has, about.
const STEPS: f64 = 6.0;

/// Bars below each other, from the left, in the colour of whose they are.
pub(super) fn bars(title: &str, bars: &[Bar]) -> String {
    let height = HEAD + ROW * bars.len() as f64 + FOOT;
    let most = bars.iter().map(|bar| bar.spread.max).fold(0.0, f64::max);
    let (step, end) = axis(most);
    let x = |value: f64| LABELS + (WIDTH - LABELS - EDGE) * value / end;
    let mut out = begin(title, height);
    let bottom = height - FOOT;
    for tick in ticks(step, end) {
        line(&mut out, (x(tick), HEAD - 6.0), (x(tick), bottom), FAINT);
        text(&mut out, (x(tick), bottom + 18.0), "middle", &number(tick));
    }
    for (place, Bar { label, spread }) in bars.iter().enumerate() {
        let top = HEAD + ROW * place as f64;
        let middle = top + ROW / 2.0 - 3.0;
        text(&mut out, (LABELS - 8.0, middle + 4.0), "end", label);
        let width = x(spread.median) - LABELS;
        // A string takes every write.
        let _ = writeln!(
            out,
            "<rect x=\"{LABELS:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
            ROW - 6.0,
            colour(label)
        );
        whisker(&mut out, (x(spread.min), middle), (x(spread.max), middle));
    }
    out + "</svg>\n"
}

/// Points and their lines over an axis that starts at nothing, or over one of tenfolds.
pub(super) fn plot(x_label: &str, y_label: &str, tenfold: bool, traces: &[Trace]) -> String {
    let place = |x: f64| if tenfold { x.log10() } else { x };
    let all = || traces.iter().flat_map(|trace| &trace.points);
    let most = all().map(|(_, spread)| spread.max).fold(0.0, f64::max);
    let far = all().map(|(x, _)| place(*x)).fold(0.0, f64::max);
    let ((y_step, y_end), (x_step, x_end)) = (axis(most), if tenfold { (1.0, far.ceil().max(1.0)) } else { axis(far) });
    let foot = FOOT + 20.0 + 18.0 * traces.len() as f64;
    let x = |value: f64| SIDE + (WIDTH - SIDE - EDGE) * value / x_end;
    let y = |value: f64| HEAD + (HEIGHT - HEAD) * (1.0 - value / y_end);
    let mut out = begin(y_label, HEIGHT + foot);
    for tick in ticks(y_step, y_end) {
        line(&mut out, (SIDE, y(tick)), (WIDTH - EDGE, y(tick)), FAINT);
        text(&mut out, (SIDE - 8.0, y(tick) + 4.0), "end", &number(tick));
    }
    for tick in ticks(x_step, x_end) {
        line(&mut out, (x(tick), HEIGHT), (x(tick), HEIGHT + 5.0), INK);
        let said = if tenfold { number(10_f64.powf(tick)) } else { number(tick) };
        text(&mut out, (x(tick), HEIGHT + 20.0), "middle", &said);
    }
    text(&mut out, ((SIDE + WIDTH) / 2.0, HEIGHT + 40.0), "middle", x_label);
    for ((number, trace), colour) in traces.iter().enumerate().zip(COLOURS.iter().cycle()) {
        let (from, to) = (trace.points.first(), trace.points.last());
        if let Some((from, to)) = from.zip(to) {
            let end = |(at, _): &(f64, Spread)| (x(place(*at)), y(trace.line.at(place(*at)).clamp(0.0, y_end)));
            line(&mut out, end(from), end(to), colour);
        }
        for (at, spread) in &trace.points {
            let at = x(place(*at));
            line(&mut out, (at, y(spread.min.max(0.0))), (at, y(spread.max.max(0.0))), colour);
            dot(&mut out, (at, y(spread.median.max(0.0))), colour);
        }
        let low = HEIGHT + 62.0 + 18.0 * number as f64;
        dot(&mut out, (SIDE + 6.0, low - 4.0), colour);
        text(&mut out, (SIDE + 18.0, low), "start", &trace.label);
    }
    out + "</svg>\n"
}

fn begin(title: &str, height: f64) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" \
         font-family=\"Helvetica, Arial, DejaVu Sans, sans-serif\" font-size=\"12\" fill=\"{INK}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    let _ =
        writeln!(out, "<text x=\"{EDGE:.0}\" y=\"20\" font-size=\"14\" font-weight=\"bold\">{}</text>", safe(title));
    out
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

/// From the least to the most, with an end on each side.
fn whisker(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    line(out, from, to, INK);
    for (x, y) in [from, to] {
        line(out, (x, y - 4.0), (x, y + 4.0), INK);
    }
}

fn dot(out: &mut String, (x, y): (f64, f64), colour: &str) {
    let _ = writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\" fill=\"{colour}\"/>");
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, said: &str) {
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", safe(said));
}

fn safe(said: &str) -> String {
    said.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The step and the end of an axis that holds this: a step is 1, 2 or 5 of some tenfold.
fn axis(most: f64) -> (f64, f64) {
    if !most.is_finite() || most <= 0.0 {
        return (1.0, 1.0);
    }
    let rough = most / STEPS;
    let tenfold = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * tenfold).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    (step, (most / step).ceil() * step)
}

fn ticks(step: f64, end: f64) -> impl Iterator<Item = f64> {
    (0_u32..).map(move |place| f64::from(place) * step).take_while(move |tick| *tick <= end + step / 2.0)
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn colour(label: &str) -> &'static str {
    match label.split([',', ' ']).next() {
        Some("tollgate") => "#0b7285",
        Some("nginx") => "#69a84f",
        Some("haproxy") => "#5b7fa6",
        Some("envoy") => "#9a5fb5",
        Some(_) | None => "#868e96",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_or_behind_the_most() {
        for most in [0.003, 0.9, 1.0, 17.0, 99.9, 100.0, 123_456.0] {
            let (step, end) = axis(most);

            assert!(end >= most && end < most + step * 1.001 && ticks(step, end).count() <= 8, "{most}: {step} {end}");
        }
        assert_eq!(axis(0.0), (1.0, 1.0));
    }

    #[test]
    fn names_cannot_end_the_picture() {
        let picture = bars("a <b> & c", &[Bar { label: "</svg>".into(), spread: Spread::default() }]);

        assert!(picture.contains("a &lt;b&gt; &amp; c") && picture.matches("</svg>").count() == 1);
    }
}
