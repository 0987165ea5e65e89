//! The members of a client that an operator can set, in the admin API and on the command line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, Object, ObjectBuilder, SchemaType, Type};

use crate::oauth::bounds::{MAX_AUDIENCES, MAX_AUDIENCES_BYTES, MAX_LABEL_VALUE, MAX_LABELS, MAX_NAME, MAX_SCOPE};
use crate::oauth::client::{AuthMethod, Client, ClientId, TTL_SECONDS};
use crate::oauth::custom_claims::GivenClaims;
use crate::oauth::duty::{Duty, RESERVED_PREFIX, is_reserved};
use crate::oauth::labels::{GivenLabels, Labels, MalformedLabels};
use crate::oauth::resource::{audience_schema, is_audience};
use crate::oauth::scope::Scope;
use crate::oauth::token_form::TokenOptions;
use crate::time::UnixMillis;

/// Members of a client. An omitted one keeps its value, or gets its default in a new client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientFields {
    /// The id of a new client; generated if omitted. It never changes.
    #[schema(pattern = "^[ -~]{1,128}$")]
    pub client_id: Option<String>,
    /// Display name.
    #[schema(pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$", min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Whether the client gets tokens.
    pub enabled: Option<bool>,
    /// The scopes that the client may request. Of those that begin with `mintage:`, only the duties
    /// of operators exist.
    #[schema(pattern = "^([!#-\\[\\]-~]+( [!#-\\[\\]-~]+)*)?$", max_length = 4000)]
    pub scope: Option<String>,
    /// The scopes of a token request without scope; `null`: all except the reserved ones, those that
    /// begin with `mintage:`. It never contains a reserved one.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = "^([!#-\\[\\]-~]+( [!#-\\[\\]-~]+)*)?$", max_length = 4000)]
    pub default_scope: Option<Option<String>>,
    /// The audiences that the client may request with `resource` or `audience`.
    #[schema(schema_with = audiences_schema)]
    pub audiences: Option<Vec<String>>,
    /// The audiences whose tokens the client may introspect.
    #[schema(schema_with = introspection_audiences_schema)]
    pub introspection_audiences: Option<Vec<String>>,
    /// How the client may authenticate; empty: by every method.
    #[schema(value_type = Option<Vec<AuthMethod>>)]
    pub auth_methods: Option<Vec<String>>,
    /// Token lifetime; `null`: `token.ttl`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 2_592_000)]
    pub ttl_seconds: Option<Option<i64>>,
    /// Token algorithm; `null`: `token.alg`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = "^(ES256|EdDSA|RS256|PS256|HS256)$")]
    pub alg: Option<Option<String>>,
    /// The audience of a token whose request names none; `null`: `token.audience`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = "^[!-~]+$", max_length = 512)]
    pub default_audience: Option<Option<String>>,
    /// Custom claims of its tokens; `null` or `{}`: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub claims: Option<Option<GivenClaims>>,
    /// `scp`: tokens have the scope as an array `scp` as well; `null`: `token.scope_claim`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = "^(scope|scp)$")]
    pub scope_claim: Option<Option<String>>,
    /// The `typ` in the header of its tokens; `null`: `token.typ`.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, pattern = "^(at\\+jwt|JWT)$")]
    pub typ: Option<Option<String>>,
    /// Texts by which operators sort and find clients, all of them; `null` or `{}`: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(schema_with = labels_schema)]
    pub labels: Option<Option<GivenLabels>>,
}

/// Distinguishes `null` from an omitted member.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A member has an invalid value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedClient {
    /// The name of the member.
    pub member: &'static str,
    /// The rule for its value.
    pub must_be: &'static str,
}

impl fmt::Display for MalformedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}", self.member, self.must_be)
    }
}

/// The rule for reserved scopes.
const KNOWN_SCOPES: &str = "scope tokens that, if they begin with mintage:, end with admin, read, clients, keys, routes, \
                            tokens, audit or introspect";

