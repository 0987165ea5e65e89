//! `/validate`: a gateway asks whether a request may pass (forward-auth; RFC 6750 for the token).
//!
//! It speaks three dialects: `X-Forwarded-*` (Traefik, Caddy), `X-Original-*` (nginx's auth_request) and the request
//! itself below `/validate` (Envoy's ext_authz). Whatever could be read in two ways is refused with 403: between the
//! gateway, this policy and the upstream there must be no two opinions about which request it is.

use actix_web::http::StatusCode;
use actix_web::http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};

use super::admin::schemas::GatewayFailures;
use super::auth::bearer::{active_when_warm, presented, redeem};
use super::auth::guard;
use super::body;
use super::error::{AdminError, ApiError, json, no_store};
use super::state::Worker;
use crate::gateway::host::{MAX_HOST, normal_host};
use crate::gateway::route::Route;
use crate::gateway::route_table::Denied;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::denial::Denial;
use crate::oauth::error::OAuthError;
use crate::unavailable::Unavailable;

/// Where gateways ask; what follows it is a path in Envoy's dialect.
pub const PATH: &str = "/validate";

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");

const CLIENT_ID: HeaderName = HeaderName::from_static("x-client-id");
const TOKEN_SCOPE: HeaderName = HeaderName::from_static("x-token-scope");
const TOKEN_ID: HeaderName = HeaderName::from_static("x-token-id");
const TOKEN_EXPIRES: HeaderName = HeaderName::from_static("x-token-expires");

/// The request that a gateway asks about.
#[derive(Clone, Copy, Debug)]
struct Original<'r> {
    method: &'r str,
    /// `None`: the gateway does not say.
    host: Option<&'r str>,
    /// Path and query, as they were sent.
    target: &'r str,
}

/// Why a request may not pass.
enum Refused {
    /// 403, whatever the token: who asks, or what is asked about.
    Request(Denial, &'static str),
    NoToken,
    MalformedToken,
    InvalidToken,
    /// The token is fine, but lacks this scope.
    InsufficientScope(String),
    /// The client's id would not survive as the value of a header.
    ClientIdNotHeaderSafe,
    /// The answer cannot be had now, or the body is too much.
    Plain(OAuthError),
}

/// `ANY /validate`, `ANY /validate/*`
#[utoipa::path(
    method(get, head, post, put, patch, delete, options, trace),
    path = PATH,
    operation_id = "validate",
    summary = "Whether a request may pass",
    responses((status = 200), GatewayFailures),
    security(("bearer" = [])),
)]
pub async fn validate(request: HttpRequest, payload: Payload) -> HttpResponse {
    match decide(&request, payload).await {
        Ok(claims) => allowed(&claims),
        Err(refused) => {
            if let Some(denial) = refused.to_log() {
                let worker = Worker::of(&request);
                guard::note(worker, &request, denial, None, worker.now());
            }
            refused.response()
        }
    }
}

async fn decide(request: &HttpRequest, payload: Payload) -> Result<AccessTokenClaims, Refused> {
    let worker = Worker::of(request);
    trust(request)?;
    let original = original(request).map_err(|why| Refused::Request(Denial::AmbiguousRequest, why))?;
    let mut table = worker.shared.routes.load();
    if table.is_none() && worker.shared.readiness.warmed_up().await {
        table = worker.shared.routes.load();
    }
    let table = table.as_ref().ok_or(Unavailable)?;
    let route = table.decide(original.method, original.host, original.target)?;
    let token = presented(request)?;
    let claims = authorize(worker, route, token).await?;
    if claims.client_id.starts_with(' ') || claims.client_id.ends_with(' ') {
        return Err(Refused::ClientIdNotHeaderSafe);
    }
    // What a gateway sends along counts for nothing, but it may not be endless.
    body::read(payload, &worker.shared.settings)
        .await
        .map_err(Refused::Plain)?;
    // The last step: a use that is refused must not use the token up.
    if claims.one_time && !redeem(worker, &claims, worker.now()).await? {
        return Err(Refused::InvalidToken);
    }
    Ok(claims)
}

