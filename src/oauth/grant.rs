//! The client credentials grant (RFC 6749 §4.4): turns an authenticated client and its request into
//! claims.

use std::sync::Arc;

use super::alg::Alg;
use super::claims::{AccessTokenClaims, Audience};
use super::client::Client;
use super::duty::is_reserved;
use super::error::OAuthError;
use super::request::{GrantType, Target, TokenRequest};
use super::resource::is_absolute_uri;
use super::scope::Scope;
use super::token_form::{ScopeClaim, TokenForm, TokenType};
use super::token_id::TokenId;
use crate::time::UnixMillis;

/// The token settings of the configuration.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    /// The `iss` claim.
    pub issuer: Arc<str>,
    /// The `aud` claim if the request has no `resource` and no `audience`.
    pub audience: Arc<str>,
    /// The `aud` claim of a token with reserved scopes, which is for `/admin` and nothing else.
    pub admin_audience: Arc<str>,
    /// Lifetime of a token in seconds, unless the client has its own.
    pub ttl_seconds: i64,
    /// Maximum lifetime of a one-time token, in seconds.
    pub one_time_ttl_seconds: i64,
    /// Signing algorithm, unless the client has its own.
    pub alg: Alg,
    /// The claims for the scope, unless the client has its own.
    pub scope_claim: ScopeClaim,
    /// The type of a token, unless the client has its own.
    pub typ: TokenType,
}

const NOT_NAMEABLE: OAuthError =
    OAuthError::InvalidTarget("the resource is not an absolute URI that the client may name");

const NOT_AN_AUDIENCE: OAuthError = OAuthError::InvalidTarget("the audience is not one that the client may name");

const DEFAULT_FOR_ADMIN: OAuthError =
    OAuthError::InvalidTarget("the default audience of the client is that of /admin, name another");

const NOT_FOR_ADMIN: OAuthError =
    OAuthError::InvalidTarget("scopes that begin with mintage: are for the audience of /admin only");

/// Decides which claims an authenticated client gets.
///
/// # Errors
/// Checked in this order: the grant type (RFC 6749 §5.2), then scope and whether its parts may be in
/// one token, then resource (RFC 8707 §2) and audience.
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
    let Granted { scope, for_admin } = granted_scope(client, request.scope.as_deref())?;
    let aud = match for_admin {
        true => admin_audience(&request.targets, policy)?,
        false => audience(client, &request.targets, policy)?,
    };
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
        form: TokenForm {
            custom: client.token.claims.clone(),
            scope_claim: client.token.scope_claim.unwrap_or(policy.scope_claim),
            typ: client.token.typ.unwrap_or(policy.typ),
        },
    })
}

/// A granted scope.
struct Granted {
    scope: Scope,
    /// Whether it consists of reserved scopes.
    for_admin: bool,
}

impl Granted {
    /// A default scope, which never contains a reserved scope.
    fn default_of(client: &Client) -> Self {
        Self {
            scope: client.default_scope.clone(),
            for_admin: false,
        }
    }
}

/// RFC 6749 §3.3 allows narrowing a scope. Mintage rejects the request instead, so a client never
/// gets less than it asked for without noticing.
fn granted_scope(client: &Client, requested: Option<&str>) -> Result<Granted, OAuthError> {
    let Some(text) = requested else {
        if client.default_scope.is_empty() {
            return Err(OAuthError::InvalidScope("the client has no default scope, ask for one"));
        }
        return Ok(Granted::default_of(client));
    };
    // Clients often request exactly their default scope. Then nothing needs parsing.
    if text == client.default_scope.as_str() {
        return Ok(Granted::default_of(client));
    }
    let scope = Scope::parse(text).map_err(|_| OAuthError::InvalidScope("the scope is malformed"))?;
    if !client.scope.covers(&scope) {
        return Err(OAuthError::InvalidScope("the client may not have this scope"));
    }
    let for_admin = scope.tokens().any(is_reserved);
    if for_admin && !scope.tokens().all(is_reserved) {
        return Err(OAuthError::InvalidScope(
            "scopes that begin with mintage: cannot be combined with others",
        ));
    }
    Ok(Granted { scope, for_admin })
}

