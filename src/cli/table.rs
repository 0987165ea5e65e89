//! [`print_table`]: a list for people, with a header and aligned columns, and [`counted`]. Programs
//! read `--json`.

use super::print;

/// Prints rows below a header. Each column is as wide as its longest text.
pub fn print_table<const N: usize>(header: [&str; N], rows: &[[String; N]]) {
    print(&aligned(header, rows));
}

/// A number of things in words: `1 client`, `2 clients`.
pub fn counted(count: usize, thing: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

fn aligned<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let header = header.map(str::to_owned);
    let rows = || std::iter::once(&header).chain(rows);
    let widths: [usize; N] = std::array::from_fn(|at| rows().map(|row| row[at].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_is_as_wide_as_its_longest_text() {
        let rows = [
            ["a".into(), "enabled".into(), "x y".into()],
            ["a long id of a client".into(), "é".into(), String::new()],
        ];
        let expected = "\
Client id              Status   Scope
a                      enabled  x y
a long id of a client  é";
        assert_eq!(aligned(["Client id", "Status", "Scope"], &rows), expected);
    }
}