fn trust(request: &HttpRequest) -> Result<(), Refused> {
    let trusted = &Worker::of(request).shared.settings.trusted_proxies;
    if request.peer_addr().is_some_and(|peer| trusted.contains(peer.ip())) {
        return Ok(());
    }
    let why = "only a gateway named in server.trusted_proxies may ask about other requests";
    Err(Refused::Request(Denial::UntrustedPeer, why))
}

/// The token must be active for the route's audience and have the route's scope.
async fn authorize(worker: &Worker, route: &Route, token: &str) -> Result<AccessTokenClaims, Refused> {
    let audience = match &route.audience {
        Some(audience) => audience.clone(),
        None => worker.shared.policy.load().audience.clone(),
    };
    let claims = active_when_warm(worker, token, Some(&audience), worker.now()).await?;
    let claims = claims.ok_or(Refused::InvalidToken)?;
    if !claims.scope.covers(&route.scope) {
        return Err(Refused::InsufficientScope(route.scope.to_string()));
    }
    Ok(claims)
}

/// The original request, of which there must be exactly one opinion (P43).
fn original(request: &HttpRequest) -> Result<Original<'_>, &'static str> {
    let headers = request.headers();
    refuse_disguises(headers)?;
    if request.uri().authority().is_some() || request.uri().scheme().is_some() {
        return Err("the request line must not name a host");
    }
    let forwarded_host = single(headers, FORWARDED_HOST)?;
    let own_host = single(headers, HOST)?;
    let forwarded = pair(single(headers, FORWARDED_METHOD)?, single(headers, FORWARDED_URI)?)?;
    let original = pair(single(headers, ORIGINAL_METHOD)?, single(headers, ORIGINAL_URI)?)?;
    let own = own_target(request)?.map(|target| (request.method().as_str(), target));
    let with_host = |host| move |(method, target)| Original { method, host, target };
    let sources = [
        forwarded.map(with_host(forwarded_host)),
        original.map(with_host(own_host)),
        own.map(with_host(own_host)),
    ];
    let mut sources = sources.into_iter().flatten();
    let mut first = sources.next().ok_or("there is no original request")?;
    for other in sources {
        let (path, other_path) = (path_of(first.target), path_of(other.target));
        if first.method != other.method || path != other_path || !same_host(first.host, other.host) {
            return Err(DISAGREE);
        }
        first.host = first.host.or(other.host);
    }
    // Alone, X-Forwarded-Host is no source, but another host than the one that counts is a second opinion.
    if !same_host(first.host, forwarded_host) {
        return Err(DISAGREE);
    }
    Ok(first)
}

const DISAGREE: &str = "there are two opinions about the original request";

/// Headers that somebody on the way could take for one of ours: spelled with underscores (CGI makes both the same), or
/// to be removed by the next hop because `Connection` names them (RFC 9110 §7.6.1).
fn refuse_disguises(headers: &HeaderMap) -> Result<(), &'static str> {
    let disguised = |name: &HeaderName| name.as_str().contains('_') && counts_here(&name.as_str().replace('_', "-"));
    if headers.keys().any(disguised) {
        return Err("a header about the request is spelled with underscores");
    }
    for connection in headers.get_all(CONNECTION) {
        let options = connection
            .to_str()
            .map_err(|_| "the Connection header cannot be read")?;
        let named = |option: &str| counts_here(&option.trim().to_ascii_lowercase().replace('_', "-"));
        if options.split(',').any(named) {
            return Err("a header about the request is named in Connection");
        }
    }
    Ok(())
}

/// Whether a header says something about the original request, or to the upstream in our name.
fn counts_here(name: &str) -> bool {
    let ours = [CLIENT_ID, TOKEN_SCOPE, TOKEN_ID, TOKEN_EXPIRES];
    name.starts_with("x-forwarded-")
        || name.starts_with("x-original-")
        || matches!(name, "host" | "authorization")
        || ours.iter().any(|own| own.as_str() == name)
}

/// A header that may come once.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, &'static str> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err("a header about the request comes twice");
    }
    let text = value.to_str();
    text.map(Some)
        .map_err(|_| "a header about the request is not printable ASCII")
}

