//! What the model takes from measurements.

use crate::model::inputs::{MEASURED, sources};
use crate::report::Report;
use crate::report::table::{Table, figure};

pub fn write(report: &Report) {
    let mut table = Table::new(&["what", "taken as", "seen", "from"]);
    for source in sources(&MEASURED) {
        table.row(vec![
            source.what.to_owned(),
            format!("{} {}", figure(source.value), source.unit),
            source.seen.to_owned(),
            source.from.to_owned(),
        ]);
    }
    report.section("inputs", &table.to_string());
}
