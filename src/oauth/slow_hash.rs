//! Hashes of secrets from other servers, slow because they were made for passwords: bcrypt, PBKDF2, Argon2id.
//!
//! Verifying one takes milliseconds, so it is done off the workers, and once: then the secret is kept by the fast hash.
//! What a hash may cost is bounded, or a file could stop the server.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::secret::ClientSecret;

/// A slow hash.
#[derive(Clone)]
pub enum SlowHash {
    /// `$2a$`, `$2b$` or `$2y$`.
    Bcrypt(Box<str>),
    /// `$pbkdf2-sha256$` or `$pbkdf2-sha512$`, as Ory Hydra and passlib write them.
    Pbkdf2 {
        /// SHA-256 or SHA-512.
        algorithm: pbkdf2::Algorithm,
        /// How often it is applied.
        iterations: NonZeroU32,
        /// What was hashed with the secret.
        salt: Box<[u8]>,
        /// What came out.
        hash: Box<[u8]>,
        /// As it was written.
        text: Box<str>,
    },
    /// `$argon2id$`, in the PHC form.
    Argon2id(Box<str>),
}

/// The highest bcrypt cost: about a second.
const MAX_BCRYPT_COST: u32 = 14;

/// The most PBKDF2 iterations: about a second.
const MAX_ITERATIONS: u32 = 2_000_000;

/// The most memory of one Argon2id verification, in KiB: 64 MiB.
const MAX_ARGON2_MEMORY: u32 = 64 << 10;

/// The most passes over that memory.
const MAX_ARGON2_PASSES: u32 = 10;

/// Standard base64 with `.` for `+`, as passlib writes it, and without padding or with it.
const AB64: GeneralPurpose = GeneralPurpose::new(&PASSLIB, LENIENT);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const PASSLIB: alphabet::Alphabet =
    match alphabet::Alphabet::new("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./") {
        Ok(alphabet) => alphabet,
        Err(_) => panic!("it has 64 different characters"),
    };

impl SlowHash {
    /// Whether a text looks like a hash at all, and not like a secret.
    pub fn looks_like_one(text: &str) -> bool {
        text.starts_with('$')
    }

    /// Reads a hash.
    ///
    /// # Errors
    /// What is wrong with it: it is of no known kind, malformed, or costs too much.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const UNKNOWN: &str = "its secret's hash is neither bcrypt nor PBKDF2 nor Argon2id";
        let scheme = text.split('$').nth(1).unwrap_or_default();
        match scheme {
            "2a" | "2b" | "2y" => bcrypt(text),
            "pbkdf2-sha256" => pbkdf2(text, pbkdf2::PBKDF2_HMAC_SHA256),
            "pbkdf2-sha512" => pbkdf2(text, pbkdf2::PBKDF2_HMAC_SHA512),
            "argon2id" => argon2id(text),
            _ => Err(UNKNOWN),
        }
    }

    /// The form in which it came, in which the database keeps it too.
    pub fn text(&self) -> &str {
        match self {
            Self::Bcrypt(text) | Self::Argon2id(text) | Self::Pbkdf2 { text, .. } => text,
        }
    }

    /// Whether it is the hash of `secret`. It takes from milliseconds to a second: never on a worker.
    pub fn verify(&self, secret: &ClientSecret) -> bool {
        let secret = secret.reveal().as_bytes();
        match self {
            Self::Bcrypt(text) => bcrypt::verify(secret, text).unwrap_or(false),
            Self::Pbkdf2 {
                algorithm,
                iterations,
                salt,
                hash,
                ..
            } => pbkdf2::verify(*algorithm, *iterations, salt, secret, hash).is_ok(),
            Self::Argon2id(text) => {
                use argon2::PasswordVerifier;
                argon2::Argon2::default().verify_password(secret, &**text).is_ok()
            }
        }
    }
}

impl fmt::Debug for SlowHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SlowHash(…)")
    }
}

const MALFORMED: &str = "its secret's hash is malformed";
const TOO_COSTLY: &str = "its secret's hash costs too much to verify";