/// Method and target belong together.
fn pair<'r>(method: Option<&'r str>, target: Option<&'r str>) -> Result<Option<(&'r str, &'r str)>, &'static str> {
    match (method, target) {
        (Some(method), Some(target)) => Ok(Some((method, target))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("there is a method without a path"),
        (None, Some(_)) => Err("there is a path without a method"),
    }
}

/// What follows `/validate` in our own path, which must not spell that in another way.
fn own_target(request: &HttpRequest) -> Result<Option<&str>, &'static str> {
    let target = request.uri().path().strip_prefix(PATH);
    let target = target.ok_or("the path of this endpoint is escaped")?;
    Ok((!target.is_empty()).then_some(target))
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// Whether two hosts are the same, or one is not known.
fn same_host(one: Option<&str>, other: Option<&str>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return true;
    };
    if one == other {
        // Also when both are malformed in the same way: the policy refuses that by itself.
        return true;
    }
    let (mut buffer, mut other_buffer) = ([0; MAX_HOST], [0; MAX_HOST]);
    let one = normal_host(one, &mut buffer);
    one.is_ok() && one == normal_host(other, &mut other_buffer)
}

/// P45: who it is and what the token says, and nothing else about it.
fn allowed(claims: &AccessTokenClaims) -> HttpResponse {
    let id = claims.jti.text();
    let mut builder = HttpResponse::Ok();
    no_store(&mut builder)
        .insert_header((CLIENT_ID, header_value(&claims.client_id)))
        .insert_header((TOKEN_SCOPE, header_value(claims.scope.as_str())))
        .insert_header((TOKEN_ID, HeaderValue::from_bytes(&id).expect("a token id is ASCII")))
        .insert_header((TOKEN_EXPIRES, HeaderValue::from(claims.exp)))
        .finish()
}

fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("scopes and the ids of clients are printable ASCII")
}

impl Refused {
    fn to_log(&self) -> Option<Denial> {
        match self {
            Self::Request(denial, _) => Some(*denial),
            Self::InvalidToken => Some(Denial::InvalidToken),
            Self::InsufficientScope(_) => Some(Denial::InsufficientScope),
            _ => None,
        }
    }

    fn response(&self) -> HttpResponse {
        const REALM: &str = "Bearer realm=\"mintage\"";
        let (status, error, description, challenge) = match self {
            Self::Plain(error) => return ApiError::OAuth(*error).response(),
            Self::Request(_, why) => (StatusCode::FORBIDDEN, "access_denied", *why, REALM.to_owned()),
            Self::ClientIdNotHeaderSafe => (
                StatusCode::FORBIDDEN,
                "access_denied",
                "the client id begins or ends with a space, which a header cannot say",
                REALM.to_owned(),
            ),
            // RFC 6750 §3.1: no error code for whoever did not know that a token is needed.
            Self::NoToken => (
                StatusCode::UNAUTHORIZED,
                "invalid_request",
                "a bearer token is required",
                REALM.to_owned(),
            ),
            Self::MalformedToken => (
                StatusCode::UNAUTHORIZED,
                "invalid_request",
                "there must be one Authorization header of the form: Bearer TOKEN",
                format!("{REALM}, error=\"invalid_request\""),
            ),
            Self::InvalidToken => (
                StatusCode::UNAUTHORIZED,
                "invalid_token",
                "the token is not active",
                format!("{REALM}, error=\"invalid_token\""),
            ),
            Self::InsufficientScope(scope) => (
                StatusCode::FORBIDDEN,
                "insufficient_scope",
                "the token lacks the scope for this",
                format!("{REALM}, error=\"insufficient_scope\", scope=\"{scope}\""),
            ),
        };
        let challenge = HeaderValue::try_from(challenge).expect("a scope is printable ASCII");
        let mut builder = HttpResponse::build(status);
        no_store(json(&mut builder))
            .insert_header((WWW_AUTHENTICATE, challenge))
            .body(format!(
                "{{\"error\":\"{error}\",\"error_description\":\"{description}\"}}"
            ))
    }
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        let denial = match denied {
            Denied::NoRoute => Denial::NoRoute,
            _ => Denial::AmbiguousRequest,
        };
        Self::Request(denial, denied.text())
    }
}

impl From<AdminError> for Refused {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NoToken => Self::NoToken,
            // P40: gateways take other codes than 401 and 403 for faults.
            _ => Self::MalformedToken,
        }
    }
}

impl From<Unavailable> for Refused {
    fn from(_: Unavailable) -> Self {
        Self::Plain(OAuthError::TemporarilyUnavailable)
    }
}
