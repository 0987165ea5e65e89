//! Password hashes for secrets that people choose: imported bcrypt, PBKDF2 and Argon2id, and
//! Argon2id created here.
//!
//! Verification takes from milliseconds to a second, so it never runs on a worker. The cost of a
//! hash is limited when it is parsed. Otherwise an imported file could stall the server.

use std::fmt;
use std::num::NonZeroU32;

use argon2::{Algorithm, Argon2, Params, PasswordVerifier, Version};
use aws_lc_rs::{pbkdf2, rand};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::client_secret::ClientSecret;
use crate::encoding::STANDARD_NO_PAD;

/// A password hash.
#[derive(Clone)]
pub enum PasswordHash {
    /// `$2a$`, `$2b$` or `$2y$`.
    Bcrypt(Box<str>),
    /// `$pbkdf2-sha256$` or `$pbkdf2-sha512$`, as Ory Hydra and passlib write them.
    Pbkdf2 {
        /// SHA-256 or SHA-512.
        algorithm: pbkdf2::Algorithm,
        /// Number of iterations.
        iterations: NonZeroU32,
        /// The salt.
        salt: Box<[u8]>,
        /// The derived key.
        hash: Box<[u8]>,
        /// The hash in its original notation.
        text: Box<str>,
    },
    /// `$argon2id$`, in the PHC form.
    Argon2id(Box<str>),
}

/// Maximum bcrypt cost: about a second.
const MAX_BCRYPT_COST: u32 = 14;

/// Maximum number of PBKDF2 rounds over all blocks of the output: about a second.
const MAX_ROUNDS: u32 = 2_000_000;

/// Maximum memory of one Argon2id verification, in KiB: 64 MiB.
const MAX_ARGON2_MEMORY: u32 = 64 << 10;

/// Maximum number of passes over that memory.
const MAX_ARGON2_PASSES: u32 = 10;

/// Maximum length of a hash in its text form, in bytes.
const MAX_TEXT: usize = 1024;

/// Cost of the hashes created here: the minimum that OWASP recommends, 19 MiB in two passes. About
/// 30 ms.
const ARGON2_MEMORY: u32 = 19 << 10;
const ARGON2_PASSES: u32 = 2;

/// Standard base64 with `.` in place of `+`, as passlib writes it, with or without padding.
const AB64: GeneralPurpose = GeneralPurpose::new(&PASSLIB, LENIENT);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const PASSLIB: alphabet::Alphabet =
    match alphabet::Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./") {
        Ok(alphabet) => alphabet,
        Err(_) => panic!("it has 64 different characters"),
    };

impl PasswordHash {
    /// Whether a text has the form of a password hash.
    pub fn looks_like_one(text: &str) -> bool {
        text.starts_with('$')
    }

    /// Parses a hash.
    ///
    /// # Errors
    /// The kind is unsupported, the hash is malformed, or its cost is too high.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const UNSUPPORTED: &str = "its secret's hash is neither bcrypt nor PBKDF2 with SHA-256 or SHA-512 nor Argon2id";
        if text.len() > MAX_TEXT {
            return Err(MALFORMED);
        }
        let scheme = text.split('$').nth(1).unwrap_or_default();
        match scheme {
            "2a" | "2b" | "2y" => bcrypt(text),
            "pbkdf2-sha256" => pbkdf2(text, pbkdf2::PBKDF2_HMAC_SHA256),
            "pbkdf2-sha512" => pbkdf2(text, pbkdf2::PBKDF2_HMAC_SHA512),
            "argon2id" => argon2id(text),
            _ => Err(UNSUPPORTED),
        }
    }

    /// The Argon2id hash of a secret, with a random salt. Takes about 30 ms.
    pub fn of(secret: &ClientSecret) -> Self {
        let mut salt = [0; 16];
        rand::fill(&mut salt).expect("the operating system's randomness is available once it has booted");
        let mut hash = [0; 32];
        let params = Params::new(ARGON2_MEMORY, ARGON2_PASSES, 1, None).expect("these are valid parameters of Argon2");
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(secret.reveal().as_bytes(), &salt, &mut hash)
            .expect("salt and hash have lengths that Argon2 accepts");
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        let parameters = format!("m={ARGON2_MEMORY},t={ARGON2_PASSES},p=1");
        Self::Argon2id(format!("$argon2id$v=19${parameters}${salt}${hash}").into())
    }

    /// The hash in its original notation, which the database also stores.
    pub fn text(&self) -> &str {
        match self {
            Self::Bcrypt(text) | Self::Argon2id(text) | Self::Pbkdf2 { text, .. } => text,
        }
    }

    /// Whether this is the hash of `secret`. Takes from milliseconds to a second, so never call
    /// this on a worker.
    pub fn verify(&self, secret: &ClientSecret) -> bool {
        let secret = secret.reveal().as_bytes();
        match self {
            // bcrypt repeats a short secret with its terminating zero to fill its key: "a\0a" would
            // be equivalent to "a".
            Self::Bcrypt(_) if secret.contains(&0) => false,
            Self::Bcrypt(text) => bcrypt::verify(secret, text).unwrap_or(false),
            Self::Pbkdf2 {
                algorithm,
                iterations,
                salt,
                hash,
                ..
            } => pbkdf2::verify(*algorithm, *iterations, salt, secret, hash).is_ok(),
            Self::Argon2id(text) => Argon2::default().verify_password(secret, &**text).is_ok(),
        }
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

const MALFORMED: &str = "its secret's hash is malformed";
const TOO_COSTLY: &str = "its secret's hash costs too much to verify";

/// `$2b$12$` and 53 characters.
fn bcrypt(text: &str) -> Result<PasswordHash, &'static str> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| MALFORMED)?;
    match parts.get_cost() {
        // The library supports costs of at least 4. Reject others at import rather than at every
        // authentication.
        0..4 => Err(MALFORMED),
        4..=MAX_BCRYPT_COST => Ok(PasswordHash::Bcrypt(text.into())),
        _ => Err(TOO_COSTLY),
    }
}

