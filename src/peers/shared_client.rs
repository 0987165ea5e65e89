//! A client as stored in Redis: encrypted JSON, with the number of the change log up to which it
//! contains all changes.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::oauth::client::{Client, ClientId};
use crate::oauth::custom_claims::CustomClaims;
use crate::oauth::duty::RESERVED_PREFIX;
use crate::oauth::scope::Scope;
use crate::oauth::secret_hash::SecretHash;
use crate::oauth::stored_secret::{LastUsed, StoredSecret};
use crate::oauth::token_form::TokenOptions;
use crate::peers::encryption::DeploymentKeys;
use crate::time::UnixMillis;

/// The version of the format. Raise it with every change of the format: instances of two versions
/// may share a Redis, and each must ignore the values of the other.
const VERSION: u8 = 2;

/// A client, and how old it is.
#[derive(Clone, Debug)]
pub struct SharedClient {
    /// The client.
    pub client: Client,
    /// The client contains all of its changes up to this number.
    pub number: i64,
    /// When it was read from the database, by the clock of the instance that read it.
    pub loaded_at: UnixMillis,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    number: i64,
    loaded_at_ms: i64,
    name: String,
    enabled: bool,
    scope: String,
    default_scope: String,
    audiences: Vec<String>,
    serves: Vec<String>,
    auth_methods: Vec<String>,
    ttl_seconds: Option<i64>,
    alg: Option<String>,
    default_audience: Option<String>,
    claims: Option<String>,
    scope_claim: Option<String>,
    typ: Option<String>,
    secrets: Vec<Secret>,
    created_at_ms: i64,
    updated_at_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    id: String,
    hash: String,
    created_at_ms: i64,
    expires_at_ms: Option<i64>,
    last_used_at_ms: Option<i64>,
}

/// Returns the version byte followed by the encrypted client; `None` when encryption fails, and the
/// client is then not shared.
pub(super) fn encrypt(keys: &DeploymentKeys, shared: &SharedClient) -> Option<Vec<u8>> {
    let text = serde_json::to_vec(&Value::from(shared)).ok()?;
    let mut value = vec![VERSION];
    value.append(&mut keys.encrypt(&context(&shared.client.id), text)?);
    Some(value)
}

/// Decrypts a stored client; `None` when the value has another version, belongs to another client
/// or is not authentic.
pub(super) fn decrypt(keys: &DeploymentKeys, id: &ClientId, value: &[u8]) -> Option<SharedClient> {
    let (version, encrypted) = value.split_first()?;
    if *version != VERSION {
        return None;
    }
    let text: Zeroizing<Vec<u8>> = keys.decrypt(&context(id), encrypted)?;
    let value: Value = serde_json::from_slice(&text).ok()?;
    value.into_shared(id.clone())
}

fn context(id: &ClientId) -> Vec<u8> {
    [b"client", &[VERSION][..], id.as_str().as_bytes()].concat()
}

impl From<&SharedClient> for Value {
    fn from(shared: &SharedClient) -> Self {
        let client = &shared.client;
        let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(|text| text.to_string()).collect();
        let secret = |secret: &StoredSecret| Secret {
            id: secret.id.to_string(),
            hash: secret.hash.to_stored(),
            created_at_ms: secret.created_at.0,
            expires_at_ms: secret.expires_at.map(|at| at.0),
            last_used_at_ms: secret.last_used.moment().map(|at| at.0),
        };
        Self {
            number: shared.number,
            loaded_at_ms: shared.loaded_at.0,
            name: client.name.clone(),
            enabled: client.enabled,
            scope: client.scope.to_string(),
            default_scope: client.default_scope.to_string(),
            audiences: texts(&client.audiences),
            serves: texts(&client.introspection_audiences),
            auth_methods: client
                .auth_methods
                .iter()
                .map(|method| method.name().to_owned())
                .collect(),
            ttl_seconds: client.ttl_seconds,
            alg: client.alg.map(|alg| alg.name().to_owned()),
            default_audience: client.token.default_audience.as_ref().map(|text| text.to_string()),
            claims: client.token.claims.as_ref().map(CustomClaims::object),
            scope_claim: client.token.scope_claim.map(|claim| claim.name().to_owned()),
            typ: client.token.typ.map(|typ| typ.name().to_owned()),
            secrets: client.secrets.iter().map(secret).collect(),
            created_at_ms: client.created_at.0,
            updated_at_ms: client.updated_at.0,
        }
    }
}

