//! The chain over the audit log: each line has a hash over itself and the line before, so that a
//! changed, removed, inserted or moved line is found. A chain that is rewritten from some line to
//! its end, and lines that are removed at the end, are found only with a copy.
//!
//! Lines that version 0.1 wrote have no hash. They take part: their hash is computed and not
//! stored, and the next line that has one covers them.

use std::fmt;
use std::ops::RangeInclusive;

use aws_lc_rs::digest;

use crate::encoding::{from_hex, hex};

/// Precedes the hashed content. Another format needs another name.
const FORMAT: &[u8] = b"mintage audit 1\0";

/// The length of an absent text.
const ABSENT: u32 = u32::MAX;

/// The hash of a line and, through it, of all lines before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LineHash([u8; 32]);

impl LineHash {
    /// What the first line follows.
    pub const START: Self = Self([0; 32]);

    /// A stored hash. `None` if it has another length, which Mintage never stores.
    pub fn from_stored(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The hash in 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        if text.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = from_hex(pair[0], pair[1])?;
        }
        Some(Self(hash))
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for LineHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the hash of a line covers: all columns except the number, which PostgreSQL assigns and
/// which may have gaps, and the hash itself. JSON is hashed as the stored text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineContent<'a> {
    /// When, in milliseconds.
    pub at_ms: i64,
    /// `who`, `kind`, `origin`, `action`, `subject`, `detail` and `context`, in this order.
    pub texts: [Option<&'a str>; 7],
}

/// The hash of a line that follows the line with the hash `previous`.
pub fn follow(previous: &LineHash, line: &LineContent<'_>) -> LineHash {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(FORMAT);
    hash.update(&previous.0);
    hash.update(&line.at_ms.to_be_bytes());
    for text in line.texts {
        // The length, so that no text can continue in the next one.
        let length = text.map_or(ABSENT, |text| u32::try_from(text.len()).unwrap_or(ABSENT - 1));
        hash.update(&length.to_be_bytes());
        hash.update(text.unwrap_or_default().as_bytes());
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    LineHash(bytes)
}

/// Where the audit log is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Break {
    /// The first line has a hash and follows a line that is not there.
    BeginningMissing {
        /// The first line.
        first: i64,
    },
    /// A hash differs: a line between these two was changed, inserted or removed, or the second
    /// was changed.
    Differs {
        /// The line before; 0 if there is none.
        previous: i64,
        /// The line whose hash differs.
        id: i64,
    },
    /// Lines without a hash after a line that has one.
    Unhashed(RangeInclusive<i64>),
}

/// Verifies lines in the order of their numbers.
#[derive(Debug)]
pub struct Verification {
    /// Lines without a hash are accepted up to this number.
    accepted_until: i64,
    previous: LineHash,
    last_id: i64,
    /// Whether a line had a hash.
    begun: bool,
    /// The lines without a hash that are not accepted and end with the last line.
    unhashed_since: Option<i64>,
    lines: u64,
    unhashed: u64,
}

impl Verification {
    /// Begins at the first line. `archived` is the line before, with its hash, if it is no longer
    /// there.
    pub fn new(archived: Option<(i64, LineHash)>, accepted_until: i64) -> Self {
        let (last_id, previous) = archived.unwrap_or((0, LineHash::START));
        Self {
            accepted_until,
            previous,
            last_id,
            begun: archived.is_some(),
            unhashed_since: None,
            lines: 0,
            unhashed: 0,
        }
    }

    /// Verifies the next line.
    ///
    /// # Errors
    /// The chain breaks at this line, or lines before it have no hash.
    pub fn next(&mut self, id: i64, line: &LineContent<'_>, stored: Option<&[u8]>) -> Result<(), Break> {
        if stored.is_some() {
            self.finish()?;
        }
        let computed = follow(&self.previous, line);
        match stored {
            None if self.begun && id > self.accepted_until => {
                self.unhashed_since.get_or_insert(id);
            }
            None => {}
            Some(stored) if LineHash::from_stored(stored) == Some(computed) => self.begun = true,
            Some(_) if self.lines == 0 && !self.begun && id > 1 => return Err(Break::BeginningMissing { first: id }),
            Some(_) => {
                return Err(Break::Differs {
                    previous: self.last_id,
                    id,
                });
            }
        }
        self.lines += 1;
        self.unhashed += u64::from(stored.is_none());
        (self.previous, self.last_id) = (computed, id);
        Ok(())
    }

    /// Ends after the last line.
    ///
    /// # Errors
    /// The last lines have no hash.
    pub fn finish(&self) -> Result<(), Break> {
        match self.unhashed_since {
            Some(first) => Err(Break::Unhashed(first..=self.last_id)),
            None => Ok(()),
        }
    }

    /// The number of verified lines, and how many of them have no hash.
    pub fn lines(&self) -> (u64, u64) {
        (self.lines, self.unhashed)
    }

    /// The number and the hash of the last line; the hash is computed if it has none.
    pub fn last(&self) -> (i64, LineHash) {
        (self.last_id, self.previous)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: LineContent<'static> = LineContent {
        at_ms: 1_795_478_400_000,
        texts: [
            Some("alice uid=1000"),
            Some("user"),
            Some("command line host"),
            Some("client.delete"),
            Some("billing"),
            Some("{}"),
            None,
        ],
    };

