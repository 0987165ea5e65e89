//! Strict parsing of `application/x-www-form-urlencoded` (RFC 6749 App. B).
//!
//! A bad escape or invalid UTF-8 is an error (docs/protocol.md#p5). A lenient decoder passes a bad
//! escape through unchanged, so two parsers could read one request differently.

use std::borrow::Cow;

use memchr::{memchr, memchr2};
use zeroize::{Zeroize, Zeroizing};

use crate::encoding::from_hex;

/// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedForm;

/// The pairs of a form in order, still encoded: split at `&`, then at the first `=`. Empty pairs
/// are skipped.
pub fn pairs(body: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = body;
    let pieces = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'&', rest).unwrap_or(rest.len());
        let piece = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(piece)
    });
    pieces
        .filter(|piece| !piece.is_empty())
        .map(|piece| match memchr(b'=', piece) {
            Some(at) => (&piece[..at], &piece[at + 1..]),
            None => (piece, &piece[..0]),
        })
}

/// Decodes `+` and `%XX`. Borrows if there is nothing to decode.
pub fn decode(raw: &[u8]) -> Result<Cow<'_, str>, MalformedForm> {
    let Some(first) = memchr2(b'+', b'%', raw) else {
        return std::str::from_utf8(raw).map(Cow::Borrowed).map_err(|_| MalformedForm);
    };
    // Zeroized if the rest is malformed: what is decoded may be part of a secret.
    let mut decoded = Zeroizing::new(Vec::with_capacity(raw.len()));
    let (plain, mut rest) = raw.split_at(first);
    decoded.extend_from_slice(plain);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => decoded.push(b' '),
            b'%' => {
                let [high, low, tail @ ..] = rest else {
                    return Err(MalformedForm);
                };
                decoded.push(from_hex(*high, *low).ok_or(MalformedForm)?);
                rest = tail;
            }
            other => decoded.push(other),
        }
    }
    match String::from_utf8(std::mem::take(&mut *decoded)) {
        Ok(text) => Ok(Cow::Owned(text)),
        Err(error) => {
            error.into_bytes().zeroize();
            Err(MalformedForm)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn p5_plus_and_escapes_are_decoded() {
        assert_eq!(decode(b"a+b%20c%2B%C3%A9").unwrap(), "a b c+é");
    }

    #[test]
    fn p5_bad_escapes_and_bad_utf8_are_errors() {
        for bad in [&b"%"[..], b"%2", b"%zz", b"a%2", b"%ff", b"\xff", b"%+1"] {
            assert_eq!(decode(bad), Err(MalformedForm), "{bad:?}");
        }
    }

    #[test]
    fn pairs_split_at_the_first_equals_sign() {
        let all: Vec<_> = pairs(b"&a=1=2&&b&=c&").collect();
        assert_eq!(all, [(&b"a"[..], &b"1=2"[..]), (b"b", b""), (b"", b"c")]);
    }

    proptest! {
        #[test]
        fn p5_encoded_text_decodes_to_itself(text in "\\PC{0,40}") {
            let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            prop_assert_eq!(decode(encoded.as_bytes()).unwrap(), text);
        }
    }
}
