//! The flags that `client create` and `client update` share.

use std::collections::BTreeMap;

use super::Failure;
use crate::api::client_fields::{ClientFields, MalformedClient};
use crate::config::Duration;
use crate::oauth::custom_claims::GivenClaims;

/// The flags that create and update have in common.
#[derive(clap::Args, Default)]
pub struct Rest {
    /// Audience that the client may request with `resource` or `audience`; repeatable
    #[arg(long = "audience", value_name = "AUDIENCE")]
    pub audiences: Vec<String>,
    /// Audience whose tokens the client may introspect; repeatable
    #[arg(long = "introspection-audience", value_name = "AUDIENCE")]
    pub introspection_audiences: Vec<String>,
    /// Authentication method: client_secret_basic or client_secret_post; repeatable [default: both]
    #[arg(long = "auth-method", value_name = "METHOD")]
    pub auth_methods: Vec<String>,
    /// Token lifetime, 1s to 30d; `default`: token.ttl
    #[arg(long)]
    pub ttl: Option<String>,
    /// Token algorithm: ES256, EdDSA, RS256, PS256 or HS256; `default`: token.alg
    #[arg(long)]
    pub alg: Option<String>,
    /// Audience of a token whose request names none [default: token.audience]
    #[arg(long, value_name = "AUDIENCE")]
    pub default_audience: Option<String>,
    /// Custom claims of the tokens, a JSON object, as in {"tenant":"t1","roles":["writer"]}
    #[arg(long, value_name = "JSON")]
    pub claims: Option<String>,
    /// `scp`: tokens have the scope as an array as well; `scope`; `default`: token.scope_claim
    #[arg(long, value_name = "CLAIM")]
    pub scope_claim: Option<String>,
    /// Type in the header of the tokens, at+jwt or JWT; `default`: token.typ
    #[arg(long)]
    pub typ: Option<String>,
    /// Label by which operators find the client; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
}

impl Rest {
    /// The labels that are given, for those that the client keeps.
    pub fn labels(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut labels = BTreeMap::new();
        for text in &self.labels {
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| Failure::Usage("--label must be KEY=VALUE".into()))?;
            if labels.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(Failure::Usage("--label must name each key once".into()));
            }
        }
        Ok(labels)
    }

    /// The given members, without the labels. A list flag that is not given leaves its member out.
    pub fn fields(&self) -> Result<ClientFields, Failure> {
        let named = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let ttl_seconds = match self.ttl.as_deref() {
            None => None,
            Some("default") => Some(None),
            Some(text) => {
                let ttl: Duration = text.parse().map_err(|what| Failure::Usage(format!("--ttl: {what}")))?;
                // 0 stands for every invalid lifetime: the fields reject it. So fractions of a
                // second are rejected too.
                let whole = ttl.as_millis() % 1000 == 0;
                Some(Some(if whole { ttl.as_seconds() } else { 0 }))
            }
        };
        let claims = match self.claims.as_deref() {
            None => None,
            Some(text) => {
                let not_json = |error: serde_json::Error| {
                    let (line, column) = (error.line(), error.column());
                    Failure::Usage(format!("--claims is not JSON: see line {line}, column {column}"))
                };
                Some(Some(serde_json::from_str::<GivenClaims>(text).map_err(not_json)?))
            }
        };
        let unless_default = |text: &Option<String>| text.clone().map(|text| (text != "default").then_some(text));
        Ok(ClientFields {
            audiences: named(&self.audiences),
            introspection_audiences: named(&self.introspection_audiences),
            auth_methods: named(&self.auth_methods),
            ttl_seconds,
            alg: unless_default(&self.alg),
            default_audience: self.default_audience.clone().map(Some),
            claims,
            scope_claim: unless_default(&self.scope_claim),
            typ: unless_default(&self.typ),
            ..ClientFields::default()
        })
    }
}

/// A usage error that names the argument of the invalid member.
pub fn usage(malformed: MalformedClient) -> Failure {
    let argument = match malformed.member {
        "default_scope" => "default-scope",
        "audiences" => "audience",
        "introspection_audiences" => "introspection-audience",
        "auth_methods" => "auth-method",
        "ttl_seconds" => "ttl",
        "default_audience" => "default-audience",
        "scope_claim" => "scope-claim",
        "labels" => "label",
        same => same,
    };
    Failure::Usage(format!("--{argument} must be {}", malformed.must_be))
}
