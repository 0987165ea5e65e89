//! Hashing of imported plaintext secrets: whether a secret looks generated, and which hash is
//! stored.
//!
//! A digest is enough for a secret that cannot be guessed. A secret that a person chose could be
//! guessed quickly from a copy of the database if only its SHA-256 were stored, so it keeps a
//! password hash permanently (ADR 18).

mod alphabet;
mod description;
mod keyboard;
#[cfg(test)]
mod samples;
mod writing;

use std::sync::{Arc, LazyLock};

use zeroize::Zeroizing;

use self::alphabet::Alphabet;
use super::client_secret::ClientSecret;
use super::password_hash::PasswordHash;
use super::secret_hash::SecretHash;

/// A secret that can be described in so many bits fewer than a random one was chosen by a person.
/// Of random secrets, at most 2^-12 can, and 1 in 90,000 in fact.
const MAX_SAVED_BITS: f64 = 12.0;

/// Maximum length of a text that is read. A longer secret looks chosen.
const MAX_LENGTH: usize = 512;

static ALPHABETS: LazyLock<Vec<Alphabet>> = LazyLock::new(alphabet::all);

/// Whether a secret looks generated, so that a digest protects it: it has the form of a known
/// generator's, and no model of what people choose describes it much shorter than random. Takes
/// about 0.25 ms.
pub fn looks_generated(secret: &ClientSecret) -> bool {
    saved_bits(secret.reveal()).is_some_and(|bits| bits < MAX_SAVED_BITS)
}

/// The bits by which a text of a known generator's form can be described shorter than random.
/// `None` for any other text.
fn saved_bits(text: &str) -> Option<f64> {
    if text.len() > MAX_LENGTH {
        return None;
    }
    let digits = uuid_digits(text);
    let body = digits
        .as_ref()
        .map_or_else(|| text.trim_end_matches('='), |digits| digits.as_str());
    let body = body.as_bytes();
    let alphabet = ALPHABETS.iter().find(|alphabet| alphabet.spells(body))?;
    alphabet
        .may_be_generated(body)
        .then(|| description::saved_bits(body, alphabet))
}

/// The 32 hexadecimal digits of a random UUID (RFC 9562 §5.4), in lower case.
fn uuid_digits(text: &str) -> Option<Zeroizing<String>> {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let bytes = text.as_bytes();
    let is_uuid = bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match HYPHENS.contains(&at) {
            true => *byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
        && bytes[14] == b'4'
        && b"89abAB".contains(&bytes[19]);
    is_uuid.then(|| Zeroizing::new(text.replace('-', "").to_ascii_lowercase()))
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
    use super::samples::Random;
    use super::*;

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

    /// The known generators, by name. `number` seeds each secret.
    fn assert_random_secrets_look_generated(of_each: u64, at_most: usize) {
        for (name, generator) in samples::GENERATORS {
            let chosen: Vec<String> = (0..of_each)
                .map(|number| generator(&mut Random::new(number)))
                .filter(|secret| !generated(secret))
                .collect();
            assert!(chosen.len() <= at_most, "{name}: {chosen:?}");
        }
    }

    #[test]
    fn random_secrets_look_generated() {
        assert_random_secrets_look_generated(150, 0);
    }

    /// Fewer than 1 in 10,000 of each generator.
    #[test]
    #[ignore = "takes minutes without optimization: scripts/test --soak"]
    fn soak_random_secrets_look_generated() {
        assert_random_secrets_look_generated(65_000, 6);
    }

    /// None of 10,000 secrets as people make them, of 22 characters or more.
    fn assert_chosen_secrets_do_not_look_generated(of_each: u64) {
        for (name, habit) in samples::HABITS {
            for number in 0..of_each {
                let secret = habit(&mut Random::new(number));
                assert!(!generated(&secret), "{name}: {secret}");
            }
        }
    }

    #[test]
    fn secrets_as_people_make_them_do_not_look_generated() {
        assert_chosen_secrets_do_not_look_generated(120);
    }

    #[test]
    #[ignore = "takes minutes without optimization: scripts/test --soak"]
    fn soak_secrets_as_people_make_them_do_not_look_generated() {
        assert_chosen_secrets_do_not_look_generated(10_000);
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
            "1q2w3e4r5t6y7u8i9o0p1a2s",
            "P4ssw0rd-Pr0d-S3rv1ce-2024!",
            "MyS3cr3tP4ssw0rdF0rPr0d!",
            "MyS3cr3tP4ssw0rdF0rPr0d2024",
            "Qwertyuiop1234567890Asdfgh",
            "deadbeefdeadbeefdeadbeef",
            "00000000-0000-4000-8000-000000000000",
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
