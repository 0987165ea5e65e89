//! How people write words in secrets: the words and letter pairs of a list, with digits and capitals
//! in the place of letters.

use std::ops::Range;
use std::sync::LazyLock;

use super::alphabet::{Alphabet, Kind};

/// Words that occur often in secrets: of prose and of source code, names, and what passwords are
/// made of. One a line, sorted.
const WORDS: &str = include_str!("words.txt");

/// A probability of each letter.
pub(super) type Letters = [f64; 26];

/// A way to write letters: the probabilities of lower case, upper case, and a digit.
pub(super) type Style = [f64; 3];

/// Plain, with many digits, in capitals, and in mixed case.
pub(super) const STYLES: [Style; 4] = [
    [0.86, 0.02, 0.12],
    [0.45, 0.05, 0.50],
    [0.02, 0.86, 0.12],
    [0.42, 0.42, 0.16],
];

/// The first letter of a word in the first two styles.
pub(super) const FIRST_LETTER: Style = [0.30, 0.60, 0.10];

/// The words and letter pairs of the list.
pub(super) struct Language {
    words: Vec<&'static str>,
    first_letters: Letters,
    /// The letters that follow each letter within words, and at 26, those at the beginning.
    pairs: [Letters; 27],
}

pub(super) static LANGUAGE: LazyLock<Language> = LazyLock::new(|| Language::of(WORDS));

impl Language {
    fn of(words: &'static str) -> Self {
        let words: Vec<&str> = words.lines().collect();
        // A quarter of an occurrence for each pair, so that none is impossible.
        let mut pairs = [[0.25; 26]; 27];
        for word in &words {
            let mut previous = 26;
            for letter in word.bytes().map(index) {
                pairs[previous][letter] += 1.0;
                previous = letter;
            }
        }
        pairs.iter_mut().for_each(normalize);
        let first_letters = next_letters(&words, 0).expect("the list has words");
        Self {
            words,
            first_letters,
            pairs,
        }
    }

    /// The first letters of words.
    pub(super) fn first_letters(&self) -> &Letters {
        &self.first_letters
    }

    /// The letters after `previous`; `None` for the beginning of a word.
    pub(super) fn pairs(&self, previous: Option<u8>) -> &Letters {
        &self.pairs[previous.map_or(26, index)]
    }

    /// The empty beginning, of all words.
    pub(super) fn beginning(&self) -> Beginning {
        Beginning {
            words: 0..self.words.len(),
            length: 0,
        }
    }

    /// A beginning with one more letter. `None` if no word begins so.
    pub(super) fn longer(&self, beginning: &Beginning, letter: u8) -> Option<Beginning> {
        let (words, at) = (&self.words[beginning.words.clone()], beginning.length);
        // A word that ends here has no letter, which is less than any.
        let first = words.partition_point(|word| word.as_bytes().get(at) < Some(&letter));
        let end = words.partition_point(|word| word.as_bytes().get(at) <= Some(&letter));
        (first < end).then(|| Beginning {
            words: beginning.words.start + first..beginning.words.start + end,
            length: at + 1,
        })
    }

    /// The letters that continue this beginning. `None` if no word is longer.
    pub(super) fn continuations(&self, beginning: &Beginning) -> Option<Letters> {
        match beginning.length {
            0 => Some(self.first_letters),
            at => next_letters(&self.words[beginning.words.clone()], at),
        }
    }
}

/// The beginning of some words of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    words: Range<usize>,
    length: usize,
}

impl Beginning {
    /// The number of its letters.
    pub(super) fn len(&self) -> usize {
        self.length
    }
}

/// The letters at `at` of words that all begin with the same `at` letters.
fn next_letters(words: &[&str], at: usize) -> Option<Letters> {
    let mut letters = [0.0; 26];
    let mut found = false;
    for letter in words.iter().filter_map(|word| word.as_bytes().get(at)) {
        letters[index(*letter)] += 1.0;
        found = true;
    }
    normalize(&mut letters);
    found.then_some(letters)
}