    /// The format is frozen: an old log must verify for ever. The expected
    /// values come from another implementation (Python's hashlib).
    #[test]
    fn the_hash_of_a_line_is_fixed() {
        let first = follow(&LineHash::START, &LINE);
        let second = follow(&first, &LINE);
        assert_eq!(
            first.to_string(),
            "3fb0398a43dd3d28666d26fe87948976bf057f89128e0314815aea07a4009874"
        );
        assert_eq!(
            second.to_string(),
            "104347d29c2c24572d05f673b04fe94ea08ea76caefa4651bde67a0e07f7ad2a"
        );
        assert_eq!(LineHash::from_hex(&first.to_string()), Some(first));
        for malformed in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(LineHash::from_hex(malformed), None);
        }
    }

    /// A line with owned texts, and its stored hash.
    #[derive(Clone, Debug)]
    struct Line {
        id: i64,
        at_ms: i64,
        texts: [Option<String>; 7],
        stored: Option<Vec<u8>>,
    }

    impl Line {
        fn content(&self) -> LineContent<'_> {
            LineContent {
                at_ms: self.at_ms,
                texts: self.texts.each_ref().map(Option::as_deref),
            }
        }
    }

    fn verify(lines: &[Line]) -> Result<(), Break> {
        let mut verification = Verification::new(None, 0);
        for line in lines {
            verification.next(line.id, &line.content(), line.stored.as_deref())?;
        }
        verification.finish()
    }

    /// Lines of version 0.1, and then lines with a hash.
    fn chain() -> impl Strategy<Value = Vec<Line>> {
        let texts = || proptest::array::uniform7(proptest::option::weighted(0.9, "[ab]{0,3}"));
        let content = proptest::collection::vec((0..3i64, texts()), 2..9);
        (content, 0..3usize).prop_map(|(contents, unhashed)| {
            let (mut previous, mut lines) = (LineHash::START, Vec::new());
            for (index, (at_ms, texts)) in contents.into_iter().enumerate() {
                let mut line = Line {
                    id: 2 * index as i64 + 1,
                    at_ms,
                    texts,
                    stored: None,
                };
                previous = follow(&previous, &line.content());
                line.stored = (index >= unhashed).then(|| previous.as_bytes().to_vec());
                lines.push(line);
            }
            lines
        })
    }

    proptest! {
        #[test]
        fn an_unchanged_chain_verifies(lines in chain()) {
            prop_assert_eq!(verify(&lines), Ok(()));
        }

        /// Except at the end: a line after it is needed to notice that one is missing, and a line
        /// of version 0.1 needs a later hash that covers it.
        #[test]
        fn any_change_before_the_last_hash_is_found(
            mut lines in chain(),
            at in any::<prop::sample::Index>(),
            kind in 0..6usize,
            text in 0..7usize,
        ) {
            let last = lines.len() - 1;
            prop_assume!(lines[last].stored.is_some());
            let at = at.index(last);
            match kind {
                0 => lines[at].at_ms += 1,
                1 => {
                    lines[at].texts[text] = match &lines[at].texts[text] {
                        Some(text) if text.is_empty() => None,
                        Some(_) => Some(String::new()),
                        None => Some(String::new()),
                    };
                }
                2 => {
                    // The same letters, divided between two texts at another place.
                    let (left, right) = (text.min(5), text.min(5) + 1);
                    let both = lines[at].texts[left].clone().unwrap_or_default()
                        + lines[at].texts[right].as_deref().unwrap_or_default();
                    prop_assume!(lines[at].texts[left].as_deref() != Some(&both));
                    lines[at].texts[left] = Some(both);
                    lines[at].texts[right] = Some(String::new());
                }
                3 => drop(lines.remove(at)),
                4 => {
                    let mut copy = lines[at].clone();
                    copy.id += 1;
                    lines.insert(at + 1, copy);
                }
                _ => {
                    prop_assume!(lines[at].content() != lines[at + 1].content());
                    lines.swap(at, at + 1);
                    let id = lines[at].id;
                    lines[at].id = lines[at + 1].id;
                    lines[at + 1].id = id;
                }
            }
            prop_assert!(verify(&lines).is_err());
        }
    }

    #[test]
    fn lines_without_a_hash_are_accepted_only_before_the_first_hash_or_on_request() {
        let mut verification = Verification::new(None, 0);
        let hash = follow(&follow(&LineHash::START, &LINE), &LINE);
        assert_eq!(verification.next(1, &LINE, None), Ok(()));
        assert_eq!(verification.next(3, &LINE, Some(hash.as_bytes())), Ok(()));
        for id in [4, 6] {
            assert_eq!(verification.next(id, &LINE, None), Ok(()));
        }
        assert_eq!(verification.finish(), Err(Break::Unhashed(4..=6)));
        assert_eq!(
            verification.next(7, &LINE, Some(&[0; 32])),
            Err(Break::Unhashed(4..=6)),
            "reported before the hash that covers them"
        );
        verification = Verification::new(Some((3, hash)), 5);
        assert_eq!(verification.next(4, &LINE, None), Ok(()));
        assert_eq!(verification.finish(), Ok(()));
        assert_eq!(verification.next(6, &LINE, None), Ok(()));
        assert_eq!(verification.finish(), Err(Break::Unhashed(6..=6)));
        assert_eq!(verification.lines(), (2, 2));
    }

    #[test]
    fn a_hash_of_another_length_does_not_match() {
        let mut verification = Verification::new(None, 0);
        let broken = Break::Differs { previous: 0, id: 1 };
        assert_eq!(verification.next(1, &LINE, Some(b"short")), Err(broken));
    }
}
