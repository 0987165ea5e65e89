//! Secrets that come in the clear from elsewhere: whether they look generated, and which hash is stored of them.
//!
//! A digest is enough for a secret that cannot be guessed. One that a person chose is guessed from a copy of the
//! database in no time if it is stored as SHA-256, so it keeps a password hash for good (ADR 18).

use std::collections::HashSet;
use std::sync::Arc;

use super::client_secret::ClientSecret;
use super::password_hash::PasswordHash;
use super::secret_hash::SecretHash;

/// Characters of the shortest secret that may count as generated: 24 hexadecimal digits are 96 bits. Ory Hydra generates
/// 26 characters, Keycloak 32 or a UUID.
const MIN_LENGTH: usize = 24;

/// Different characters that it has at least: 24 random hexadecimal digits have 12 or 13, and hardly ever fewer than 9.
const MIN_DIFFERENT: usize = 9;

/// Whether a secret looks as if a machine had generated it, so that its digest keeps it safe.
///
/// A guess, made to err on the other side: it is long, of many different characters, jumps between letters, digits and
/// cases as words do not, and no part of it comes twice.
pub fn looks_generated(secret: &ClientSecret) -> bool {
    let text = secret.reveal();
    if text.len() < MIN_LENGTH || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    let different: HashSet<u8> = text.bytes().collect();
    let mut parts: HashSet<&[u8]> = HashSet::new();
    let repeats = !text.as_bytes().windows(4).all(|part| parts.insert(part));
    let alphanumeric: Vec<u8> = text.bytes().filter(u8::is_ascii_alphanumeric).collect();
    let jumps = alphanumeric.windows(2).filter(|pair| is_jump(pair[0], pair[1])).count();
    // Of random letters and digits every second or third is a jump, of hexadecimal digits every second.
    different.len() >= MIN_DIFFERENT && !repeats && jumps * 4 >= alphanumeric.len() && jumps >= MIN_LENGTH / 4
}

/// From a letter to a digit or back, or from a small letter to a capital; a capital and small letters make a word.
fn is_jump(from: u8, to: u8) -> bool {
    from.is_ascii_digit() != to.is_ascii_digit() || from.is_ascii_lowercase() && to.is_ascii_uppercase()
}

/// What is stored of a secret that came in the clear; it takes 30 ms where the secret looks chosen.
pub fn hash(secret: &ClientSecret) -> SecretHash {
    match looks_generated(secret) {
        true => SecretHash::of(secret),
        false => SecretHash::Password(Arc::new(PasswordHash::of(secret))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::random_text;

    fn generated(text: &str) -> bool {
        looks_generated(&ClientSecret::new(text.into()))
    }

    #[test]
    fn what_servers_generate_looks_generated() {
        for text in [
            "IIykoV67FWfyBw84t1DEKcEKiUruGt89",
            "5294a18e-e784-4e39-a927-ce816c91c83e",
            "9f86d081884c7d659a2feaa0c55ad015",
            "mT6.k2Wq-8vX~rB1nY_4zL7hJd",
            "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQ",
        ] {
            assert!(generated(text), "{text}");
        }
    }

    #[test]
    fn nearly_all_random_texts_look_generated() {
        for length in [26, 32, 43] {
            let seen = (0..1000).filter(|_| generated(&random_text(length))).count();
            assert!(seen > 900, "{seen} of 1000 of length {length}");
        }
    }

    #[test]
    fn what_people_choose_does_not() {
        for text in [
            "",
            "secret",
            "hunter2",
            "x7Kq2mVw9",
            "correct horse battery staple correct horse",
            "companyname-orders-production-2024",
            "MyCompanyOrdersServiceProduction2024",
            "Password1Password2Password3Password4",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1",
            "12345678901234567890123456789012",
            "orders-service-client-secret-for-staging",
            "geheim-geheim-geheim-ü-1A2b3C4d5E6f",
        ] {
            assert!(!generated(text), "{text}");
        }
    }

    #[test]
    fn a_generated_secret_is_stored_as_a_digest_and_a_chosen_one_as_a_password_hash() {
        let stored = |text: &str| hash(&ClientSecret::new(text.into())).to_stored();
        assert!(stored("IIykoV67FWfyBw84t1DEKcEKiUruGt89").starts_with("sha256:"));
        assert!(stored("hunter2").starts_with("$argon2id$"));
    }
}
