//! Random text from the operating system, for ids and generated secrets.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// Letters and digits only. Percent-encoding leaves these unchanged, so Basic credentials are the
/// same whether a client encodes them or not.
pub const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// A random text of `length` characters of `[A-Za-z0-9]`, each equally likely.
pub fn random_text(length: usize) -> String {
    // The largest multiple of 62 that a byte holds. Bytes from there on are discarded. Otherwise
    // some characters would be more likely than others.
    const UNBIASED: u8 = 248;
    let mut text = String::with_capacity(length);
    let mut bytes = Zeroizing::new([0u8; 64]);
    while text.len() < length {
        rand::fill(&mut *bytes).expect("the operating system's randomness is available once it has booted");
        for byte in bytes.iter().filter(|byte| **byte < UNBIASED) {
            if text.len() < length {
                text.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
    }
    text
}

/// A random byte, or `None` if the operating system provides none. For callers that can work
/// without randomness.
pub fn random_byte() -> Option<u8> {
    let mut byte = [0];
    rand::fill(&mut byte).ok().map(|()| byte[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_text_has_its_length_and_letters_and_digits_only() {
        for length in [0, 1, 64, 200] {
            let text = random_text(length);
            assert_eq!(text.len(), length);
            assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{text}");
        }
        assert_ne!(random_text(16), random_text(16));
    }
}
