//! The flags that `client create` and `client update` share.

use super::Failure;
use crate::api::client_fields::{ClientFields, MalformedClient};
use crate::config::Duration;

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
}

impl Rest {
    /// The given members. A list flag that is not given leaves its member out.
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
        Ok(ClientFields {
            audiences: named(&self.audiences),
            introspection_audiences: named(&self.introspection_audiences),
            auth_methods: named(&self.auth_methods),
            ttl_seconds,
            alg: self.alg.clone().map(|alg| (alg != "default").then_some(alg)),
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
        same => same,
    };
    Failure::Usage(format!("--{argument} must be {}", malformed.must_be))
}
