//! Reads figures from the tables of `docs/benchmarks.md`, so that a new measurement reaches the
//! model without a second edit.

const DOCUMENT: &str = include_str!("../../../docs/benchmarks.md");

/// The figure in the first table row whose name contains `row`, in the column whose header contains
/// `column`.
///
/// # Panics
///
/// If the document has no such row: a guessed input would be worse than none.
pub fn figure(row: &str, column: &str) -> f64 {
    find(DOCUMENT, row, column)
        .unwrap_or_else(|| panic!("docs/benchmarks.md has no row `{row}` with a figure in a column `{column}`"))
}

fn find(document: &str, row: &str, column: &str) -> Option<f64> {
    let mut header: Vec<&str> = Vec::new();
    for line in document.lines() {
        let cells = cells(line);
        if header.is_empty() || cells.is_empty() {
            header = cells;
            continue;
        }
        if let Some(place) = header.iter().position(|name| name.contains(column))
            && cells[0].contains(row)
        {
            return cells.get(place).and_then(|cell| number(cell));
        }
    }
    None
}

/// The cells of a table row; empty for any other line.
fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inner.map_or(vec![], |inner| inner.split('|').map(str::trim).collect())
}

/// The number at the beginning of a cell: `34.72`, `579,320 bytes`, `12.8 (1.26 ×)`.
fn number(cell: &str) -> Option<f64> {
    let end = cell.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
    cell[..end.unwrap_or(cell.len())].replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_figure_comes_from_the_first_table_with_both_row_and_column() {
        let document = "| case | spread |\n| --- | --- |\n| ES256 | 1 to 2 |\n\n| case | µs | × floor |\n| --- | --- | --- |\n\
            | floor | 8.44 | 1 |\n| /token ES256, async | 34.72 | 3.97 |\n| bytes | 579,320 bytes | |\n";
        assert_eq!(find(document, "ES256", "µs"), Some(34.72));
        assert_eq!(find(document, "bytes", "µs"), Some(579_320.0));
        assert_eq!(find(document, "EdDSA", "µs"), None);
        assert_eq!(find(document, "floor", "p99"), None);
        assert_eq!(find(document, "bytes", "× floor"), None);
    }
}
