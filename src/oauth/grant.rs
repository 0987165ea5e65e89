//! The client credentials grant (RFC 6749 §4.4): turns an authenticated client and its request into
//! claims.

use std::sync::Arc;

use super::alg::Alg;
use super::claims::{AccessTokenClaims, Audience};
use super::client::Client;
use super::error::OAuthError;
use super::request::{GrantType, TokenRequest};
use super::resource::is_absolute_uri;
use super::scope::Scope;
use super::token_id::TokenId;
use crate::time::UnixMillis;

/// The token settings of the configuration.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    /// The `iss` claim.
    pub issuer: Arc<str>,
    /// The `aud` claim if the request has no `resource`.
    pub audience: Arc<str>,
    /// Lifetime of a token in seconds, unless the client has its own.
    pub ttl_seconds: i64,
    /// Maximum lifetime of a one-time token, in seconds.
    pub one_time_ttl_seconds: i64,
    /// Signing algorithm, unless the client has its own.
    pub alg: Alg,
}

/// Decides which claims an authenticated client gets.
///
/// # Errors
/// Checked in this order: the grant type (RFC 6749 §5.2), then scope, then resource (RFC 8707 §2).
pub fn client_credentials(
    client: &Client,
    request: &TokenRequest,
    policy: &TokenPolicy,
    now: UnixMillis,
    jti: TokenId,
) -> Result<AccessTokenClaims, OAuthError> {
    match request.grant_type {
        None => return Err(OAuthError::InvalidRequest("grant_type is missing")),
        Some(GrantType::ClientCredentials) => {}
        Some(GrantType::Unknown) => return Err(OAuthError::UnsupportedGrantType),
    }
    // A client without any scope exists to validate tokens, not to get them.
    if client.scope.is_empty() {
        return Err(OAuthError::UnauthorizedClient);
    }
    let scope = granted_scope(client, request.scope.as_deref())?;
    let aud = audience(client, &request.resources, policy)?;
    let mut ttl = client.ttl_seconds.unwrap_or(policy.ttl_seconds);
    if request.one_time {
        ttl = ttl.min(policy.one_time_ttl_seconds);
    }
    let iat = now.seconds();
    Ok(AccessTokenClaims {
        iss: policy.issuer.clone(),
        sub: client.id.shared(),
        aud,
        client_id: client.id.shared(),
        scope,
        iat,
        exp: iat + ttl,
        jti,
        one_time: request.one_time,
        secret_id: None,
    })
}

/// RFC 6749 §3.3 allows narrowing a scope. Mintage rejects the request instead, so a client never
/// gets less than it asked for without noticing.
fn granted_scope(client: &Client, requested: Option<&str>) -> Result<Scope, OAuthError> {
    let Some(text) = requested else {
        if client.default_scope.is_empty() {
            return Err(OAuthError::InvalidScope("the client has no default scope, ask for one"));
        }
        return Ok(client.default_scope.clone());
    };
    // Clients often request exactly their default scope. Then nothing needs parsing.
    if text == client.default_scope.as_str() {
        return Ok(client.default_scope.clone());
    }
    let scope = Scope::parse(text).map_err(|_| OAuthError::InvalidScope("the scope is malformed"))?;
    if !client.scope.covers(&scope) {
        return Err(OAuthError::InvalidScope("the client may not have this scope"));
    }
    Ok(scope)
}

