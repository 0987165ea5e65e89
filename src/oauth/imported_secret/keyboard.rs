//! The keys that a hand reaches next.

const ROWS: [&[u8]; 4] = [b"1234567890", b"qwertyuiop", b"asdfghjkl", b"zxcvbnm"];

/// Which keys are near another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Within a row.
    Row,
    /// Also in the rows above and below.
    Rows,
}

/// Whether `to` is near `from`: the same key in either case, one beside it on an English keyboard,
/// or the next or previous letter or digit.
pub(super) fn is_near(from: u8, to: u8, reach: Reach) -> bool {
    let (from, to) = (from.to_ascii_lowercase(), to.to_ascii_lowercase());
    if from == to {
        return true;
    }
    let (Some((row, column)), Some((other_row, other_column))) = (position(from), position(to)) else {
        return false;
    };
    let distance = (row.abs_diff(other_row), column.abs_diff(other_column));
    distance == (0, 1) || reach == Reach::Rows && distance.0 <= 1 && distance.1 <= 1 || follows(from, to)
}

fn position(key: u8) -> Option<(usize, usize)> {
    let at = |row: &&[u8]| row.iter().position(|other| *other == key);
    ROWS.iter()
        .enumerate()
        .find_map(|(number, row)| Some((number, at(row)?)))
}

/// Whether two letters, or two digits, follow each other in either direction. `a` follows `z`.
fn follows(one: u8, other: u8) -> bool {
    let count = match (one.is_ascii_digit(), other.is_ascii_digit()) {
        (true, true) => 10,
        (false, false) => 26,
        _ => return false,
    };
    let distance = (i16::from(one) - i16::from(other)).rem_euclid(count);
    distance == 1 || distance == count - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbors_on_the_keyboard_and_in_the_alphabet_are_near() {
        let near = |reach| move |pair: &str| is_near(pair.as_bytes()[0], pair.as_bytes()[1], reach);
        let both = ["qw", "Wq", "aa", "aA", "12", "90", "ab", "za", "pq"];
        assert!(
            both.iter()
                .all(|pair| near(Reach::Row)(pair) && near(Reach::Rows)(pair))
        );
        assert!(
            ["1q", "qa", "zs", "2q"]
                .iter()
                .all(|pair| !near(Reach::Row)(pair) && near(Reach::Rows)(pair))
        );
        assert!(
            ["1z", "pa", "13", "9a", "-_"]
                .iter()
                .all(|pair| !near(Reach::Rows)(pair))
        );
    }
}
