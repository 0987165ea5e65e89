//! Markdown tables, and the format of figures in them.

use super::measure::Figures;

/// Prints cases; in brackets, each figure as a multiple of the first row's.
pub fn print(intro: &str, rows: &[Figures]) {
    let base = &rows[0];
    println!("\n{intro}\n");
    println!("| | tokens/s | server CPU, µs per token | SQL statements per token | p50 | p99 |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for each in rows {
        let cells = [
            beside(each.capacity(), base.capacity(), figure),
            beside(each.cpu_micros(), base.cpu_micros(), figure),
            figure(each.statements()),
            beside(each.p50(), base.p50(), time),
            beside(each.p99(), base.p99(), time),
        ];
        println!("| {} | {} |", each.name, cells.join(" | "));
    }
}

/// `12,345`
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits, without exponents: `0.0123`, `1.23`, `12.3`, `123`, `12,345`.
fn figure(value: f64) -> String {
    let places = match value {
        size if size >= 99.95 || size == 0.0 => return whole(value),
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size >= 0.01 => 3,
        _ => 5,
    };
    format!("{value:.places$}")
}

/// A figure, and its multiple of the base: `12.3 (1.46 ×)`.
fn beside(value: f64, base: f64, write: fn(f64) -> String) -> String {
    format!("{} ({} ×)", write(value), figure(value / base))
}

/// A time in a suitable unit.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{} ms", figure(s * 1e3)),
        s => format!("{} s", figure(s)),
    }
}