/// `$2b$12$` and 53 characters.
fn bcrypt(text: &str) -> Result<SlowHash, &'static str> {
    let cost: u32 = text.get(4..6).and_then(|cost| cost.parse().ok()).ok_or(MALFORMED)?;
    let well_formed = text.is_ascii() && text.len() == 60 && text.as_bytes()[6] == b'$' && cost >= 4;
    match (well_formed, cost <= MAX_BCRYPT_COST) {
        (false, _) => Err(MALFORMED),
        (true, false) => Err(TOO_COSTLY),
        (true, true) => Ok(SlowHash::Bcrypt(text.into())),
    }
}

/// `$pbkdf2-sha256$i=25000,l=32$SALT$HASH` (Hydra) or `$pbkdf2-sha256$25000$SALT$HASH` (passlib).
fn pbkdf2(text: &str, algorithm: pbkdf2::Algorithm) -> Result<SlowHash, &'static str> {
    let parts: Vec<&str> = text.split('$').collect();
    let ["", _, parameters, salt, hash] = parts[..] else {
        return Err(MALFORMED);
    };
    let (iterations, engine) = match parameters.strip_prefix("i=") {
        Some(rest) => (rest.split(',').next().unwrap_or_default(), &BASE64),
        None => (parameters, &AB64),
    };
    let iterations: NonZeroU32 = iterations.parse().map_err(|_| MALFORMED)?;
    if iterations.get() > MAX_ITERATIONS {
        return Err(TOO_COSTLY);
    }
    let salt = engine.decode(salt).map_err(|_| MALFORMED)?;
    let hash = engine.decode(hash).map_err(|_| MALFORMED)?;
    if !(16..=64).contains(&hash.len()) || salt.len() > 1024 {
        return Err(MALFORMED);
    }
    Ok(SlowHash::Pbkdf2 {
        algorithm,
        iterations,
        salt: salt.into(),
        hash: hash.into(),
        text: text.into(),
    })
}

/// `$argon2id$v=19$m=65536,t=3,p=4$SALT$HASH`
fn argon2id(text: &str) -> Result<SlowHash, &'static str> {
    let parameters = text.split('$').find(|part| part.starts_with("m=")).ok_or(MALFORMED)?;
    let parameter = |name: &str| -> Option<u32> {
        let value = parameters.split(',').find_map(|part| part.strip_prefix(name));
        value.and_then(|value| value.parse().ok())
    };
    let (memory, passes) = (parameter("m="), parameter("t="));
    match (memory, passes) {
        (Some(memory), Some(passes)) if memory > MAX_ARGON2_MEMORY || passes > MAX_ARGON2_PASSES => Err(TOO_COSTLY),
        (Some(_), Some(_)) if text.split('$').count() == 6 && text.len() <= 512 => Ok(SlowHash::Argon2id(text.into())),
        _ => Err(MALFORMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifies(hash: &str, secret: &str) -> bool {
        SlowHash::parse(hash).unwrap().verify(&ClientSecret::new(secret.into()))
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
                    a49cca9cccf179b645991664b39d77ef317c71b845b1e30bd509112041d3a19783";
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
        // Of the secret "password", from the reference implementation's own tests.
        let hash = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert!(verifies(hash, "password"));
        assert!(!verifies(hash, "Password"));
    }

    #[test]
    fn what_is_no_hash_or_costs_too_much_is_refused() {
        for bad in [
            "",
            "$",
            "$1$abc$def",
            "$2b$12$short",
            "$2b$xx$abcdefghijklmnopqrstuv",
            "$pbkdf2-sha256$i=x$c2FsdA$c2FsdA",
            "$pbkdf2-sha256$i=0,l=32$c2FsdA$c2FsdHNhbHRzYWx0c2FsdHNhbHQ",
            "$pbkdf2-sha256$i=1,l=32$c2FsdA$c2FsdA",
            "$pbkdf2-sha256$i=2000001,l=32$c2FsdA$c2FsdHNhbHRzYWx0c2FsdHNhbHQ",
            "$argon2id$v=19$m=1048576,t=3,p=4$c29tZXNhbHQ$nf65EOgLrQMR",
            "$argon2id$v=19$t=3$c29tZXNhbHQ$nf65EOgLrQMR",
            &format!("$2b$15${}", "a".repeat(53)),
            &format!("$2b$03${}", "a".repeat(53)),
        ] {
            assert!(SlowHash::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn g8_debug_shows_nothing_of_a_hash() {
        let hash = SlowHash::parse(&bcrypt::hash("hunter2", 4).unwrap()).unwrap();
        assert_eq!(format!("{hash:?}"), "SlowHash(…)");
    }
}
