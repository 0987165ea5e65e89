//! How much shorter than random a text can be described.
//!
//! At each character, several models give a probability to every character of the alphabet, from
//! what precedes it. Their weighted mean is a probability too, and the text can be described in
//! `-log2` of it, character by character. For a text of uniformly random characters, a description
//! that is shorter by `t` bits has a probability of at most 2^-t, whatever the models are (Kraft's
//! inequality). So the models and words decide only which chosen secrets are recognized; they
//! cannot make random secrets look chosen.

use super::alphabet::{Alphabet, Kind};
use super::keyboard::{Reach, is_near};
use super::writing::{Beginning, FIRST_LETTER, LANGUAGE, STYLES, readings, written};

/// The number of models.
const MODELS: usize = 15;

/// The share of the weights that is distributed equally again after each character, so that another
/// model can take over within a text.
const SHARED_WEIGHT: f64 = 0.1;

/// How many beginnings of words are followed at once.
const MAX_BEGINNINGS: usize = 6;

/// The probability that a model leaves to characters which it does not expect, each with the same.
const UNEXPECTED: f64 = 0.1;

/// The probability that the kind of a character is that of the one before.
const SAME_KIND: f64 = 0.85;

/// The bits by which the models describe `text` shorter than its length in random characters of the
/// alphabet. Negative if they do not.
pub(super) fn saved_bits(text: &[u8], alphabet: &Alphabet) -> f64 {
    let mut weights = [1.0 / MODELS as f64; MODELS];
    let mut context = Context::new(text);
    let mut bits = 0.0;
    for &character in text {
        let probabilities = context.probabilities(alphabet, character);
        let mean: f64 = probabilities.iter().zip(&weights).map(|(p, weight)| p * weight).sum();
        bits += (mean * alphabet.size()).log2();
        for (weight, p) in weights.iter_mut().zip(&probabilities) {
            *weight = (1.0 - SHARED_WEIGHT) * *weight * p / mean + SHARED_WEIGHT / MODELS as f64;
        }
        context.advance();
    }
    bits
}

/// What the models know about the characters so far.
struct Context<'t> {
    text: &'t [u8],
    /// How many of its characters are known.
    known: usize,
    /// How often a kind followed another; the last row is for the first character.
    kinds: [[f64; Kind::COUNT]; Kind::COUNT + 1],
    /// The letter that the last character stands for.
    letter: Option<u8>,
    /// The beginnings of words that the last characters may stand for, longest first.
    beginnings: Vec<Beginning>,
}

