//! What was asked for, and what came out.

use crate::load::table::figure;

/// Lines of Markdown, one for each.
pub struct Verdicts(pub String);

impl Verdicts {
    /// None yet.
    pub fn new() -> Self {
        Self("\n".to_owned())
    }

    /// It was to be at most this.
    pub fn most(&mut self, what: &str, ratio: f64, bound: f64) {
        self.add(what, ratio, &format!("≤ {bound}"), ratio <= bound);
    }

    /// It was to be at least this.
    pub fn least(&mut self, what: &str, ratio: f64, bound: f64) {
        self.add(what, ratio, &format!("≥ {bound}"), ratio >= bound);
    }

    fn add(&mut self, what: &str, ratio: f64, asked: &str, met: bool) {
        let met = if met { "met" } else { "missed" };
        self.0 += &format!("- {what}: {} (asked: {asked}; {met})\n", figure(ratio));
    }
}
