//! The signing algorithms that Mintage supports (RFC 7518 §3.1, RFC 8037 §3.1). There is no `none`.

use std::fmt;
use std::str::FromStr;

/// A JWS algorithm that a client or the configuration may select.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Alg {
    /// ECDSA on P-256 with SHA-256: small tokens. The default.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits: for verifiers without support for newer
    /// algorithms.
    Rs256,
    /// RSASSA-PSS with SHA-256, 2048 bits.
    Ps256,
    /// HMAC with SHA-256: the fastest, but only this server can verify the token (by
    /// introspection).
    Hs256,
}

impl Alg {
    /// Every algorithm, in the order in which documents list them.
    pub const ALL: [Alg; 5] = [Alg::Es256, Alg::EdDsa, Alg::Rs256, Alg::Ps256, Alg::Hs256];

    /// The registered name, as in the `alg` header of a JWS.
    pub fn name(self) -> &'static str {
        match self {
            Alg::Es256 => "ES256",
            Alg::EdDsa => "EdDSA",
            Alg::Rs256 => "RS256",
            Alg::Ps256 => "PS256",
            Alg::Hs256 => "HS256",
        }
    }

    /// An index into an array with one element per algorithm.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether the key is a shared secret, which must never be published.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Alg::Hs256)
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Alg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Alg::ALL
            .into_iter()
            .find(|alg| alg.name() == text)
            .ok_or_else(|| "must be one of ES256, EdDSA, RS256, PS256, HS256".to_owned())
    }
}