/// A token for an API could be replayed at `/admin` by that API, so it is never for both.
fn admin_audience(targets: &[Target], policy: &TokenPolicy) -> Result<Audience, OAuthError> {
    if targets.iter().any(|target| *target.as_str() != *policy.admin_audience) {
        return Err(NOT_FOR_ADMIN);
    }
    Ok(Audience::One(policy.admin_audience.clone()))
}

fn audience(client: &Client, targets: &[Target], policy: &TokenPolicy) -> Result<Audience, OAuthError> {
    let default = client.token.default_audience.as_ref().unwrap_or(&policy.audience);
    let mut named: Vec<Arc<str>> = Vec::new();
    for target in targets {
        let (text, is_well_formed, rejection) = match target {
            Target::Resource(text) => (text.as_str(), is_absolute_uri(text), NOT_NAMEABLE),
            Target::Audience(text) => (text.as_str(), true, NOT_AN_AUDIENCE),
        };
        let allowed = client
            .audiences
            .iter()
            .find(|audience| ***audience == *text)
            .or_else(|| (**default == *text).then_some(default));
        // The audience of `/admin` is only for reserved scopes, even if the client has it as its own.
        let is_allowed = is_well_formed && *text != *policy.admin_audience;
        let Some(audience) = allowed.filter(|_| is_allowed) else {
            return Err(rejection);
        };
        if !named.contains(audience) {
            named.push(audience.clone());
        }
    }
    Ok(match named.len() {
        // The configuration rejects this for all clients.
        0 if **default == *policy.admin_audience => return Err(DEFAULT_FOR_ADMIN),
        0 => Audience::One(default.clone()),
        1 => Audience::One(named.remove(0)),
        _ => Audience::Many(named),
    })
}

