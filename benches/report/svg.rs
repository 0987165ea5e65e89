//! A small writer of line charts as SVG: axes, grid, lines, a legend. It brings its own background, light or dark as the
//! reader has it, so that it can be read on any page.

use std::fmt::Write;

/// An axis: where a value lies on it, and which values are named.
pub struct Axis {
    /// What it measures.
    pub title: String,
    /// Named values, with their names.
    pub ticks: Vec<(f64, String)>,
    /// The values at its ends, as `scale` gives them.
    pub range: (f64, f64),
    /// From a value to a place.
    pub scale: fn(f64) -> f64,
}

/// One line.
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
    /// Drawn grey, as what the others are compared with.
    pub is_floor: bool,
}

const WIDTH: f64 = 960.0;
const PLOT: (f64, f64, f64, f64) = (74.0, 64.0, 560.0, 330.0);
const LEGEND_LEFT: f64 = 656.0;
const LEGEND_STEP: f64 = 19.0;

/// Colours that people with any kind of colour vision tell apart, for a light and a dark ground; past these, lines are
/// dashed.
const COLOURS: [(&str, &str); 7] = [
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#ff8c42"),
    ("#009e73", "#2fd6a3"),
    ("#b0568a", "#e29ac4"),
    ("#b8860b", "#f0c94a"),
    ("#5b4bb5", "#a99cff"),
    ("#7a3b12", "#c98f62"),
];

/// Draws the lines.
pub fn chart(title: &str, x: &Axis, y: &Axis, lines: &[Line]) -> String {
    let (left, top, width, height) = PLOT;
    let (right, bottom) = (left + width, top + height);
    let legend_bottom = top + LEGEND_STEP * lines.len() as f64 + 12.0;
    let full_height = (bottom + 56.0).max(legend_bottom);
    let place = |axis: &Axis, value: f64| {
        let (low, high) = axis.range;
        (((axis.scale)(value) - low) / (high - low)).clamp(0.0, 1.0)
    };
    let across = |value| left + width * place(x, value);
    let up = |value| bottom - height * place(y, value);
    let mut svg = head(title, full_height);
    let mut draw = |text: String| svg.push_str(&text);
    for (value, name) in &x.ticks {
        let at = across(*value);
        draw(format!("<path class=\"grid\" d=\"M{at:.1} {top:.1}V{bottom:.1}\"/>\n"));
        draw(text(at, bottom + 18.0, "middle", name));
    }
    for (value, name) in &y.ticks {
        let at = up(*value);
        draw(format!("<path class=\"grid\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>\n"));
        draw(text(left - 8.0, at + 4.0, "end", name));
    }
    draw(format!(
        "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>\n"
    ));
    draw(text(left + width / 2.0, bottom + 42.0, "middle", &x.title));
    draw(text(left - 58.0, top - 14.0, "start", &y.title));
    for (number, line) in lines.iter().enumerate() {
        let class = class(
            line,
            number - lines[..number].iter().filter(|line| line.is_floor).count(),
        );
        let mut path = String::new();
        for (index, (at, value)) in line.points.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", across(*at), up(*value));
        }
        draw(format!("<path class=\"line {class}\" d=\"{path}\"/>\n"));
        if line.points.len() <= 12 {
            for (at, value) in &line.points {
                let (at, value) = (across(*at), up(*value));
                draw(format!(
                    "<circle class=\"dot {class}\" cx=\"{at:.1}\" cy=\"{value:.1}\" r=\"2.6\"/>\n"
                ));
            }
        }
        if line.name.is_empty() {
            continue;
        }
        let row = top + LEGEND_STEP * number as f64 + 4.0;
        draw(format!(
            "<path class=\"line {class}\" d=\"M{LEGEND_LEFT:.1} {row:.1}h22\"/>\n"
        ));
        draw(text(LEGEND_LEFT + 28.0, row + 4.0, "start", &line.name));
    }
    svg + "</svg>\n"
}

fn class(line: &Line, number: usize) -> String {
    if line.is_floor {
        return "floor".to_owned();
    }
    let dashed = if number >= COLOURS.len() { " dashed" } else { "" };
    format!("c{}{dashed}", number % COLOURS.len())
}

fn head(title: &str, height: f64) -> String {
    let (mut light, mut dark) = (String::new(), String::new());
    for (number, (on_light, on_dark)) in COLOURS.iter().enumerate() {
        let _ = write!(light, ".c{number}{{stroke:{on_light};fill:{on_light}}}");
        let _ = write!(dark, ".c{number}{{stroke:{on_dark};fill:{on_dark}}}");
    }
    let title = escaped(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"{title}\">\n\
         <style>\n\
         .back{{fill:#ffffff;stroke:#d5d8dc}}text{{font:12px system-ui,sans-serif;fill:#24292f}}.title{{font-size:14px;font-weight:600}}\
         .grid{{stroke:#e3e6ea;fill:none}}.axis{{stroke:#8c959f;fill:none}}.floor{{stroke:#8c959f;fill:#8c959f;stroke-dasharray:2 3}}{light}\
         .line{{fill:none;stroke-width:2;stroke-linejoin:round}}.dot{{stroke:none}}.dashed{{stroke-dasharray:6 4}}\n\
         @media (prefers-color-scheme:dark){{.back{{fill:#0d1117;stroke:#30363d}}text{{fill:#e6edf3}}.grid{{stroke:#21262d}}\
         .axis,.floor{{stroke:#8b949e}}.dot.floor{{fill:#8b949e}}{dark}.line{{fill:none}}.dot{{stroke:none}}}}\n\
         </style>\n\
         <rect class=\"back\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"6\"/>\n\
         <text class=\"title\" x=\"16\" y=\"26\">{title}</text>\n",
        WIDTH - 1.0,
        height - 1.0
    )
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> String {
    let text = escaped(text);
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
