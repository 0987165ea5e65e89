//! Finds the end of a head: an empty line. Lines end with LF or CR LF, as the parser of actix takes
//! both.
//!
//! A body can contain an empty line too. That does no harm: the stream then delivers the bytes in two
//! pieces instead of one.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Both are searched for as a whole: looking at each line feed would cost three times as much.
static LF_CR_LF: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\r\n"));
static LF_LF: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));

/// What the last bytes were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Last {
    #[default]
    Other,
    LineFeed,
    LineFeedAndReturn,
}

/// The state of a scan, which goes on from one piece to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan(Last);

impl HeadScan {
    /// The index behind the first empty line in these bytes. Without one, the scan goes on with the
    /// next bytes; after one, it begins again.
    pub fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let carried = match (self.0, bytes) {
            (Last::Other, _) | (_, []) => None,
            (_, [b'\n', ..]) => Some(1),
            (Last::LineFeed, [b'\r', b'\n', ..]) => Some(2),
            (Last::LineFeed, [b'\r']) => {
                self.0 = Last::LineFeedAndReturn;
                return None;
            }
            _ => None,
        };
        let found = carried.or_else(|| {
            let with_return = LF_CR_LF.find(bytes);
            // What begins behind it is not the first.
            let before = with_return.map_or(bytes, |at| &bytes[..at + 1]);
            let without = LF_LF.find(before).map(|at| at + 2);
            without.or(with_return.map(|at| at + 3))
        });
        self.0 = match bytes {
            _ if found.is_some() => Last::Other,
            [] => self.0,
            [.., b'\n'] => Last::LineFeed,
            [.., b'\n', b'\r'] => Last::LineFeedAndReturn,
            _ => Last::Other,
        };
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The ends in the whole text, found the slow way.
    fn ends(text: &[u8]) -> Vec<usize> {
        let (mut ends, mut from) = (Vec::new(), 0);
        for at in 0..=text.len() {
            if text[from..at].ends_with(b"\n\n") || text[from..at].ends_with(b"\n\r\n") {
                ends.push(at);
                from = at;
            }
        }
        ends
    }

    /// The ends that a scan finds if the text arrives in pieces of these lengths.
    fn found(text: &[u8], lengths: &[usize]) -> Vec<usize> {
        let (mut ends, mut scan, mut at) = (Vec::new(), HeadScan::default(), 0);
        let mut lengths = lengths.iter().copied().cycle();
        while at < text.len() {
            let piece_end = text.len().min(at + lengths.next().unwrap());
            while let Some(end) = scan.end(&text[at..piece_end]) {
                at += end;
                ends.push(at);
            }
            at = piece_end;
        }
        ends
    }

    #[test]
    fn an_empty_line_ends_a_head_with_lf_and_with_cr_lf() {
        let end = |text: &[u8]| HeadScan::default().end(text);
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nbody"), Some(27));
        assert_eq!(end(b"GET / HTTP/1.1\nHost: h\n\nbody"), Some(24));
        assert_eq!(end(b"GET / HTTP/1.1\nHost: h\n\r\nbody"), Some(25));
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: h\r\n\r"), None);
        assert_eq!(end(b""), None);
    }

    proptest! {
        #[test]
        fn the_ends_do_not_depend_on_the_pieces(
            text in proptest::collection::vec(proptest::sample::select(b"\n\rx".to_vec()), 0..40),
            lengths in proptest::collection::vec(1usize..6, 1..8),
        ) {
            prop_assert_eq!(found(&text, &lengths), ends(&text));
        }
    }
}