impl ClientFields {
    /// The id of a new client: the given id, or a generated one.
    ///
    /// # Errors
    /// The given id is malformed.
    pub fn new_id(&self) -> Result<ClientId, MalformedClient> {
        let Some(given) = &self.client_id else {
            return Ok(ClientId::generate());
        };
        ClientId::parse(given).ok_or(MalformedClient {
            member: "client_id",
            must_be: "1 to 128 printable ASCII characters",
        })
    }

    /// A new client without secrets.
    ///
    /// # Errors
    /// A member is malformed, or `name` or `scope` is missing.
    pub fn new_client(&self, id: ClientId, now: UnixMillis) -> Result<Client, MalformedClient> {
        let given = |member, given: bool| match given {
            true => Ok(()),
            false => Err(MalformedClient {
                member,
                must_be: "given",
            }),
        };
        given("name", self.name.is_some())?;
        given("scope", self.scope.is_some())?;
        let new_client = Client {
            id,
            name: String::new(),
            enabled: true,
            scope: Scope::empty(),
            default_scope: Scope::empty(),
            audiences: Vec::new(),
            introspection_audiences: Vec::new(),
            auth_methods: AuthMethod::ALL.to_vec(),
            ttl_seconds: None,
            alg: None,
            token: TokenOptions::default(),
            labels: Labels::default(),
            secrets: Vec::new(),
            created_at: now,
            updated_at: now,
        };
        let mut client = self.applied_to(&new_client, now)?;
        client.updated_at = now;
        Ok(client)
    }

