//! A secret that an operator gives a client, in place of one that the server generates: in plain
//! text, or as its SHA-256 digest.
//!
//! Only the digest is stored, which protects a secret that cannot be guessed. So the text must look
//! generated, as an imported one that gets a digest does. A digest does not show the strength of
//! its secret: that is the responsibility of the operator.

use super::client_secret::ClientSecret;
use super::imported_secret;
use super::secret_hash::SecretHash;

/// What the text of a given secret must be.
pub const SECRET_MUST_BE: &str = "a generated secret: a UUID v4, at least 24 hexadecimal digits of one case, \
                                  at least 22 characters of base32, or at least 22 of base62, base64url or base64 \
                                  with letters of both cases, at most 512 bytes, and no words or patterns";

/// What a given digest must be.
pub const DIGEST_MUST_BE: &str =
    "the SHA-256 digest of a random secret, 64 hexadecimal digits, and not that of the empty text";

/// The hash of a given secret; `None` unless it looks generated. Takes about 0.25 ms.
pub fn hash(secret: &ClientSecret) -> Option<SecretHash> {
    imported_secret::looks_generated(secret).then(|| SecretHash::of(secret))
}

/// The hash for a given digest; `None` if it is malformed, or the digest of the empty text, which a
/// script yields when its variable is not set.
pub fn digest(text: &str) -> Option<SecretHash> {
    let empty = SecretHash::of(&ClientSecret::new(String::new()));
    SecretHash::from_digest(text).filter(|hash| !hash.is(&empty))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_a_generator_is_accepted_and_a_chosen_one_is_not() {
        let hash_of = |text: &str| hash(&ClientSecret::new(text.to_owned()));
        assert!(hash_of("IIykoV67FWfyBw84t1DEKcEKiUruGt89").is_some());
        assert!(hash_of("5294a18e-e784-4e39-a927-ce816c91c83e").is_some());
        for chosen in [
            "",
            "hunter2",
            "correct-horse-battery-staple",
            "0123456789abcdef0123456789abcdef",
        ] {
            assert!(hash_of(chosen).is_none(), "{chosen}");
        }
    }

    /// One that is not would be given to no client, so this is no more than a hint of a mistake.
    #[test]
    fn a_secret_of_this_server_is_accepted() {
        let rejected = (0..200).filter(|_| hash(&ClientSecret::generate()).is_none()).count();
        assert!(rejected < 3, "{rejected}");
    }

    #[test]
    fn a_digest_has_64_digits_and_is_not_that_of_the_empty_text() {
        let secret = ClientSecret::generate();
        let stored = SecretHash::of(&secret).to_stored();
        let digits = stored.strip_prefix("sha256:").unwrap();
        for text in [digits.to_owned(), digits.to_uppercase()] {
            assert!(digest(&text).unwrap().is(&SecretHash::of(&secret)));
        }
        const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for bad in [EMPTY, "", &stored, &digits[1..], &format!("{digits}0"), &"g".repeat(64)] {
            assert!(digest(bad).is_none(), "{bad}");
        }
    }
}