impl<'t> Context<'t> {
    fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            known: 0,
            kinds: Default::default(),
            letter: None,
            beginnings: Vec::new(),
        }
    }

    fn known(&self) -> &'t [u8] {
        &self.text[..self.known]
    }

    /// The probability that each model gives to `character`. Those of each model add up to 1 over
    /// the alphabet.
    fn probabilities(&self, alphabet: &Alphabet, character: u8) -> [f64; MODELS] {
        let uniform = 1.0 / alphabet.size();
        let mut all = [uniform; MODELS];
        let expected = |is_expected: &dyn Fn(u8) -> bool| {
            let count = alphabet
                .characters()
                .iter()
                .filter(|other| is_expected(**other))
                .count();
            match count {
                0 => uniform,
                count => {
                    let share = if is_expected(character) {
                        1.0 / count as f64
                    } else {
                        0.0
                    };
                    UNEXPECTED * uniform + (1.0 - UNEXPECTED) * share
                }
            }
        };
        // Walks on the keyboard, also interleaved ones.
        for (back, reach) in [(1, Reach::Rows), (2, Reach::Row), (3, Reach::Row), (4, Reach::Row)] {
            if let Some(from) = self.back(back) {
                all[back] = expected(&|other| is_near(from, other, reach));
            }
        }
        if let Some(repeated) = self.repeated() {
            all[5] = expected(&|other| other.eq_ignore_ascii_case(&repeated));
        }
        all[6] = self.kind_as_before(alphabet, character);
        all[7] = self.same_kind(alphabet, character);
        let pairs = LANGUAGE.pairs(self.letter);
        for (at, style) in STYLES[..3].iter().enumerate() {
            all[8 + at] = written(alphabet, pairs, style, character);
        }
        let continued = self
            .beginnings
            .iter()
            .find_map(|beginning| LANGUAGE.continuations(beginning));
        for (at, style) in STYLES.iter().enumerate() {
            let first = if at < 2 { &FIRST_LETTER } else { style };
            let new = written(alphabet, LANGUAGE.first_letters(), first, character);
            all[11 + at] = match &continued {
                Some(letters) => 0.8 * written(alphabet, letters, style, character) + 0.2 * new,
                None => new,
            };
        }
        all
    }

    fn back(&self, count: usize) -> Option<u8> {
        self.known.checked_sub(count).map(|at| self.text[at])
    }

    /// What followed the last two characters when they occurred before.
    fn repeated(&self) -> Option<u8> {
        let last = self.known().last_chunk::<2>()?;
        let before = &self.text[..self.known - 1];
        let at = before.windows(2).rposition(|pair| pair.eq_ignore_ascii_case(last))?;
        Some(self.text[at + 2])
    }

    /// The kinds follow each other as they did so far.
    fn kind_as_before(&self, alphabet: &Alphabet, character: u8) -> f64 {
        let row = self.known().last().map_or(Kind::COUNT, |last| Kind::of(*last) as usize);
        // Half an occurrence of each (Krichevsky and Trofimov).
        let count = |kind: Kind| self.kinds[row][kind as usize] + 0.5;
        let kinds = [Kind::Lower, Kind::Upper, Kind::Digit, Kind::Symbol];
        let possible = kinds.into_iter().filter(|kind| alphabet.size_of(*kind) > 0.0);
        let kind = Kind::of(character);
        count(kind) / possible.map(count).sum::<f64>() / alphabet.size_of(kind)
    }

    /// The kind of the next character is mostly that of the last.
    fn same_kind(&self, alphabet: &Alphabet, character: u8) -> f64 {
        let Some(last) = self.known().last().map(|last| Kind::of(*last)) else {
            return 1.0 / alphabet.size();
        };
        let same = alphabet.size_of(last);
        let others = alphabet.size() - same;
        match Kind::of(character) == last {
            _ if others == 0.0 => 1.0 / alphabet.size(),
            true => SAME_KIND / same,
            false => (1.0 - SAME_KIND) / others,
        }
    }

    /// The next character becomes known.
    fn advance(&mut self) {
        let character = self.text[self.known];
        let row = self.known().last().map_or(Kind::COUNT, |last| Kind::of(*last) as usize);
        let kind = Kind::of(character);
        self.kinds[row][kind as usize] += 1.0;
        self.known += 1;
        let letters = readings(character);
        // Digits stand for letters within words only.
        self.letter = letters
            .first()
            .copied()
            .filter(|_| kind.is_letter() || self.letter.is_some());
        let mut beginnings: Vec<Beginning> = Vec::new();
        self.beginnings.push(LANGUAGE.beginning());
        for beginning in &self.beginnings {
            let longer = letters.iter().filter_map(|letter| LANGUAGE.longer(beginning, *letter));
            for longer in longer {
                if !beginnings.contains(&longer) {
                    beginnings.push(longer);
                }
            }
        }
        beginnings.sort_by_key(|beginning| std::cmp::Reverse(beginning.len()));
        beginnings.truncate(MAX_BEGINNINGS);
        self.beginnings = beginnings;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::imported_secret::alphabet;
    use proptest::prelude::*;

    proptest! {
        /// The premise of the bound on random secrets.
        #[test]
        fn the_probabilities_of_each_model_add_up_to_one(
            alphabet in 0..9usize,
            picks in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let alphabet = &alphabet::all()[alphabet];
            let text: Vec<u8> = picks.iter().map(|pick| *pick.get(alphabet.characters())).collect();
            let mut context = Context::new(&text);
            for _ in &text {
                context.advance();
            }
            let mut sums = [0.0; MODELS];
            for character in alphabet.characters() {
                let probabilities = context.probabilities(alphabet, *character);
                sums.iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += p);
            }
            for (model, sum) in sums.iter().enumerate() {
                prop_assert!((sum - 1.0).abs() < 1e-9, "model {}: {}", model, sum);
            }
        }
    }
}
