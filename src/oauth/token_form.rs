//! How the tokens of a client differ from those of others: their type, their form of the scope,
//! their custom claims and their default audience.

use std::str::FromStr;
use std::sync::Arc;

use strum::{EnumCount, IntoStaticStr, VariantArray};

use super::custom_claims::CustomClaims;

/// The `typ` in the header of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
pub enum TokenType {
    /// RFC 9068 §2.1: no other JWT has this type.
    #[default]
    #[strum(serialize = "at+jwt")]
    AccessToken,
    /// RFC 7519 §5.1: for readers that accept no other type.
    #[strum(serialize = "JWT")]
    Jwt,
}

impl TokenType {
    /// Every type.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("one for each variant");

    /// The value of `typ`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl FromStr for TokenType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let known = Self::ALL.into_iter().find(|typ| typ.name() == text);
        known.ok_or("at+jwt or JWT")
    }
}

/// The claims that hold the granted scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ScopeClaim {
    /// `scope` alone, a text (RFC 9068 §2.2.3).
    #[default]
    Scope,
    /// `scp` as well, an array, for readers that expect a list (docs/protocol.md#p109).
    Scp,
}

impl ScopeClaim {
    /// Every form.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("one for each variant");

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl FromStr for ScopeClaim {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let known = Self::ALL.into_iter().find(|claim| claim.name() == text);
        known.ok_or("scope or scp")
    }
}

/// The options of a client for its tokens; `None`: as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenOptions {
    /// The audience if the request names none. The client may name it, too.
    pub default_audience: Option<Arc<str>>,
    /// The custom claims.
    pub claims: Option<CustomClaims>,
    /// The claims for the scope.
    pub scope_claim: Option<ScopeClaim>,
    /// The type.
    pub typ: Option<TokenType>,
}

impl TokenOptions {
    /// The memory that the texts take, in bytes.
    pub fn bytes(&self) -> usize {
        let audience = self.default_audience.as_ref().map_or(0, |text| text.len());
        audience + self.claims.as_ref().map_or(0, |claims| claims.members().len())
    }
}

/// How one token is written, apart from its standard claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenForm {
    /// The custom claims.
    pub custom: Option<CustomClaims>,
    /// The claims for the scope.
    pub scope_claim: ScopeClaim,
    /// The type.
    pub typ: TokenType,
}