    /// The client with these members applied. `updated_at` increases by at least a millisecond, so
    /// that it distinguishes versions.
    ///
    /// # Errors
    /// A member is malformed.
    pub fn applied_to(&self, client: &Client, now: UnixMillis) -> Result<Client, MalformedClient> {
        let mut changed = client.clone();
        let same = self.client_id.as_deref().is_none_or(|id| id == client.id.as_str());
        require("client_id", "left out: it never changes", same)?;
        if let Some(name) = &self.name {
            let ok = (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains(char::is_control);
            require("name", "1 to 200 characters without control characters", ok)?;
            changed.name.clone_from(name);
        }
        changed.enabled = self.enabled.unwrap_or(client.enabled);
        self.apply_scopes(client, &mut changed)?;
        if let Some(audiences) = &self.audiences {
            changed.audiences = list("audiences", audiences)?;
        }
        if let Some(audiences) = &self.introspection_audiences {
            changed.introspection_audiences = list("introspection_audiences", audiences)?;
        }
        if let Some(methods) = &self.auth_methods {
            changed.auth_methods = auth_methods(methods)?;
        }
        if let Some(ttl) = self.ttl_seconds {
            let ok = ttl.is_none_or(|ttl| TTL_SECONDS.contains(&ttl));
            require("ttl_seconds", "whole seconds from 1s to 30d", ok)?;
            changed.ttl_seconds = ttl;
        }
        if let Some(alg) = &self.alg {
            let parsed = alg.as_deref().map(str::parse).transpose();
            changed.alg = parsed.map_err(|_| MalformedClient {
                member: "alg",
                must_be: "one of ES256, EdDSA, RS256, PS256, HS256",
            })?;
        }
        self.apply_token_options(&mut changed.token)?;
        if let Some(given) = &self.labels {
            let labels = given.clone().map(|GivenLabels(labels)| labels).transpose();
            changed.labels = labels.map_err(malformed_labels)?.unwrap_or_default();
        }
        changed.updated_at = UnixMillis(now.0.max(client.updated_at.0 + 1));
        Ok(changed)
    }

    fn apply_token_options(&self, options: &mut TokenOptions) -> Result<(), MalformedClient> {
        if let Some(audience) = &self.default_audience {
            let ok = audience.as_deref().is_none_or(is_audience);
            require(
                "default_audience",
                "1 to 512 printable ASCII characters without spaces",
                ok,
            )?;
            options.default_audience = audience.as_deref().map(Arc::from);
        }
        if let Some(claims) = &self.claims {
            options.claims = match claims.clone() {
                Some(GivenClaims(claims)) => claims.map_err(|malformed| MalformedClient {
                    member: "claims",
                    must_be: malformed.must_be(),
                })?,
                None => None,
            };
        }
        if let Some(name) = &self.scope_claim {
            options.scope_claim = named("scope_claim", name.as_deref())?;
        }
        if let Some(name) = &self.typ {
            options.typ = named("typ", name.as_deref())?;
        }
        Ok(())
    }

    fn apply_scopes(&self, client: &Client, changed: &mut Client) -> Result<(), MalformedClient> {
        if let Some(scope) = &self.scope {
            changed.scope = parse_scope("scope", scope)?;
            // A later version may give an unknown one a meaning. Its client would then have a right
            // that no one granted.
            let is_unknown = |token: &str| is_reserved(token) && Duty::of(token).is_none();
            require("scope", KNOWN_SCOPES, !changed.scope.tokens().any(is_unknown))?;
        }
        let automatic = |client: &Client| client.scope.without_prefix(RESERVED_PREFIX);
        changed.default_scope = match &self.default_scope {
            Some(Some(text)) => parse_scope("default_scope", text)?,
            Some(None) => automatic(changed),
            // A default scope equal to all of the scope follows changes of the scope, even if it
            // was set explicitly.
            None if client.default_scope == automatic(client) => automatic(changed),
            None => client.default_scope.clone(),
        };
        require(
            "default_scope",
            "a part of the scope, without scopes that begin with mintage:",
            changed.scope.covers(&changed.default_scope) && !changed.default_scope.tokens().any(is_reserved),
        )
    }
}

fn require(member: &'static str, must_be: &'static str, ok: bool) -> Result<(), MalformedClient> {
    match ok {
        true => Ok(()),
        false => Err(MalformedClient { member, must_be }),
    }
}

/// The member with its rule.
pub fn malformed_labels(_: MalformedLabels) -> MalformedClient {
    MalformedClient {
        member: "labels",
        must_be: MalformedLabels::MUST_BE,
    }
}

fn named<T: FromStr<Err = &'static str>>(
    member: &'static str,
    name: Option<&str>,
) -> Result<Option<T>, MalformedClient> {
    let parsed = name.map(str::parse).transpose();
    parsed.map_err(|must_be| MalformedClient { member, must_be })
}

fn parse_scope(member: &'static str, text: &str) -> Result<Scope, MalformedClient> {
    const MUST_BE: &str =
        "scope tokens separated by single spaces, of printable ASCII without \" and \\, at most 4000 bytes";
    if text.is_empty() {
        return Ok(Scope::empty());
    }
    let scope = Scope::parse(text).ok().filter(|_| text.len() <= MAX_SCOPE);
    scope.ok_or(MalformedClient {
        member,
        must_be: MUST_BE,
    })
}

fn list(member: &'static str, texts: &[String]) -> Result<Vec<Arc<str>>, MalformedClient> {
    const MUST_BE: &str =
        "at most 100 texts of printable ASCII without spaces, each at most 512 bytes, together at most 8000";
    let bytes: usize = texts.iter().map(String::len).sum();
    let ok = texts.len() <= MAX_AUDIENCES && bytes <= MAX_AUDIENCES_BYTES && texts.iter().all(|text| is_audience(text));
    require(member, MUST_BE, ok)?;
    let mut audiences: Vec<Arc<str>> = Vec::new();
    for text in texts {
        if !audiences.iter().any(|other| **other == **text) {
            audiences.push(text.as_str().into());
        }
    }
    Ok(audiences)
}

fn audiences_schema() -> Array {
    list_schema("The audiences that the client may request with `resource` or `audience`.")
}

fn introspection_audiences_schema() -> Array {
    list_schema("The audiences whose tokens the client may introspect.")
}