/// `$pbkdf2-sha256$i=25000,l=32$SALT$HASH` (Hydra) or `$pbkdf2-sha256$25000$SALT$HASH` (passlib).
fn pbkdf2(text: &str, algorithm: pbkdf2::Algorithm) -> Result<PasswordHash, &'static str> {
    let parts: Vec<&str> = text.split('$').collect();
    let ["", _, parameters, salt, hash] = parts[..] else {
        return Err(MALFORMED);
    };
    let (iterations, engine) = match parameters.strip_prefix("i=") {
        Some(rest) => (rest.split(',').next().unwrap_or_default(), &BASE64),
        None => (parameters, &AB64),
    };
    let iterations: NonZeroU32 = iterations.parse().map_err(|_| MALFORMED)?;
    let salt = engine.decode(salt).map_err(|_| MALFORMED)?;
    let hash = engine.decode(hash).map_err(|_| MALFORMED)?;
    if !(16..=64).contains(&hash.len()) {
        return Err(MALFORMED);
    }
    let block = if algorithm == pbkdf2::PBKDF2_HMAC_SHA256 {
        32
    } else {
        64
    };
    // Each block of the output runs all iterations.
    let blocks = if hash.len() > block { 2 } else { 1 };
    if iterations.get() > MAX_ROUNDS / blocks {
        return Err(TOO_COSTLY);
    }
    Ok(PasswordHash::Pbkdf2 {
        algorithm,
        iterations,
        salt: salt.into(),
        hash: hash.into(),
        text: text.into(),
    })
}

