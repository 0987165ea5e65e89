//! Tables in Markdown, and how figures are written in them.

/// A table.
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one.
    pub fn new(header: &[&str]) -> Self {
        Self {
            header: header.iter().map(|&text| text.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.header.len(), "{cells:?}");
        self.rows.push(cells);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "| {} |", self.header.join(" | "))?;
        writeln!(f, "| {} |", vec!["---"; self.header.len()].join(" | "))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        Ok(())
    }
}

/// `12,345`
pub fn whole(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}

/// Three digits that count, without exponents: `0.0123`, `1.23`, `12.3`, `123`, `12,345`.
pub fn figure(value: f64) -> String {
    let places = match value.abs() {
        size if size >= 99.95 || size == 0.0 => return whole(value),
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size >= 0.01 => 3,
        _ => 5,
    };
    format!("{value:.places$}")
}

/// A figure and how many times the floor's it is: `12.3 (1.46 ×)`.
pub fn beside(value: f64, floor: f64, write: fn(f64) -> String) -> String {
    format!("{} ({} ×)", write(value), figure(value / floor))
}

/// A time in the unit that suits it.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{} ms", figure(s * 1e3)),
        s => format!("{} s", figure(s)),
    }
}

/// `99.9 %`
pub fn percent(share: f64) -> String {
    let places = if share > 0.99 && share < 1.0 { 2 } else { 1 };
    format!("{:.places$} %", share * 100.0)
}