impl Value {
    fn into_shared(self, id: ClientId) -> Option<SharedClient> {
        let secrets: Option<Vec<StoredSecret>> = self.secrets.into_iter().map(Secret::into_stored).collect();
        let methods: Result<Vec<_>, String> = self.auth_methods.iter().map(|name| name.parse()).collect();
        let token = TokenOptions {
            default_audience: self.default_audience.map(Into::into),
            claims: self
                .claims
                .as_deref()
                .map(CustomClaims::parse)
                .transpose()
                .ok()?
                .flatten(),
            scope_claim: self.scope_claim.as_deref().map(str::parse).transpose().ok()?,
            typ: self.typ.as_deref().map(str::parse).transpose().ok()?,
        };
        let client = Client {
            id,
            name: self.name,
            enabled: self.enabled,
            scope: scope(&self.scope)?,
            // An instance of an earlier version may share a default with reserved scopes.
            default_scope: scope(&self.default_scope)?.without_prefix(RESERVED_PREFIX),
            audiences: self.audiences.into_iter().map(Into::into).collect(),
            introspection_audiences: self.serves.into_iter().map(Into::into).collect(),
            auth_methods: methods.ok()?,
            ttl_seconds: self.ttl_seconds,
            alg: self
                .alg
                .map(|name| name.parse().ok())
                .map_or(Some(None), |alg| alg.map(Some))?,
            token,
            labels: Default::default(),
            secrets: secrets?,
            created_at: UnixMillis(self.created_at_ms),
            updated_at: UnixMillis(self.updated_at_ms),
        };
        Some(SharedClient {
            client,
            number: self.number,
            loaded_at: UnixMillis(self.loaded_at_ms),
        })
    }
}

impl Secret {
    fn into_stored(self) -> Option<StoredSecret> {
        Some(StoredSecret {
            id: self.id.into(),
            hash: SecretHash::from_stored(&self.hash)?,
            created_at: UnixMillis(self.created_at_ms),
            expires_at: self.expires_at_ms.map(UnixMillis),
            last_used: LastUsed::at(self.last_used_at_ms.map(UnixMillis)),
        })
    }
}

