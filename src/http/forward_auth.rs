//! `/validate`: decides for a gateway whether a request may pass (forward-auth; RFC 6750 for the
//! token). A request for a public route needs none.
//!
//! The original request comes in one of four forms: `X-Forwarded-*` (Traefik, Caddy),
//! `X-Original-Method` and `-URI` (nginx's auth_request) or `-URL` (ingress-nginx), or method and
//! path of the request itself below `/validate` (Envoy's ext_authz). An ambiguous request gets 403:
//! the gateway, this policy and the upstream must not disagree about which request is authorized.

use actix_web::http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::admin::schemas::GatewayFailures;
use super::auth::bearer::{self, active_when_warm, presented};
use super::auth::guard;
use super::body::{self, Payload};
use super::error::{ApiError, no_store};
use super::state::Worker;
use crate::gateway::host::{MAX_HOST, normal_host};
use crate::gateway::route::Access;
use crate::gateway::route_table::Denied;
use crate::oauth::activity::InvalidatedToken;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::client::ClientId;
use crate::oauth::denial::Denial;
use crate::oauth::error::BearerError;
use crate::unavailable::Unavailable;

/// The path of the endpoint. With Envoy, the path of the original request follows.
pub const PATH: &str = "/validate";

const FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
const ORIGINAL_URI: HeaderName = HeaderName::from_static("x-original-uri");
const ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");

const CLIENT_ID: HeaderName = HeaderName::from_static("x-client-id");
const TOKEN_SCOPE: HeaderName = HeaderName::from_static("x-token-scope");
const TOKEN_ID: HeaderName = HeaderName::from_static("x-token-id");
const TOKEN_EXPIRES: HeaderName = HeaderName::from_static("x-token-expires");

/// The headers for the upstream.
const IDENTITY: [HeaderName; 4] = [CLIENT_ID, TOKEN_SCOPE, TOKEN_ID, TOKEN_EXPIRES];

/// The request that the gateway received.
#[derive(Clone, Copy, Debug)]
struct Original<'r> {
    method: &'r str,
    /// `None`: the gateway did not send it.
    host: Option<&'r str>,
    /// Path and query, as they were sent.
    target: &'r str,
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
pub async fn validate(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let caller = worker.caller(&request);
    let deny_to = |client: Option<ClientId>, denial, error: ApiError| {
        guard::note(worker, &caller, denial, client.as_ref(), worker.now());
        error
    };
    let deny = |denial, error| deny_to(None, denial, error);
    require_gateway(worker, &request).map_err(|why| deny(Denial::UntrustedPeer, ApiError::Denied(why)))?;
    let original = original(&request).map_err(|why| deny(Denial::AmbiguousRequest, ApiError::Denied(why)))?;
    let mut table = worker.shared.routes.load();
    if table.is_none() && worker.shared.readiness.warmed_up().await {
        table = worker.shared.routes.load();
    }
    let table = table.as_ref().ok_or(Unavailable)?;
    let route = table
        .decide(original.method, original.host, original.target)
        .map_err(|denied| deny(reason(denied), ApiError::Denied(denied.text())))?;
    let Access::Token { scope, audience } = &route.access else {
        return pass_without_token(worker, payload).await;
    };
    let token = presented(&caller)?;
    let inactive = || {
        let client = bearer::client_of(worker, token, worker.now());
        deny_to(client, Denial::InvalidToken, BearerError::InvalidToken.into())
    };
    let claims = active_for(worker, audience.as_deref(), token)
        .await?
        .ok_or_else(inactive)?;
    if !claims.scope.covers(scope) {
        let error = BearerError::InsufficientScope(scope.clone());
        // The signature is ours, so the client exists and the log may name it.
        let client = ClientId::parse(&claims.client_id);
        return Err(deny_to(client, Denial::InsufficientScope, error.into()));
    }
    if claims.client_id.starts_with(' ') || claims.client_id.ends_with(' ') {
        return Err(ApiError::Denied(CLIENT_ID_NOT_HEADER_SAFE));
    }
    skip_body(worker, payload).await?;
    // The last step: a request that is denied must not redeem the token.
    if claims.one_time && !redeem(worker, &claims).await? {
        return Err(inactive());
    }
    Ok(allowed(&claims))
}

