//! Markdown tables, and the format of figures in them.

/// A table; `header` separates its cells by `|`.
pub fn table(header: &str, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let columns = header.split('|').count();
    let mut text = format!("| {header} |\n|{}\n", " --- |".repeat(columns));
    for row in rows {
        assert_eq!(row.len(), columns, "{row:?}");
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

/// `12,345`
pub fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three significant digits without an exponent: `0.0123`, `1.23`, `12.3`, `123`, `12,345`.
pub fn figure(value: f64) -> String {
    let places = match value {
        v if v >= 99.95 || v == 0.0 => return whole(v),
        v if v >= 9.995 => 1,
        v if v >= 0.9995 => 2,
        v if v >= 0.01 => 3,
        _ => 5,
    };
    format!("{value:.places$}")
}

/// `12.3 %`
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `1.23 GB`; empty for 0.
pub fn bytes(value: f64) -> String {
    match value {
        0.0 => String::new(),
        v if v < 1e9 => format!("{} MB", figure(v / 1e6)),
        v if v < 1e12 => format!("{} GB", figure(v / 1e9)),
        v => format!("{} TB", figure(v / 1e12)),
    }
}
