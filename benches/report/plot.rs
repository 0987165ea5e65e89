//! The plots: latency by percentile, and figures over a setting.

use hdrhistogram::Histogram;

use super::svg::{Axis, Line, chart};
use super::table::{figure, time, whole};

/// The name of what everything is compared with.
pub const FLOOR: &str = "floor";

/// A percentile, in seconds, of a histogram of nanoseconds.
pub fn percentile(latencies: &Histogram<u64>, percent: f64) -> f64 {
    latencies.value_at_percentile(percent) as f64 / 1e9
}

/// Latency by percentile, one line for each name. The better the percentile, the more room it has: each further nine as
/// much as the one before.
pub fn percentiles(title: &str, lines: &[(String, &Histogram<u64>)]) -> String {
    const NAMED: [(f64, &str); 6] = [
        (0.0, "0"),
        (50.0, "50 %"),
        (90.0, "90 %"),
        (99.0, "99 %"),
        (99.9, "99.9 %"),
        (99.99, "99.99 %"),
    ];
    let fewest = lines.iter().map(|(_, latencies)| latencies.len()).min().unwrap_or(0);
    // Beyond the last answer but ten there is nothing to show.
    let last = NAMED
        .iter()
        .rposition(|(percent, _)| fewest as f64 * (1.0 - percent / 100.0) >= 10.0);
    let named = &NAMED[..=last.unwrap_or(1).max(1)];
    let end = nines(named[named.len() - 1].0);
    let drawn: Vec<Line> = lines
        .iter()
        .enumerate()
        .map(|(number, (name, latencies))| Line {
            name: name.clone(),
            is_floor: number == 0 && name == FLOOR,
            points: (0..=60)
                .map(|step| end * f64::from(step) / 60.0)
                .map(|nines| {
                    let percent = 100.0 * (1.0 - 10f64.powf(-nines));
                    (percent, percentile(latencies, percent))
                })
                .collect(),
        })
        .collect();
    let x = Axis {
        title: "percentile".to_owned(),
        ticks: named
            .iter()
            .map(|(percent, name)| (*percent, (*name).to_owned()))
            .collect(),
        range: (0.0, end),
        scale: nines,
    };
    chart(title, &x, &logarithmic("latency", &drawn, time), &drawn)
}

/// How a figure is written beside its axis.
pub type Name = fn(f64) -> String;

/// Figures over a setting. The setting is drawn in steps of its logarithm, the figure from zero.
pub fn over(title: &str, x: (&str, Name), y: (&str, Name), lines: Vec<(String, Vec<(f64, f64)>)>) -> String {
    let drawn: Vec<Line> = lines
        .into_iter()
        .map(|(name, points)| Line {
            is_floor: name.starts_with(FLOOR),
            name,
            points,
        })
        .collect();
    let mut settings: Vec<f64> = drawn
        .iter()
        .flat_map(|line| line.points.iter().map(|(at, _)| *at))
        .collect();
    settings.sort_by(f64::total_cmp);
    settings.dedup();
    let (low, high) = (settings[0].log10(), settings[settings.len() - 1].log10());
    let across = Axis {
        title: x.0.to_owned(),
        ticks: settings.iter().map(|at| (*at, x.1(*at))).collect(),
        range: (low, high.max(low + 0.1)),
        scale: f64::log10,
    };
    chart(title, &across, &from_zero(y.0, &drawn, y.1), &drawn)
}

/// Figures over time in seconds.
pub fn over_time(title: &str, y: (&str, Name), lines: Vec<(String, Vec<(f64, f64)>)>) -> String {
    let drawn: Vec<Line> = lines
        .into_iter()
        .map(|(name, points)| Line {
            name,
            points,
            is_floor: false,
        })
        .collect();
    let end = drawn
        .iter()
        .flat_map(|line| &line.points)
        .fold(1.0, |end: f64, (at, _)| end.max(*at));
    let step = round_step(end / 6.0);
    let ticks = (0..=(end / step) as u32).map(|number| f64::from(number) * step);
    let x = Axis {
        title: "seconds".to_owned(),
        ticks: ticks.map(|at| (at, whole(at))).collect(),
        range: (0.0, end),
        scale: |value| value,
    };
    chart(title, &x, &from_zero(y.0, &drawn, y.1), &drawn)
}

/// 0 for 0 %, 1 for 90 %, 2 for 99 %.
fn nines(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

fn logarithmic(title: &str, lines: &[Line], name: Name) -> Axis {
    let values = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().map(|(_, value)| value.max(1e-6)))
    };
    let low = values().fold(f64::MAX, f64::min).log10().floor();
    let high = values().fold(f64::MIN, f64::max).log10().ceil().max(low + 1.0);
    let decades = low as i32..=high as i32;
    Axis {
        title: title.to_owned(),
        ticks: decades
            .map(|power| 10f64.powi(power))
            .map(|value| (value, short(name(value))))
            .collect(),
        range: (low, high),
        scale: |value| value.max(1e-6).log10(),
    }
}

fn from_zero(title: &str, lines: &[Line], name: Name) -> Axis {
    let most = lines
        .iter()
        .flat_map(|line| &line.points)
        .fold(0.0, |most: f64, (_, value)| most.max(*value));
    let step = round_step(most / 5.0);
    let steps = (most / step).ceil().max(1.0);
    Axis {
        title: title.to_owned(),
        ticks: (0..=steps as u32)
            .map(|number| f64::from(number) * step)
            .map(|value| (value, short(name(value))))
            .collect(),
        range: (0.0, steps * step),
        scale: |value| value,
    }
}

/// Without zeros behind the point: beside an axis they say nothing.
fn short(figure: String) -> String {
    let (number, unit) = figure.split_once(' ').unwrap_or((&figure, ""));
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{number} {unit}").trim_end().to_owned()
}

/// The next of 1, 2, 5, 10, 20 … and of their fractions.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * power)
}

/// For axes that have no unit.
pub fn plain(value: f64) -> String {
    figure(value)
}
