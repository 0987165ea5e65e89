//! A client as RFC 6749 §2 knows it: who it is, how it proves that, and what it may have.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use strum::{EnumCount, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use super::alg::Alg;
use super::scope::Scope;
use super::stored_secret::StoredSecret;
use crate::random::random_text;
use crate::time::UnixMillis;

/// A client identifier: 1 to 128 characters of `%x20-7E` (RFC 6749 App. A.1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Arc<str>);

/// The longest client id, in characters.
pub const MAX_CLIENT_ID: usize = 128;

/// The length of an id that the server makes: 20 letters and digits, 119 bits.
const GENERATED_LENGTH: usize = 20;

impl ClientId {
    /// Parses an id; `None` when it is empty, too long or holds a character outside the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed =
            (1..=MAX_CLIENT_ID).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        well_formed.then(|| Self(text.into()))
    }

    /// A new id of `[A-Za-z0-9]`.
    pub fn generate() -> Self {
        Self(random_text(GENERATED_LENGTH).into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same text, shared.
    pub fn shared(&self) -> Arc<str> {
        self.0.clone()
    }
}

impl Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a client proves who it is (RFC 7591 §2, `token_endpoint_auth_method`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, ToSchema, VariantArray)]
#[schema(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum AuthMethod {
    /// HTTP Basic (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// `client_id` and `client_secret` in the body (RFC 6749 §2.3.1).
    ClientSecretPost,
}

impl AuthMethod {
    /// Every method, in the order in which documents list them.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("one for each variant");

    /// The registered name.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

impl FromStr for AuthMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        AuthMethod::ALL
            .into_iter()
            .find(|method| method.name() == text)
            .ok_or_else(|| "must be client_secret_basic or client_secret_post".to_owned())
    }
}

/// A registered client with everything a token request needs, parsed once when it is loaded.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// What people call it.
    pub name: String,
    /// A disabled client gets no token, and those it has are not active.
    pub enabled: bool,
    /// All it may ask for. Empty for a client that only checks tokens.
    pub scope: Scope,
    /// What it gets when it asks for nothing in particular.
    pub default_scope: Scope,
    /// The audiences it may name as `resource` (RFC 8707), besides the default one.
    pub audiences: Vec<Arc<str>>,
    /// The audiences whose tokens it may introspect: it is their resource server.
    pub introspection_audiences: Vec<Arc<str>>,
    /// The ways in which it may authenticate.
    pub auth_methods: Vec<AuthMethod>,
    /// The lifetime of its tokens in seconds, where it differs from `token.ttl`.
    pub ttl_seconds: Option<i64>,
    /// The algorithm of its tokens, where it differs from `token.alg`.
    pub alg: Option<Alg>,
    /// Its secrets; several during a rotation.
    pub secrets: Vec<StoredSecret>,
    /// When it was made.
    pub created_at: UnixMillis,
    /// When it was last changed.
    pub updated_at: UnixMillis,
}

/// The shortest and the longest lifetime that a client's tokens may have, in seconds: 1 s to 30 d.
pub const TTL_SECONDS: std::ops::RangeInclusive<i64> = 1..=30 * 24 * 3600;

/// Scopes with this prefix give rights on Mintage itself; they are never part of a default (P19).
pub const RESERVED_PREFIX: &str = "mintage:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_a_client_id_is_1_to_128_printable_characters() {
        assert!(ClientId::parse("a b:%+~").is_some());
        assert!(ClientId::parse(&"x".repeat(128)).is_some());
        for bad in ["", "tab\t", "nul\0", "é", &"x".repeat(129)] {
            assert!(ClientId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn p12_generated_ids_are_letters_and_digits() {
        let id = ClientId::generate();
        assert!(id.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(id, ClientId::generate());
    }
}
