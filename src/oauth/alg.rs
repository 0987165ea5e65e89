//! The signing algorithms that Mintage supports (RFC 7518 §3.1, RFC 8037 §3.1). There is no `none`.

use std::fmt;
use std::str::FromStr;

use strum::{EnumCount, IntoStaticStr, VariantArray};

/// A JWS algorithm that a client or the configuration may select.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Alg {
    /// ECDSA on P-256 with SHA-256: small tokens. The default.
    Es256,
    /// Ed25519.
    #[strum(serialize = "EdDSA")]
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
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("one for each variant");

    /// The registered name, as in the `alg` header of a JWS.
    pub fn name(self) -> &'static str {
        self.into()
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