/// The error for claims that do not fit into a token (docs/protocol.md#p21). Nothing is left out to
/// make them fit: a client never gets less than it asked for without noticing.
pub fn too_long(request: &TokenRequest) -> OAuthError {
    match request.targets.is_empty() {
        true => OAuthError::InvalidScope("the token would be too long: ask for fewer scopes"),
        false => OAuthError::InvalidTarget("the token would be too long: name fewer resources"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::client::{AuthMethod, ClientId};
    use crate::oauth::custom_claims::CustomClaims;
    use crate::oauth::token_form::TokenOptions;

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
            token: TokenOptions::default(),
            labels: Default::default(),
            secrets: vec![],
            created_at: NOW,
            updated_at: NOW,
        }
    }

    fn policy() -> TokenPolicy {
        TokenPolicy {
            issuer: "https://issuer".into(),
            audience: "https://issuer".into(),
            admin_audience: "https://issuer/admin".into(),
            ttl_seconds: 3600,
            one_time_ttl_seconds: 120,
            alg: Alg::Es256,
            scope_claim: ScopeClaim::Scope,
            typ: TokenType::AccessToken,
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
    }

    #[test]
    fn p19_reserved_scopes_are_not_combined_with_others() {
        for scope in ["mintage:admin+orders:write", "orders:write+mintage:admin"] {
            assert_eq!(
                ask(&client(), &format!("grant_type=client_credentials&scope={scope}")),
                Err(OAuthError::InvalidScope(
                    "scopes that begin with mintage: cannot be combined with others"
                ))
            );
        }
        // What the client may not have is the first error.
        assert_eq!(
            ask(
                &client(),
                "grant_type=client_credentials&scope=mintage:read+orders:write"
            ),
            Err(OAuthError::InvalidScope("the client may not have this scope"))
        );
    }

    #[test]
    fn p21_reserved_scopes_have_an_audience_of_their_own() {
        const ADMIN: &str = "&resource=https://issuer/admin";
        let greedy = Client {
            audiences: vec!["https://orders".into(), "https://issuer/admin".into()],
            ..client()
        };
        let aud = |scope: &str, resources: &str| {
            let form = format!("grant_type=client_credentials&scope={scope}{resources}");
            ask(&greedy, &form).map(|claims| claims.aud)
        };
        let for_admin = Ok(Audience::One("https://issuer/admin".into()));
        assert_eq!(aud("mintage:admin", ""), for_admin);
        assert_eq!(aud("mintage:admin", ADMIN), for_admin);
        assert_eq!(aud("mintage:admin", &ADMIN.repeat(2)), for_admin);
        for other in ["&resource=https://orders", "&resource=https://issuer"] {
            assert_eq!(aud("mintage:admin", other), Err(NOT_FOR_ADMIN));
            assert_eq!(aud("mintage:admin", &format!("{ADMIN}{other}")), Err(NOT_FOR_ADMIN));
        }
        assert_eq!(aud("orders:read", ADMIN), Err(NOT_NAMEABLE));
        assert_eq!(
            aud("orders:read", &format!("&resource=https://orders{ADMIN}")),
            Err(NOT_NAMEABLE)
        );
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
        for other in ["https://other", "https://orders%23f"] {
            let rejected = aud(&format!("&resource={other}"));
            assert!(matches!(rejected, Err(OAuthError::InvalidTarget(_))), "{other}");
        }
    }

    #[test]
    fn p107_an_audience_means_what_a_resource_means_and_need_not_be_a_uri() {
        let client = Client {
            audiences: vec!["https://orders".into(), "rabbitmq".into()],
            ..client()
        };
        let aud = |form: &str| ask(&client, &format!("grant_type=client_credentials{form}")).map(|claims| claims.aud);
        let many = |all: &[&str]| Ok(Audience::Many(all.iter().map(|one| (*one).into()).collect()));
        assert_eq!(aud("&audience=rabbitmq"), Ok(Audience::One("rabbitmq".into())));
        assert_eq!(
            aud("&audience=https://issuer"),
            Ok(Audience::One("https://issuer".into()))
        );
        assert_eq!(
            aud("&audience=rabbitmq&resource=https://orders&audience=https://orders"),
            many(&["rabbitmq", "https://orders"])
        );
        assert_eq!(
            aud("&audience=https://orders+rabbitmq"),
            many(&["https://orders", "rabbitmq"])
        );
        assert_eq!(aud("&audience=kafka"), Err(NOT_AN_AUDIENCE));
        assert_eq!(aud("&audience=rabbitmq&audience=kafka"), Err(NOT_AN_AUDIENCE));
        assert_eq!(aud("&resource=rabbitmq"), Err(NOT_NAMEABLE));
        assert_eq!(aud("&audience=https://issuer/admin"), Err(NOT_AN_AUDIENCE));
    }

    fn with_options(token: TokenOptions) -> Client {
        Client { token, ..client() }
    }

    #[test]
    fn p21_the_default_audience_of_the_client_comes_before_the_configured_one() {
        let of_default = |text: &str| {
            with_options(TokenOptions {
                default_audience: Some(text.into()),
                ..TokenOptions::default()
            })
        };
        let kafka = of_default("kafka");
        let aud = |form: &str| ask(&kafka, &format!("grant_type=client_credentials{form}")).map(|claims| claims.aud);
        assert_eq!(aud(""), Ok(Audience::One("kafka".into())));
        assert_eq!(aud("&audience=kafka"), Ok(Audience::One("kafka".into())));
        assert_eq!(aud("&resource=urn:two"), Ok(Audience::One("urn:two".into())));
        assert_eq!(aud("&resource=https://issuer"), Err(NOT_NAMEABLE));
        assert_eq!(
            aud("&scope=mintage:admin"),
            Ok(Audience::One("https://issuer/admin".into()))
        );
        let for_admin = of_default("https://issuer/admin");
        assert_eq!(ask(&for_admin, "grant_type=client_credentials"), Err(DEFAULT_FOR_ADMIN));
    }

    #[test]
    fn p108_p109_the_options_of_the_client_come_before_the_configured_ones() {
        let custom = CustomClaims::parse(r#"{"tenant":"t1"}"#).unwrap();
        let own = with_options(TokenOptions {
            claims: custom.clone(),
            scope_claim: Some(ScopeClaim::Scp),
            typ: Some(TokenType::Jwt),
            ..TokenOptions::default()
        });
        let form = |client: &Client| ask(client, "grant_type=client_credentials").unwrap().form;
        assert_eq!(form(&client()), TokenForm::default());
        let expected = TokenForm {
            custom,
            scope_claim: ScopeClaim::Scp,
            typ: TokenType::Jwt,
        };
        assert_eq!(form(&own), expected);
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