fn audience(client: &Client, resources: &[String], policy: &TokenPolicy) -> Result<Audience, OAuthError> {
    let mut named: Vec<Arc<str>> = Vec::new();
    for resource in resources {
        let allowed = client
            .audiences
            .iter()
            .find(|audience| ***audience == **resource)
            .or_else(|| (*policy.audience == **resource).then_some(&policy.audience));
        let Some(audience) = allowed.filter(|_| is_absolute_uri(resource)) else {
            return Err(OAuthError::InvalidTarget);
        };
        if !named.contains(audience) {
            named.push(audience.clone());
        }
    }
    Ok(match named.len() {
        0 => Audience::One(policy.audience.clone()),
        1 => Audience::One(named.remove(0)),
        _ => Audience::Many(named),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client::{AuthMethod, ClientId};

    const NOW: UnixMillis = UnixMillis(1_700_000_000_999);

    fn client() -> Client {
        Client {
            id: ClientId::parse("demo").unwrap(),
            name: "Demo".into(),
            enabled: true,
            scope: Scope::parse("orders:read orders:write mintage:admin").unwrap(),
            default_scope: Scope::parse("orders:read").unwrap(),
            audiences: vec!["https://orders".into(), "urn:two".into()],
            introspection_audiences: vec![],
            auth_methods: AuthMethod::ALL.to_vec(),
            ttl_seconds: None,
            alg: None,
            secrets: vec![],
            created_at: NOW,
            updated_at: NOW,
        }
    }

    fn policy() -> TokenPolicy {
        TokenPolicy {
            issuer: "https://issuer".into(),
            audience: "https://issuer".into(),
            ttl_seconds: 3600,
            one_time_ttl_seconds: 120,
            alg: Alg::Es256,
        }
    }

    fn ask(client: &Client, form: &str) -> Result<AccessTokenClaims, OAuthError> {
        let request = TokenRequest::from_form(form.as_bytes()).unwrap();
        client_credentials(client, &request, &policy(), NOW, TokenId::new(NOW, [0; 10]))
    }

    #[test]
    fn p10_the_grant_type_is_checked_first() {
        assert_eq!(
            ask(&client(), "scope=%22"),
            Err(OAuthError::InvalidRequest("grant_type is missing"))
        );
        assert_eq!(
            ask(&client(), "grant_type=password&scope=%22"),
            Err(OAuthError::UnsupportedGrantType)
        );
        let resource_server = Client {
            scope: Scope::empty(),
            default_scope: Scope::empty(),
            ..client()
        };
        assert_eq!(
            ask(&resource_server, "grant_type=client_credentials"),
            Err(OAuthError::UnauthorizedClient)
        );
    }

    #[test]
    fn p19_an_omitted_scope_gives_the_default() {
        assert_eq!(
            ask(&client(), "grant_type=client_credentials").unwrap().scope.as_str(),
            "orders:read"
        );
    }

    #[test]
    fn p19_a_scope_that_the_client_may_not_have_is_rejected_whole() {
        let rejected = ask(&client(), "grant_type=client_credentials&scope=orders:read+other");
        assert_eq!(
            rejected,
            Err(OAuthError::InvalidScope("the client may not have this scope"))
        );
        let granted = ask(
            &client(),
            "grant_type=client_credentials&scope=mintage:admin+orders:write",
        )
        .unwrap();
        assert_eq!(granted.scope.as_str(), "mintage:admin orders:write");
    }

    #[test]
    fn p21_resources_become_the_audience() {
        let aud = |form: &str| ask(&client(), &format!("grant_type=client_credentials{form}")).map(|claims| claims.aud);
        assert_eq!(aud(""), Ok(Audience::One("https://issuer".into())));
        assert_eq!(
            aud("&resource=https://issuer"),
            Ok(Audience::One("https://issuer".into()))
        );
        assert_eq!(
            aud("&resource=urn:two&resource=urn:two"),
            Ok(Audience::One("urn:two".into()))
        );
        assert_eq!(
            aud("&resource=urn:two&resource=https://orders"),
            Ok(Audience::Many(vec!["urn:two".into(), "https://orders".into()]))
        );
        assert_eq!(aud("&resource=https://other"), Err(OAuthError::InvalidTarget));
        assert_eq!(aud("&resource=https://orders%23f"), Err(OAuthError::InvalidTarget));
    }

    #[test]
    fn p23_the_lifetime_is_the_clients_or_the_default_and_short_for_one_time() {
        let lifetime = |client: &Client, form: &str| {
            let claims = ask(client, &format!("grant_type=client_credentials{form}")).unwrap();
            assert_eq!(claims.iat, 1_700_000_000);
            claims.exp - claims.iat
        };
        assert_eq!(lifetime(&client(), ""), 3600);
        assert_eq!(lifetime(&client(), "&one_time=true"), 120);
        let brief = Client {
            ttl_seconds: Some(60),
            ..client()
        };
        assert_eq!((lifetime(&brief, ""), lifetime(&brief, "&one_time=true")), (60, 60));
    }
}