fn scope(text: &str) -> Option<Scope> {
    match text {
        "" => Some(Scope::empty()),
        text => Scope::parse(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::alg::Alg;
    use crate::oauth::client::AuthMethod;
    use crate::oauth::client_secret::ClientSecret;
    use crate::oauth::token_form::{ScopeClaim, TokenType};

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn client(id: &str) -> Client {
        let mut secret = StoredSecret::new(&ClientSecret::generate(), NOW);
        secret.expires_at = Some(UnixMillis(NOW.0 + 5));
        secret.last_used.note(UnixMillis(NOW.0 - 7));
        Client {
            id: ClientId::parse(id).unwrap(),
            name: "Käse \"1\"".into(),
            enabled: false,
            scope: Scope::parse("a b mintage:read").unwrap(),
            default_scope: Scope::empty(),
            audiences: vec!["https://a".into(), "https://b".into()],
            introspection_audiences: vec!["https://c".into()],
            auth_methods: vec![AuthMethod::ClientSecretPost],
            ttl_seconds: Some(60),
            alg: Some(Alg::EdDsa),
            token: TokenOptions {
                default_audience: Some("kafka".into()),
                claims: CustomClaims::parse(r#"{"roles":["x"]}"#).unwrap(),
                scope_claim: Some(ScopeClaim::Scp),
                typ: Some(TokenType::Jwt),
            },
            labels: Default::default(),
            secrets: vec![secret, StoredSecret::new(&ClientSecret::generate(), NOW)],
            created_at: UnixMillis(1),
            updated_at: UnixMillis(2),
        }
    }

    fn shared(id: &str) -> SharedClient {
        SharedClient {
            client: client(id),
            number: 42,
            loaded_at: NOW,
        }
    }

    fn keys() -> DeploymentKeys {
        DeploymentKeys::derive(&[7; 32], None)
    }

    /// Everything that `Debug` prints, and the hashes.
    fn all_of(shared: &SharedClient) -> String {
        let hashes: Vec<String> = shared
            .client
            .secrets
            .iter()
            .map(|secret| secret.hash.to_stored())
            .collect();
        format!("{shared:?} {hashes:?}")
    }

    #[test]
    fn a_client_survives_encryption_and_decryption() {
        let mut plain = shared("b");
        (plain.client.ttl_seconds, plain.client.alg) = (None, None);
        plain.client.token = TokenOptions::default();
        (plain.client.secrets, plain.client.audiences) = (Vec::new(), Vec::new());
        for shared in [shared("a"), plain] {
            let value = encrypt(&keys(), &shared).unwrap();
            let back = decrypt(&keys(), &shared.client.id, &value).unwrap();
            assert_eq!(all_of(&back), all_of(&shared));
        }
    }

    #[test]
    fn p19_a_shared_default_has_no_reserved_scope() {
        let mut shared = shared("a");
        shared.client.default_scope = Scope::parse("a mintage:admin").unwrap();
        let value = encrypt(&keys(), &shared).unwrap();
        let back = decrypt(&keys(), &shared.client.id, &value).unwrap();
        assert_eq!(back.client.default_scope.as_str(), "a");
    }

    #[test]
    fn a_value_is_bound_to_its_client_and_deployment() {
        let shared = shared("a");
        let value = encrypt(&keys(), &shared).unwrap();
        assert!(decrypt(&keys(), &ClientId::parse("b").unwrap(), &value).is_none());
        let others = [
            DeploymentKeys::derive(&[8; 32], None),
            DeploymentKeys::derive(&[7; 32], Some(&[0; 32])),
        ];
        for other in others {
            assert!(decrypt(&other, &shared.client.id, &value).is_none());
            assert_ne!(
                other.client_name(&shared.client.id),
                keys().client_name(&shared.client.id)
            );
        }
    }

    #[test]
    fn a_modified_or_truncated_value_is_rejected() {
        let shared = shared("a");
        let value = encrypt(&keys(), &shared).unwrap();
        for place in 0..value.len() {
            let mut changed = value.clone();
            changed[place] ^= 1;
            assert!(decrypt(&keys(), &shared.client.id, &changed).is_none(), "{place}");
            assert!(
                decrypt(&keys(), &shared.client.id, &value[..place]).is_none(),
                "{place}"
            );
        }
    }

    #[test]
    fn a_value_with_an_additional_or_missing_member_is_rejected() {
        let shared = shared("a");
        let encrypted = |change: fn(&mut serde_json::Map<String, serde_json::Value>)| {
            let mut text = serde_json::to_value(Value::from(&shared)).unwrap();
            change(text.as_object_mut().unwrap());
            let encrypted = keys().encrypt(&context(&shared.client.id), text.to_string().into_bytes());
            [&[VERSION][..], &encrypted.unwrap()].concat()
        };
        let opens = |value: Vec<u8>| decrypt(&keys(), &shared.client.id, &value).is_some();
        assert!(opens(encrypted(|_| {})));
        assert!(!opens(encrypted(|text| drop(text.insert("new".into(), true.into())))));
        assert!(!opens(encrypted(|text| drop(text.remove("enabled")))));
        assert!(!opens(encrypted(|text| drop(text.insert("alg".into(), "none".into())))));
    }

    #[test]
    fn two_encryptions_of_one_client_differ() {
        let shared = shared("a");
        assert_ne!(encrypt(&keys(), &shared), encrypt(&keys(), &shared));
    }
}