/// The response for a public route. It does not depend on the token that the request may have: an
/// expired one must not close a page that is open without, and the upstream must not take the request
/// for one of an authorized client.
async fn pass_without_token(worker: &Worker, payload: Payload) -> Result<HttpResponse, ApiError> {
    // The route may have been removed elsewhere, as a token may have been revoked.
    let readiness = &worker.shared.readiness;
    let is_current = readiness.knows_revocations() || (readiness.warmed_up().await && readiness.knows_revocations());
    if !is_current {
        return Err(Unavailable.into());
    }
    skip_body(worker, payload).await?;
    let mut builder = HttpResponse::Ok();
    no_store(&mut builder);
    // Empty, not absent: a gateway that copies what is there would forward a header of the client's
    // own, and Caddy 2.6 the name of its placeholder.
    for name in IDENTITY {
        builder.insert_header((name, HeaderValue::from_static("")));
    }
    Ok(builder.finish())
}

/// Reads the body. It has no influence on the decision, but its size is limited.
async fn skip_body(worker: &Worker, payload: Payload) -> Result<(), ApiError> {
    let settings = &worker.shared.settings;
    body::read(payload, settings, settings.max_body).await?;
    Ok(())
}

/// Redeems a one-time token; `true` for the one request that did it.
async fn redeem(worker: &Worker, claims: &AccessTokenClaims) -> Result<bool, Unavailable> {
    let token = InvalidatedToken::from(claims);
    worker.shared.revocations.redeem(token, worker.now()).await
}

const CLIENT_ID_NOT_HEADER_SAFE: &str = "the client id begins or ends with a space, which a header cannot carry";

fn require_gateway(worker: &Worker, request: &HttpRequest) -> Result<(), &'static str> {
    let trusted = worker.trusted_proxies();
    match request.peer_addr().is_some_and(|peer| trusted.contains(peer.ip())) {
        true => Ok(()),
        false => Err("only a gateway named in server.trusted_proxies may ask about other requests"),
    }
}

fn reason(denied: Denied) -> Denial {
    match denied {
        Denied::NoRoute => Denial::NoRoute,
        _ => Denial::AmbiguousRequest,
    }
}

/// The claims of a token that is active for the route's audience, by default that of the
/// configuration. A token for `/admin` never is, whatever the route says: the upstream could replay
/// it there.
async fn active_for(
    worker: &Worker,
    audience: Option<&str>,
    token: &str,
) -> Result<Option<AccessTokenClaims>, Unavailable> {
    let policy = worker.shared.policy.load();
    let audience = audience.unwrap_or(&policy.audience);
    let claims = active_when_warm(worker, token, Some(audience), worker.now()).await?;
    Ok(claims.filter(|claims| !claims.aud.contains(&policy.admin_audience)))
}

/// The original request. All headers that describe it must agree (P43).
fn original(request: &HttpRequest) -> Result<Original<'_>, &'static str> {
    let headers = request.headers();
    reject_ambiguous_headers(headers)?;
    if request.uri().authority().is_some() || request.uri().scheme().is_some() {
        return Err("the request line must not name a host");
    }
    let forwarded_host = single(headers, FORWARDED_HOST)?;
    let own_host = single(headers, HOST)?;
    let forwarded = pair(single(headers, FORWARDED_METHOD)?, single(headers, FORWARDED_URI)?)?;
    let (uri, url) = (single(headers, ORIGINAL_URI)?, single(headers, ORIGINAL_URL)?);
    let url = url.map(absolute).transpose()?;
    let method = single(headers, ORIGINAL_METHOD)?;
    pair(method, uri.or(url.map(|(_, target)| target)))?;
    let own = own_target(request)?.map(|target| (request.method().as_str(), target));
    let with_host = |host| move |(method, target)| Original { method, host, target };
    let sources = [
        forwarded.map(with_host(forwarded_host)),
        method.zip(uri).map(with_host(own_host)),
        method
            .zip(url)
            .map(|(method, (host, target))| with_host(Some(host))((method, target))),
        own.map(with_host(own_host)),
    ];
    let mut sources = sources.into_iter().flatten();
    let mut first = sources.next().ok_or("there is no original request")?;
    for other in sources {
        let (path, other_path) = (path_of(first.target), path_of(other.target));
        if first.method != other.method || path != other_path || !same_host(first.host, other.host) {
            return Err(CONFLICT);
        }
        first.host = first.host.or(other.host);
    }
    // X-Forwarded-Host alone describes no request, but it must not contradict the host of the one
    // that is described.
    if !same_host(first.host, forwarded_host) {
        return Err(CONFLICT);
    }
    Ok(first)
}

