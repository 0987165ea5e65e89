//! The alphabets that generators of secrets use, and which one a secret is written in.

use std::ops::RangeInclusive;

/// The kind of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lower,
    Upper,
    Digit,
    Symbol,
}

impl Kind {
    pub(super) const COUNT: usize = 4;

    pub(super) fn of(byte: u8) -> Self {
        match byte {
            b'a'..=b'z' => Self::Lower,
            b'A'..=b'Z' => Self::Upper,
            b'0'..=b'9' => Self::Digit,
            _ => Self::Symbol,
        }
    }

    pub(super) fn is_letter(self) -> bool {
        matches!(self, Self::Lower | Self::Upper)
    }
}

/// The characters that a generator chooses from, each with the same probability.
pub(super) struct Alphabet {
    characters: Vec<u8>,
    contains: [bool; 256],
    of_kind: [usize; Kind::COUNT],
    /// The lengths of secrets that generators write in it. `None`: no generator does.
    lengths: Option<RangeInclusive<usize>>,
    /// Whether a secret without upper-case or without lower-case letters is not random in it.
    has_both_cases: bool,
}

const DIGITS: &str = "0123456789";
const LOWER: &str = "abcdefghijklmnopqrstuvwxyz";
const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// 24 hexadecimal digits are 96 bits.
const HEXADECIMAL: RangeInclusive<usize> = 24..=usize::MAX;

/// 22 characters of base64 are 128 bits, and of base32 110.
const LONG: RangeInclusive<usize> = 22..=usize::MAX;

/// Ory Hydra's secrets.
const HYDRA: RangeInclusive<usize> = 26..=26;

/// All alphabets. A secret is in the first one that contains it.
pub(super) fn all() -> Vec<Alphabet> {
    let alphabet = |parts: &[&str], lengths, has_both_cases| Alphabet::new(&parts.concat(), lengths, has_both_cases);
    vec![
        alphabet(&[DIGITS, "abcdef"], Some(HEXADECIMAL), false),
        alphabet(&[DIGITS, "ABCDEF"], Some(HEXADECIMAL), false),
        // Base32.
        alphabet(&[UPPER, "234567"], Some(LONG), false),
        // No common generator writes letters of one case and all digits.
        alphabet(&[LOWER, DIGITS], None, false),
        alphabet(&[UPPER, DIGITS], None, false),
        // Letters and digits; base64 for URLs, and in general.
        alphabet(&[LOWER, UPPER, DIGITS], Some(LONG), true),
        alphabet(&[LOWER, UPPER, DIGITS, "-_"], Some(LONG), true),
        alphabet(&[LOWER, UPPER, DIGITS, "+/"], Some(LONG), true),
        alphabet(&[LOWER, UPPER, DIGITS, "-_.~"], Some(HYDRA), true),
    ]
}

impl Alphabet {
    fn new(characters: &str, lengths: Option<RangeInclusive<usize>>, has_both_cases: bool) -> Self {
        let characters = characters.as_bytes().to_vec();
        let (mut contains, mut of_kind) = ([false; 256], [0; Kind::COUNT]);
        for byte in &characters {
            contains[*byte as usize] = true;
            of_kind[Kind::of(*byte) as usize] += 1;
        }
        Self {
            characters,
            contains,
            of_kind,
            lengths,
            has_both_cases,
        }
    }

    pub(super) fn characters(&self) -> &[u8] {
        &self.characters
    }

    /// The number of characters.
    pub(super) fn size(&self) -> f64 {
        self.characters.len() as f64
    }

    /// The number of characters of a kind.
    pub(super) fn size_of(&self, kind: Kind) -> f64 {
        self.of_kind[kind as usize] as f64
    }

    pub(super) fn contains(&self, byte: u8) -> bool {
        self.contains[byte as usize]
    }

    pub(super) fn spells(&self, text: &[u8]) -> bool {
        text.iter().all(|byte| self.contains(*byte))
    }

    /// Whether a generator may have written `text`, which is in this alphabet, by its length and
    /// the kinds of its characters.
    pub(super) fn may_be_generated(&self, text: &[u8]) -> bool {
        let has = |kind| text.iter().any(|byte| Kind::of(*byte) == kind);
        let has_required_cases = !self.has_both_cases || has(Kind::Lower) && has(Kind::Upper);
        let is_number = !has(Kind::Lower) && !has(Kind::Upper) && !has(Kind::Symbol);
        let has_length = self
            .lengths
            .as_ref()
            .is_some_and(|lengths| lengths.contains(&text.len()));
        has_length && has_required_cases && !is_number
    }
}
