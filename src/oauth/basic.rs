//! HTTP Basic credentials of a client (RFC 7617), with the form encoding that RFC 6749 §2.3.1 adds.
//!
//! Many clients leave the form encoding out, such as `curl -u`. Credentials without `+` and `%` are
//! the same either way. Others are two pairs of an id and a secret, and only the secret tells which
//! one the client meant (docs/protocol.md#p12).

use std::borrow::Cow;

use crate::encoding::{STANDARD, STANDARD_NO_PAD};
use base64::Engine;
use zeroize::Zeroizing;

use super::client_secret::ClientSecret;
use super::form::{self, MalformedForm};

/// Why an `Authorization` header contains no Basic credentials. The caller gets the same response
/// for each reason (docs/protocol.md#p15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedBasic {
    /// A scheme other than Basic.
    Scheme,
    /// Not base64, not UTF-8 or no colon.
    Credentials,
}

/// A client id and a secret.
#[derive(Debug)]
pub struct Pair {
    /// The client id. It need not have the form of one.
    pub id: String,
    /// The secret.
    pub secret: ClientSecret,
}

/// The credentials of a header.
#[derive(Debug)]
pub struct BasicCredentials {
    /// The form-decoded pair. The pair as it was sent, if its form encoding is malformed.
    pub pair: Pair,
    /// The pair as it was sent, if it differs from `pair`. Boxed, because it is rare.
    pub raw: Option<Box<Pair>>,
}

impl BasicCredentials {
    /// The credentials without the pairs that have another client id; `None` if both have.
    pub fn of_client(self, id: &str) -> Option<Self> {
        let Self { pair, raw } = self;
        let raw = raw.filter(|raw| raw.id == id);
        match pair.id == id {
            true => Some(Self { pair, raw }),
            false => raw.map(|raw| Self { pair: *raw, raw: None }),
        }
    }
}

/// Parses `Basic <base64(form(id) ":" form(secret))>` and `Basic <base64(id ":" secret)>`. The scheme
/// is case-insensitive.
///
/// # Errors
/// See [`MalformedBasic`].
pub fn parse(header: &[u8]) -> Result<BasicCredentials, MalformedBasic> {
    let space = header
        .iter()
        .position(|byte| *byte == b' ')
        .ok_or(MalformedBasic::Scheme)?;
    let (scheme, encoded) = header.split_at(space);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(MalformedBasic::Scheme);
    }
    let encoded = encoded.trim_ascii();
    // RFC 4648 requires padding, but some clients omit it. The decoded bytes are the same.
    let decoded = STANDARD
        .decode(encoded)
        .or_else(|_| STANDARD_NO_PAD.decode(encoded))
        .map_err(|_| MalformedBasic::Credentials)?;
    let mut decoded = Zeroizing::new(decoded);
    let colon = decoded
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(MalformedBasic::Credentials)?;
    let id = match (form::decode(&decoded[..colon]), form::decode(&decoded[colon + 1..])) {
        (Ok(Cow::Borrowed(id)), Ok(Cow::Borrowed(_))) => id.to_owned(),
        (id, secret) => return with_escapes(&decoded, colon, id, secret),
    };
    // Nothing was escaped: reuse the buffer, which leaves one copy less to zeroize.
    decoded.drain(..=colon);
    let secret = String::from_utf8(std::mem::take(&mut *decoded)).map_err(|_| MalformedBasic::Credentials)?;
    Ok(BasicCredentials {
        pair: Pair {
            id,
            secret: ClientSecret::new(secret),
        },
        raw: None,
    })
}