/// Headers by which some services take another path or method than those of the request line.
/// Mintage does not read them, so it cannot authorize what they say.
const UNREAD: [&str; 6] = [
    "x-rewrite-url",
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

const CONFLICT: &str = "conflicting forwarded headers";

/// Rejects headers that may tell the service about another request than the one that is authorized:
/// those of [`UNREAD`], those spelled with underscores, which CGI does not distinguish from hyphens,
/// and those that the next hop removes because `Connection` names them (RFC 9110 §7.6.1).
fn reject_ambiguous_headers(headers: &HeaderMap) -> Result<(), &'static str> {
    // One pass over the names that are there: looking up each that may be costs a hash.
    for name in headers.keys().map(HeaderName::as_str) {
        if name.contains('_') && is_sensitive(&name.replace('_', "-")) {
            return Err("a header about the request is spelled with underscores");
        }
        if name.starts_with("x-") && UNREAD.contains(&name) {
            return Err("a header about the request must be removed by the gateway");
        }
    }
    for connection in headers.get_all(CONNECTION) {
        let options = connection
            .to_str()
            .map_err(|_| "the Connection header cannot be read")?;
        let named = |option: &str| is_sensitive(&option.trim().to_ascii_lowercase().replace('_', "-"));
        if options.split(',').any(named) {
            return Err("a header about the request is named in Connection");
        }
    }
    Ok(())
}

/// Whether a header describes the original request, or is one that Mintage sends to the upstream.
fn is_sensitive(name: &str) -> bool {
    name.starts_with("x-forwarded-")
        || name.starts_with("x-original-")
        || UNREAD.contains(&name)
        || matches!(name, "host" | "authorization")
        || IDENTITY.iter().any(|own| own.as_str() == name)
}

/// The value of a header that must not be repeated.
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

/// Method and target, which must come together.
fn pair<'r>(method: Option<&'r str>, target: Option<&'r str>) -> Result<Option<(&'r str, &'r str)>, &'static str> {
    match (method, target) {
        (Some(method), Some(target)) => Ok(Some((method, target))),
        (None, None) => Ok(None),
        (Some(_), None) => Err("there is a method without a path"),
        (None, Some(_)) => Err("there is a path without a method"),
    }
}

/// Host and target of an absolute URL. Some services take a path from this header, so one that is
/// not absolute is rejected.
fn absolute(url: &str) -> Result<(&str, &str), &'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let (rest, slash) = rest
        .and_then(|rest| Some((rest, rest.find('/')?)))
        .ok_or("X-Original-URL is not an absolute URL with a path")?;
    Ok(rest.split_at(slash))
}

/// The path after `/validate`, which must not be percent-encoded.
fn own_target(request: &HttpRequest) -> Result<Option<&str>, &'static str> {
    let target = request.uri().path().strip_prefix(PATH);
    let target = target.ok_or("the path of this endpoint is escaped")?;
    Ok((!target.is_empty()).then_some(target))
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// Whether two hosts are the same, or one is unknown.
fn same_host(one: Option<&str>, other: Option<&str>) -> bool {
    let (Some(one), Some(other)) = (one, other) else {
        return true;
    };
    if one == other {
        // They may both be malformed: the policy denies that.
        return true;
    }
    let (mut buffer, mut other_buffer) = ([0; MAX_HOST], [0; MAX_HOST]);
    let one = normal_host(one, &mut buffer);
    one.is_ok() && one == normal_host(other, &mut other_buffer)
}

/// 200 with the client and the claims that upstreams need, and nothing else of the token (P45).
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
