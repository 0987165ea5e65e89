//! HTTP Basic credentials of a client (RFC 7617), with the form encoding that RFC 6749 §2.3.1 adds.

use std::borrow::Cow;

use crate::encoding::{STANDARD, STANDARD_NO_PAD};
use base64::Engine;
use zeroize::Zeroizing;

use super::client_secret::ClientSecret;
use super::form;

/// Why an `Authorization` header contains no Basic credentials. The caller gets the same response
/// for each reason (docs/protocol.md#p15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedBasic {
    /// A scheme other than Basic.
    Scheme,
    /// Not base64, not UTF-8, no colon, or a bad escape.
    Credentials,
}

/// Parses `Basic <base64(form(id) ":" form(secret))>`. The scheme is case-insensitive.
pub fn parse(header: &[u8]) -> Result<(String, ClientSecret), MalformedBasic> {
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
    let id = form::decode(&decoded[..colon]).map_err(|_| MalformedBasic::Credentials)?;
    let id = id.into_owned();
    let secret = match form::decode(&decoded[colon + 1..]).map_err(|_| MalformedBasic::Credentials)? {
        Cow::Owned(secret) => secret,
        // Nothing was escaped: reuse the buffer, which leaves one copy less to zeroize.
        Cow::Borrowed(_) => {
            decoded.drain(..=colon);
            String::from_utf8(std::mem::take(&mut *decoded)).map_err(|_| MalformedBasic::Credentials)?
        }
    };
    Ok((id, ClientSecret::new(secret)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(credentials: &str) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(credentials)).into_bytes()
    }

    #[test]
    fn p12_the_first_colon_splits_and_both_halves_are_form_decoded() {
        let (id, secret) = parse(&header("a%3Ab+c:x:%25%C3%A9")).unwrap();
        assert_eq!((id.as_str(), secret.reveal()), ("a:b c", "x:%é"));
    }

    #[test]
    fn p12_the_scheme_may_be_in_any_case() {
        let (id, _) = parse(format!("bAsIc {}", STANDARD.encode("a:b")).as_bytes()).unwrap();
        assert_eq!(id, "a");
    }

    #[test]
    fn p15_another_scheme_is_distinguished_from_malformed_credentials() {
        assert_eq!(parse(b"Bearer abc").unwrap_err(), MalformedBasic::Scheme);
        assert_eq!(parse(b"Basic").unwrap_err(), MalformedBasic::Scheme);
        for bad in ["Basic ", "Basic !!!", "Basic YWJj"] {
            assert_eq!(parse(bad.as_bytes()).unwrap_err(), MalformedBasic::Credentials, "{bad}");
        }
        assert_eq!(parse(&header("a%zz:b")).unwrap_err(), MalformedBasic::Credentials);
    }

    proptest! {
        #[test]
        fn p12_encoded_credentials_round_trip(id in "[ -~]{1,20}", secret in "\\PC{0,20}") {
            let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let (got_id, got_secret) = parse(&header(&format!("{}:{}", encode(&id), encode(&secret)))).unwrap();
            prop_assert_eq!(got_id, id);
            prop_assert_eq!(got_secret.reveal(), secret);
        }
    }
}