fn normalize(letters: &mut Letters) {
    let sum: f64 = letters.iter().sum();
    if sum > 0.0 {
        letters.iter_mut().for_each(|share| *share /= sum);
    }
}

/// The number of a lower-case letter.
fn index(letter: u8) -> usize {
    usize::from(letter - b'a')
}

/// The letters that a digit is written for.
fn letters_of(digit: u8) -> &'static [u8] {
    match digit {
        b'0' => b"o",
        b'1' => b"il",
        b'2' => b"z",
        b'3' => b"e",
        b'4' => b"a",
        b'5' => b"s",
        b'6' => b"bg",
        b'7' => b"t",
        b'8' => b"b",
        b'9' => b"g",
        _ => b"",
    }
}

/// The digits that are written for a letter.
fn digits_of(letter: u8) -> &'static [u8] {
    match letter {
        b'o' => b"0",
        b'i' | b'l' => b"1",
        b'z' => b"2",
        b'e' => b"3",
        b'a' => b"4",
        b's' => b"5",
        b'b' => b"68",
        b'g' => b"69",
        b't' => b"7",
        _ => b"",
    }
}

/// The letters, in lower case, that a character may stand for.
pub(super) fn readings(character: u8) -> Vec<u8> {
    match Kind::of(character) {
        Kind::Lower | Kind::Upper => vec![character.to_ascii_lowercase()],
        Kind::Digit => letters_of(character).to_vec(),
        Kind::Symbol => Vec::new(),
    }
}

/// The probability of `character` if the next letter is distributed as `letters` and written in
/// this style, with a small share for every other character. The probabilities of all characters of
/// the alphabet add up to 1.
pub(super) fn written(alphabet: &Alphabet, letters: &Letters, style: &Style, character: u8) -> f64 {
    let share = |letter: u8, written: u8| match Kind::of(written) {
        _ if !alphabet.contains(written) => 0.0,
        Kind::Lower => style[0],
        Kind::Upper => style[1],
        _ => style[2] / digits_of(letter).len() as f64,
    };
    let all = |letter: u8| {
        let digits: f64 = digits_of(letter).iter().map(|digit| share(letter, *digit)).sum();
        share(letter, letter) + share(letter, letter.to_ascii_uppercase()) + digits
    };
    let total: f64 = (b'a'..=b'z').map(|letter| letters[index(letter)] * all(letter)).sum();
    if total == 0.0 {
        return 1.0 / alphabet.size();
    }
    let this: f64 = readings(character)
        .into_iter()
        .map(|letter| letters[index(letter)] * share(letter, character))
        .sum();
    0.97 * this / total + 0.03 / alphabet.size()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_has_lower_case_words_only() {
        let words: Vec<&str> = WORDS.lines().collect();
        assert!(words.len() > 2500 && words.is_sorted());
        assert!(
            words
                .iter()
                .all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        );
    }

    #[test]
    fn digits_and_letters_stand_for_each_other() {
        for letter in b'a'..=b'z' {
            assert!(
                digits_of(letter)
                    .iter()
                    .all(|digit| letters_of(*digit).contains(&letter))
            );
        }
        for digit in b'0'..=b'9' {
            assert!(
                letters_of(digit)
                    .iter()
                    .all(|letter| digits_of(*letter).contains(&digit))
            );
        }
    }

    #[test]
    fn a_beginning_is_continued_as_in_the_words_of_the_list() {
        let language = Language::of("abc\nabd\nb");
        let beginning = |text: &str| {
            let longer = |beginning: Beginning, letter| language.longer(&beginning, letter);
            text.bytes().try_fold(language.beginning(), longer)
        };
        assert_eq!(beginning("ac"), None);
        let letters = language.continuations(&beginning("ab").unwrap()).unwrap();
        assert_eq!((letters[2], letters[3], letters[0]), (0.5, 0.5, 0.0));
        assert_eq!(language.continuations(&beginning("abc").unwrap()), None);
    }
}