/// `$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH`
fn argon2id(text: &str) -> Result<PasswordHash, &'static str> {
    let read = argon2::PasswordHash::new(text).map_err(|_| MALFORMED)?;
    let params = Params::try_from(&read).map_err(|_| MALFORMED)?;
    if read.salt.is_none() || read.hash.is_none() {
        return Err(MALFORMED);
    }
    match params.m_cost() <= MAX_ARGON2_MEMORY && params.t_cost() <= MAX_ARGON2_PASSES {
        true => Ok(PasswordHash::Argon2id(text.into())),
        false => Err(TOO_COSTLY),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn verifies(hash: &str, secret: &str) -> bool {
        PasswordHash::parse(hash)
            .unwrap()
            .verify(&ClientSecret::new(secret.into()))
    }

    #[test]
    fn a_bcrypt_hash_verifies_its_secret_only() {
        let hash = bcrypt::hash("hunter2", 4).unwrap();
        assert!(verifies(&hash, "hunter2"));
        assert!(!verifies(&hash, "hunter3"));
    }

    #[test]
    fn a_known_pbkdf2_vector_verifies_in_both_forms() {
        // RFC 7914 §11: PBKDF2-HMAC-SHA-256 of "passwd" with the salt "salt", once, 64 bytes.
        let hash = "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc\
                    49ca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783";
        let bytes: Vec<u8> = (0..hash.len() / 2)
            .map(|place| u8::from_str_radix(&hash[2 * place..2 * place + 2], 16).unwrap())
            .collect();
        let hydra = format!(
            "$pbkdf2-sha256$i=1,l=64${}${}",
            BASE64.encode("salt"),
            BASE64.encode(&bytes)
        );
        let passlib = format!("$pbkdf2-sha256$1${}${}", AB64.encode("salt"), AB64.encode(&bytes));
        for hash in [hydra, passlib] {
            assert!(verifies(&hash, "passwd"), "{hash}");
            assert!(verifies(hash.trim_end_matches('='), "passwd"), "{hash}");
            assert!(!verifies(&hash, "Passwd"));
        }
    }

    #[test]
    fn a_known_argon2id_hash_verifies() {
        // Hash of the secret "password", from the tests of the reference implementation.
        let hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(verifies(hash, "password"));
        assert!(!verifies(hash, "Password"));
    }

    #[test]
    fn malformed_hashes_are_rejected() {
        for bad in [
            "",
            "$",
            "$1$abc$def",
            "$2b$12$short",
            "$2b$xx$abcdefghijklmnopqrstuv",
            "$pbkdf2-sha1$i=1,l=20$c2FsdA$c2FsdHNhbHRzYWx0c2FsdHNhbHQ",
            "$pbkdf2-sha256$i=x$c2FsdA$c2FsdA",
            "$pbkdf2-sha256$i=0,l=32$c2FsdA$c2FsdHNhbHRzYWx0c2FsdHNhbHQ",
            "$pbkdf2-sha256$i=1,l=32$c2FsdA$c2FsdA",
            "$argon2id$v=19$t=3$c29tZXNhbHQ$nf65EOgLrQMR",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ",
            "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            &format!("$2b$03${}", ".".repeat(53)),
            &format!("$2b$10${}", "!".repeat(53)),
            &format!(
                "$pbkdf2-sha256$i=1,l=32${}$c2FsdHNhbHRzYWx0c2FsdHNhbHQ",
                "c2Fs".repeat(300)
            ),
        ] {
            let rejected = PasswordHash::parse(bad).unwrap_err();
            assert!(
                rejected == MALFORMED || rejected.contains("neither"),
                "{bad}: {rejected}"
            );
        }
    }

    #[test]
    fn hashes_of_excessive_cost_are_rejected() {
        let argon2id = |parameters: &str| {
            format!("$argon2id$v=19${parameters}$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4")
        };
        let long = "c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHNhbHRz";
        for (acceptable, too_much) in [
            (
                format!("$2b$14${}", ".".repeat(53)),
                format!("$2b$15${}", ".".repeat(53)),
            ),
            (
                "$pbkdf2-sha512$i=2000000,l=32$c2FsdA$c2FsdHNhbHRzYWx0c2FsdHNhbHQ".into(),
                "$pbkdf2-sha512$i=2000001,l=32$c2FsdA$c2FsdHNhbHRzYWx0c2FsdHNhbHQ".into(),
            ),
            (
                format!("$pbkdf2-sha256$i=1000000,l=45$c2FsdA${long}"),
                format!("$pbkdf2-sha256$i=1000001,l=45$c2FsdA${long}"),
            ),
            (argon2id("m=65536,t=10,p=4"), argon2id("m=4194304,t=1,p=4")),
            (argon2id("m=65536,t=10,p=4"), argon2id("m=65536,t=11,p=4")),
        ] {
            assert!(PasswordHash::parse(&acceptable).is_ok(), "{acceptable}");
            assert_eq!(PasswordHash::parse(&too_much).unwrap_err(), TOO_COSTLY, "{too_much}");
        }
    }

    #[test]
    fn a_created_hash_parses_and_verifies_its_secret_only() {
        let secret = ClientSecret::new("hunter2".into());
        let (first, second) = (PasswordHash::of(&secret), PasswordHash::of(&secret));
        assert!(verifies(first.text(), "hunter2") && !verifies(first.text(), "hunter3"));
        assert_ne!(first.text(), second.text(), "each hash has its own salt");
    }

    #[test]
    fn bcrypt_rejects_a_secret_that_repeats_another() {
        let hash = bcrypt::hash("a", 4).unwrap();
        assert!(verifies(&hash, "a") && !verifies(&hash, "a\0a"));
    }

    proptest! {
        #[test]
        fn a_parsed_hash_keeps_its_original_text(text in r"\$(2b|pbkdf2-sha256|argon2id)\$[ -~]{0,80}|[\PC$]{0,80}") {
            if let Ok(hash) = PasswordHash::parse(&text) {
                prop_assert_eq!(hash.text(), text);
            }
        }
    }

    #[test]
    fn g8_debug_does_not_reveal_a_hash() {
        let hash = PasswordHash::parse(&bcrypt::hash("hunter2", 4).unwrap()).unwrap();
        assert_eq!(format!("{hash:?}"), "PasswordHash(…)");
    }
}
