//! A registered client (RFC 6749 §2): its identifier, authentication and permissions.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use strum::{EnumCount, IntoStaticStr, VariantArray};
use utoipa::ToSchema;

use super::alg::Alg;
use super::bounds::MAX_CLIENT_ID;
use super::labels::Labels;
use super::scope::Scope;
use super::stored_secret::StoredSecret;
use super::token_form::TokenOptions;
use crate::random::random_text;
use crate::time::UnixMillis;

/// A client identifier: 1 to 128 characters of `%x20-7E` (RFC 6749 App. A.1).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(Arc<str>);

/// Length of a generated id: 20 letters and digits, 119 bits.
const GENERATED_LENGTH: usize = 20;

impl ClientId {
    /// Parses an id. `None` if it is empty, too long or contains a character outside the grammar.
    pub fn parse(text: &str) -> Option<Self> {
        let well_formed =
            (1..=MAX_CLIENT_ID).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        well_formed.then(|| Self(text.into()))
    }

    /// Generates an id of `[A-Za-z0-9]`.
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

/// How a client authenticates (RFC 7591 §2, `token_endpoint_auth_method`).
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

/// A registered client with everything that a token request needs, parsed once when it is loaded.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its identifier.
    pub id: ClientId,
    /// The display name.
    pub name: String,
    /// Whether the client is enabled. A disabled client gets no token, and none of its tokens is
    /// active.
    pub enabled: bool,
    /// Every scope that the client may request. Empty for a client that only validates tokens.
    pub scope: Scope,
    /// The scope granted if the request has no `scope`.
    pub default_scope: Scope,
    /// The audiences that the client may request as `resource` (RFC 8707) or `audience`, in addition
    /// to the default audience.
    pub audiences: Vec<Arc<str>>,
    /// The introspection audiences: the client may introspect tokens for any of these.
    pub introspection_audiences: Vec<Arc<str>>,
    /// The authentication methods that the client may use.
    pub auth_methods: Vec<AuthMethod>,
    /// Lifetime of the client's tokens in seconds. `None`: `token.ttl`.
    pub ttl_seconds: Option<i64>,
    /// Algorithm of the client's tokens. `None`: `token.alg`.
    pub alg: Option<Alg>,
    /// How its tokens differ from those of other clients.
    pub token: TokenOptions,
    /// The labels. Empty in a cache, because only operators need them.
    pub labels: Labels,
    /// The secrets. There are several during a rotation.
    pub secrets: Vec<StoredSecret>,
    /// When the client was created.
    pub created_at: UnixMillis,
    /// When the client was last changed.
    pub updated_at: UnixMillis,
}

impl Client {
    /// The memory that the client takes, in bytes, without the overhead of the allocator.
    pub fn bytes(&self) -> usize {
        /// The counts of an `Arc`.
        const COUNTS: usize = 16;
        let texts = |texts: &[Arc<str>]| -> usize {
            let bytes = |text: &Arc<str>| size_of::<Arc<str>>() + COUNTS + text.len();
            texts.iter().map(bytes).sum()
        };
        let scopes = self.scope.as_str().len() + self.default_scope.as_str().len();
        size_of::<Self>()
            + self.id.as_str().len()
            + self.name.len()
            + scopes
            + texts(&self.audiences)
            + texts(&self.introspection_audiences)
            + self.token.bytes()
            + self.secrets.iter().map(StoredSecret::bytes).sum::<usize>()
    }
}

/// Allowed lifetimes of a client's tokens, in seconds: 1 s to 30 d.
pub const TTL_SECONDS: std::ops::RangeInclusive<i64> = 1..=30 * 24 * 3600;

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
