//! Base64, base64url and hexadecimal digits (RFC 4648 §4, §5, §8).
//!
//! Base64 uses the processor's vector instructions where available, because every request decodes
//! credentials or a token, or encodes a token.

use std::sync::LazyLock;

use base64::engine::general_purpose::{NO_PAD, PAD};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use portable::{Codec, standard, url_safe};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use vector::{Codec, standard, url_safe};

/// Base64 with padding.
pub static STANDARD: LazyLock<Codec> = LazyLock::new(|| standard(PAD));

/// Base64 without padding.
pub static STANDARD_NO_PAD: LazyLock<Codec> = LazyLock::new(|| standard(NO_PAD));

/// Base64url without padding: the parts of a JWS (RFC 7515 §2).
pub static URL_SAFE_NO_PAD: LazyLock<Codec> = LazyLock::new(|| url_safe(NO_PAD));

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector {
    use base64::engine::GeneralPurposeConfig;
    pub use base64::engine::Simd as Codec;

    pub fn standard(config: GeneralPurposeConfig) -> Codec {
        Codec::standard(config)
    }

    pub fn url_safe(config: GeneralPurposeConfig) -> Codec {
        Codec::url_safe(config)
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod portable {
    pub use base64::engine::GeneralPurpose as Codec;
    use base64::{alphabet, engine::GeneralPurposeConfig};

    pub fn standard(config: GeneralPurposeConfig) -> Codec {
        Codec::new(&alphabet::STANDARD, config)
    }

    pub fn url_safe(config: GeneralPurposeConfig) -> Codec {
        Codec::new(&alphabet::URL_SAFE, config)
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The byte that two hexadecimal digits represent. `None` if either is not a hexadecimal digit.
#[inline]
pub fn from_hex(high: u8, low: u8) -> Option<u8> {
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

#[inline]
fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_reads_back_from_its_digits() {
        for byte in 0..=u8::MAX {
            let text = hex(&[byte]);
            for text in [text.clone(), text.to_uppercase()] {
                assert_eq!(from_hex(text.as_bytes()[0], text.as_bytes()[1]), Some(byte), "{text}");
            }
        }
        assert_eq!(hex(&[0, 0xff, 0x1a]), "00ff1a");
        for bad in ["g0", "0g", " 0", "/0", ":0", "@0", "`0"] {
            assert_eq!(from_hex(bad.as_bytes()[0], bad.as_bytes()[1]), None, "{bad}");
        }
    }
}
