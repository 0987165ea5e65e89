//! Hashing of imported plaintext secrets: whether a secret looks generated, and which hash is
//! stored.
//!
//! A digest is enough for a secret that cannot be guessed. A secret that a person chose could be
//! guessed quickly from a copy of the database if only its SHA-256 were stored, so it keeps a
//! password hash permanently (ADR 18).

use std::collections::HashSet;
use std::sync::Arc;

use super::client_secret::ClientSecret;
use super::password_hash::PasswordHash;
use super::secret_hash::SecretHash;

/// Minimum length of a secret that is treated as generated, in characters: 24 hexadecimal digits
/// are 96 bits. Ory Hydra generates 26 characters, Keycloak 32 or a UUID.
const MIN_LENGTH: usize = 24;

/// Minimum number of different characters: 24 random hexadecimal digits have 12 or 13, and rarely
/// fewer than 9.
const MIN_DIFFERENT: usize = 9;

/// Whether a secret looks generated, so that a digest protects it.
///
/// This is a heuristic that prefers a password hash when uncertain. A secret looks generated if it
/// is long, has many different characters, changes between letters, digits and cases more often
/// than words do, and has no repeated part.
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
    // In random letters and digits every second or third pair is a jump, in hexadecimal digits
    // every second.
    different.len() >= MIN_DIFFERENT && !repeats && jumps * 4 >= alphanumeric.len() && jumps >= MIN_LENGTH / 4
}

/// Whether the pair is a change from a letter to a digit or back, or from lower to upper case. A
/// change from upper to lower case is ignored, because every capitalized word contains one.
fn is_jump(from: u8, to: u8) -> bool {
    from.is_ascii_digit() != to.is_ascii_digit() || from.is_ascii_lowercase() && to.is_ascii_uppercase()
}

/// The stored hash of an imported plaintext secret. It takes 30 ms for a secret that looks chosen.
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
    fn secrets_generated_by_servers_look_generated() {
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
    fn chosen_secrets_do_not_look_generated() {
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