/// The credentials of a header with `+`, `%` or malformed text, from its two halves.
#[cold]
fn with_escapes(
    sent: &[u8],
    colon: usize,
    id: Result<Cow<'_, str>, MalformedForm>,
    secret: Result<Cow<'_, str>, MalformedForm>,
) -> Result<BasicCredentials, MalformedBasic> {
    let secret = secret.map(|secret| ClientSecret::new(secret.into_owned()));
    let raw = std::str::from_utf8(sent).ok().map(|text| Pair {
        id: text[..colon].to_owned(),
        secret: ClientSecret::new(text[colon + 1..].to_owned()),
    });
    match (id, secret, raw) {
        (Ok(id), Ok(secret), raw) => Ok(BasicCredentials {
            pair: Pair {
                id: id.into_owned(),
                secret,
            },
            raw: raw.map(Box::new),
        }),
        (_, _, Some(pair)) => Ok(BasicCredentials { pair, raw: None }),
        (_, _, None) => Err(MalformedBasic::Credentials),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(credentials: impl AsRef<[u8]>) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(credentials)).into_bytes()
    }

    fn halves(pair: &Pair) -> (&str, &str) {
        (&pair.id, pair.secret.reveal())
    }

    /// Each pair of some credentials, the first one first.
    fn pairs(credentials: &BasicCredentials) -> Vec<(&str, &str)> {
        let raw = credentials.raw.as_deref();
        [Some(&credentials.pair), raw]
            .into_iter()
            .flatten()
            .map(halves)
            .collect()
    }

    #[test]
    fn p12_the_first_colon_splits_and_both_halves_are_form_decoded() {
        let credentials = parse(&header("a%3Ab+c:x:%25%C3%A9")).unwrap();
        assert_eq!(pairs(&credentials), [("a:b c", "x:%é"), ("a%3Ab+c", "x:%25%C3%A9")]);
    }

    #[test]
    fn p12_credentials_without_escapes_are_one_pair() {
        assert_eq!(pairs(&parse(&header("a:b/c=d:é")).unwrap()), [("a", "b/c=d:é")]);
        assert_eq!(pairs(&parse(&header(":")).unwrap()), [("", "")]);
    }

    #[test]
    fn p12_a_pair_whose_form_encoding_is_malformed_is_taken_as_it_was_sent() {
        for sent in ["a%zz:b", "a:50%", "a+b:%ff", "%:%", "a%20b:%2"] {
            let credentials = parse(&header(sent)).unwrap();
            assert_eq!(pairs(&credentials), [sent.split_once(':').unwrap()], "{sent}");
        }
    }

    #[test]
    fn p12_a_pair_that_is_only_text_once_decoded_is_one_pair() {
        let credentials = parse(&header(b"a:\xc3%A9")).unwrap();
        assert_eq!(pairs(&credentials), [("a", "é")]);
        for malformed in [&b"a:\xff"[..], b"\xff:a", b"a+b:\xff", b"%41:\xff"] {
            assert_eq!(
                parse(&header(malformed)).unwrap_err(),
                MalformedBasic::Credentials,
                "{malformed:?}"
            );
        }
    }

    #[test]
    fn p14_of_two_pairs_those_with_the_given_client_id_are_left() {
        let of = |sent: &str, id: &str| {
            let credentials = parse(&header(sent)).unwrap().of_client(id);
            let pairs = credentials.as_ref().map(pairs).unwrap_or_default();
            pairs
                .into_iter()
                .map(|(id, secret)| format!("{id}:{secret}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("a+b:x%41", "a b"), ["a b:xA"]);
        assert_eq!(of("a+b:x%41", "a+b"), ["a+b:x%41"]);
        assert_eq!(of("ab:x%41", "ab"), ["ab:xA", "ab:x%41"]);
        assert!(of("a+b:x", "ab").is_empty() && of("ab:x", "a b").is_empty());
    }

    #[test]
    fn p12_the_scheme_may_be_in_any_case() {
        let credentials = parse(format!("bAsIc {}", STANDARD.encode("a:b")).as_bytes()).unwrap();
        assert_eq!(pairs(&credentials), [("a", "b")]);
    }

    #[test]
    fn p15_another_scheme_is_distinguished_from_malformed_credentials() {
        assert_eq!(parse(b"Bearer abc").unwrap_err(), MalformedBasic::Scheme);
        assert_eq!(parse(b"Basic").unwrap_err(), MalformedBasic::Scheme);
        for bad in ["Basic ", "Basic !!!", "Basic YWJj"] {
            assert_eq!(parse(bad.as_bytes()).unwrap_err(), MalformedBasic::Credentials, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn p12_encoded_credentials_round_trip(id in "[ -~]{1,20}", secret in "\\PC{0,20}") {
            let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let credentials = parse(&header(format!("{}:{}", encode(&id), encode(&secret)))).unwrap();
            prop_assert_eq!(halves(&credentials.pair), (&*id, &*secret));
        }

        #[test]
        fn p12_credentials_sent_raw_are_one_of_the_pairs(id in "[ -9;-~]{1,20}", secret in "\\PC{0,20}") {
            let credentials = parse(&header(format!("{id}:{secret}"))).unwrap();
            prop_assert!(pairs(&credentials).contains(&(&*id, &*secret)));
        }
    }
}
