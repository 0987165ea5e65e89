//! Random text from the operating system: ids, and the random part of a generated secret.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

/// Letters and digits only, so that clients which percent-encode Basic credentials and clients which do not agree.
pub const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `length` characters of `[A-Za-z0-9]`, each equally likely.
pub fn random_text(length: usize) -> String {
    // 248 is the largest multiple of 62 in a byte: what lies above is thrown away, or some letters would come more often.
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

/// One byte, or `None` when the operating system gives none: for what works without randomness too.
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