fn list_schema(description: &str) -> Array {
    let nullable = SchemaType::from_iter([Type::Array, Type::Null]);
    let mut list = Array::new(audience_schema());
    (list.schema_type, list.max_items) = (nullable, Some(MAX_AUDIENCES));
    list.description = Some(description.to_owned());
    list
}

fn labels_schema() -> Object {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let key = text().pattern(Some("^[A-Za-z0-9._/-]{1,63}$"));
    let value = text().max_length(Some(MAX_LABEL_VALUE));
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some(
            "Texts by which operators sort and find clients, all of them; `null` or `{}`: none.",
        ))
        .property_names(Some(key))
        .additional_properties(Some(value))
        .max_properties(Some(MAX_LABELS))
        .build()
}

fn auth_methods(texts: &[String]) -> Result<Vec<AuthMethod>, MalformedClient> {
    if texts.is_empty() {
        return Ok(AuthMethod::ALL.to_vec());
    }
    let named: Result<Vec<AuthMethod>, String> = texts.iter().map(|text| text.parse()).collect();
    let named = named.map_err(|_| MalformedClient {
        member: "auth_methods",
        must_be: "client_secret_basic or client_secret_post",
    })?;
    Ok(AuthMethod::ALL
        .into_iter()
        .filter(|method| named.contains(method))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);

    fn client() -> Client {
        let fields = ClientFields {
            name: Some("orders".into()),
            scope: Some("a b mintage:admin".into()),
            ..ClientFields::default()
        };
        fields.new_client(ClientId::generate(), NOW).unwrap()
    }

    fn changed(json: &str) -> Result<Client, MalformedClient> {
        let fields: ClientFields = serde_json::from_str(json).unwrap();
        fields.applied_to(&client(), NOW)
    }

    #[test]
    fn omitted_members_keep_their_values() {
        let client = changed(r#"{"enabled": false}"#).unwrap();
        assert!(!client.enabled);
        assert_eq!(
            (client.name.as_str(), client.scope.as_str()),
            ("orders", "a b mintage:admin")
        );
    }

    #[test]
    fn null_restores_the_default() {
        let set = changed(r#"{"ttl_seconds": 60, "alg": "HS256", "default_scope": "a"}"#).unwrap();
        assert_eq!((set.ttl_seconds, set.default_scope.as_str()), (Some(60), "a"));
        let fields: ClientFields =
            serde_json::from_str(r#"{"ttl_seconds": null, "alg": null, "default_scope": null}"#).unwrap();
        let back = fields.applied_to(&set, NOW).unwrap();
        assert_eq!(
            (back.ttl_seconds, back.alg, back.default_scope.as_str()),
            (None, None, "a b")
        );
    }

    #[test]
    fn p108_token_options_are_set_and_unset() {
        const OPTIONS: &str =
            r#"{"default_audience": "kafka", "claims": {"roles": ["x"]}, "scope_claim": "scp", "typ": "JWT"}"#;
        let set = changed(OPTIONS).unwrap();
        assert_eq!(set.token.claims.as_ref().unwrap().object(), r#"{"roles":["x"]}"#);
        assert_eq!(set.token.default_audience.as_deref(), Some("kafka"));
        for unset in [
            r#"{"default_audience": null, "claims": null, "scope_claim": null, "typ": null}"#,
            r#"{"default_audience": null, "claims": {}, "scope_claim": null, "typ": null}"#,
        ] {
            let fields: ClientFields = serde_json::from_str(unset).unwrap();
            assert_eq!(fields.applied_to(&set, NOW).unwrap().token, TokenOptions::default());
        }
        let other: ClientFields = serde_json::from_str(r#"{"enabled": false}"#).unwrap();
        assert_eq!(other.applied_to(&set, NOW).unwrap().token, set.token);
    }

    #[test]
    fn a_change_of_labels_replaces_all_of_them() {
        let labelled = changed(r#"{"labels": {"team": "x", "env": "prod"}}"#).unwrap();
        let next = |json: &str| {
            let fields: ClientFields = serde_json::from_str(json).unwrap();
            fields.applied_to(&labelled, NOW).unwrap().labels.object()
        };
        assert_eq!(next(r#"{"labels": {"team": "y"}}"#).as_deref(), Some(r#"{"team":"y"}"#));
        assert_eq!(next(r#"{"enabled": false}"#), labelled.labels.object());
        assert_eq!((next(r#"{"labels": null}"#), next(r#"{"labels": {}}"#)), (None, None));
    }

    #[test]
    fn an_unset_default_scope_follows_the_scope() {
        assert_eq!(changed(r#"{"scope": "a c"}"#).unwrap().default_scope.as_str(), "a c");
    }

    #[test]
    fn a_change_of_another_member_keeps_an_unknown_reserved_scope() {
        let old = Client {
            scope: Scope::parse("a mintage:later").unwrap(),
            default_scope: Scope::parse("a").unwrap(),
            ..client()
        };
        let fields: ClientFields = serde_json::from_str(r#"{"enabled": false}"#).unwrap();
        let changed = fields.applied_to(&old, NOW).unwrap();
        assert_eq!(
            (changed.scope.as_str(), changed.default_scope.as_str()),
            ("a mintage:later", "a")
        );
    }

    #[test]
    fn every_version_has_its_own_time() {
        assert!(changed("{}").unwrap().updated_at > client().updated_at);
    }

    #[test]
    fn an_error_names_the_member() {
        for (json, member) in [
            (r#"{"client_id": "another"}"#, "client_id"),
            (r#"{"name": ""}"#, "name"),
            (r#"{"name": "a\u0007"}"#, "name"),
            (r#"{"scope": "a  b"}"#, "scope"),
            (r#"{"default_scope": "c"}"#, "default_scope"),
            (r#"{"default_scope": "a mintage:admin"}"#, "default_scope"),
            (r#"{"scope": "a mintage:later"}"#, "scope"),
            (r#"{"scope": "mintage:ADMIN"}"#, "scope"),
            (r#"{"audiences": ["the orders"]}"#, "audiences"),
            (r#"{"introspection_audiences": [""]}"#, "introspection_audiences"),
            (r#"{"auth_methods": ["none"]}"#, "auth_methods"),
            (r#"{"ttl_seconds": 0}"#, "ttl_seconds"),
            (r#"{"ttl_seconds": 2592001}"#, "ttl_seconds"),
            (r#"{"alg": "none"}"#, "alg"),
            (r#"{"default_audience": ""}"#, "default_audience"),
            (r#"{"default_audience": "a b"}"#, "default_audience"),
            (r#"{"claims": []}"#, "claims"),
            (r#"{"claims": {"aud": "x"}}"#, "claims"),
            (r#"{"scope_claim": "scopes"}"#, "scope_claim"),
            (r#"{"typ": "jwt"}"#, "typ"),
            (r#"{"labels": []}"#, "labels"),
            (r#"{"labels": {"a b": "x"}}"#, "labels"),
            (r#"{"labels": {"a": 1}}"#, "labels"),
        ] {
            assert_eq!(changed(json).unwrap_err().member, member, "{json}");
        }
    }

    #[test]
    fn a_new_client_needs_a_name_and_a_scope() {
        let error_of = |json: &str| {
            let fields: ClientFields = serde_json::from_str(json).unwrap();
            fields.new_client(ClientId::generate(), NOW).unwrap_err().member
        };
        assert_eq!(error_of(r#"{"scope": "a"}"#), "name");
        assert_eq!(error_of(r#"{"name": "a"}"#), "scope");
    }

    #[test]
    fn unknown_members_are_rejected() {
        assert!(serde_json::from_str::<ClientFields>(r#"{"client_secret": "chosen"}"#).is_err());
    }
}
