//! A client as the command line and the admin API show it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::oauth::client::{AuthMethod, Client};
use crate::oauth::custom_claims::CustomClaims;
use crate::oauth::labels::Labels;

/// A client without its secrets; times are RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Client)]
pub struct ClientDocument {
    client_id: String,
    name: String,
    enabled: bool,
    scope: String,
    default_scope: String,
    audiences: Vec<String>,
    introspection_audiences: Vec<String>,
    #[schema(value_type = Vec<AuthMethod>)]
    auth_methods: Vec<&'static str>,
    /// `null`: `token.ttl`
    ttl_seconds: Option<i64>,
    /// `null`: `token.alg`
    #[schema(value_type = Option<String>)]
    alg: Option<&'static str>,
    /// `null`: `token.audience`
    default_audience: Option<String>,
    /// Custom claims
    #[schema(value_type = Option<Object>)]
    claims: Option<CustomClaims>,
    /// `null`: `token.scope_claim`
    #[schema(value_type = Option<String>)]
    scope_claim: Option<&'static str>,
    /// `null`: `token.typ`
    #[schema(value_type = Option<String>)]
    typ: Option<&'static str>,
    /// Texts by which operators sort and find clients
    #[schema(value_type = BTreeMap<String, String>)]
    labels: Labels,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<&Client> for ClientDocument {
    fn from(client: &Client) -> Self {
        Self {
            client_id: client.id.to_string(),
            name: client.name.clone(),
            enabled: client.enabled,
            scope: client.scope.to_string(),
            default_scope: client.default_scope.to_string(),
            audiences: client.audiences.iter().map(|audience| audience.to_string()).collect(),
            introspection_audiences: client
                .introspection_audiences
                .iter()
                .map(|audience| audience.to_string())
                .collect(),
            auth_methods: client.auth_methods.iter().map(|method| method.name()).collect(),
            ttl_seconds: client.ttl_seconds,
            alg: client.alg.map(|alg| alg.name()),
            default_audience: client.token.default_audience.as_ref().map(ToString::to_string),
            claims: client.token.claims.clone(),
            scope_claim: client.token.scope_claim.map(|claim| claim.name()),
            typ: client.token.typ.map(|typ| typ.name()),
            labels: client.labels.clone(),
            created_at: client.created_at.to_string(),
            updated_at: client.updated_at.to_string(),
        }
    }
}
