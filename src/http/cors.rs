//! Cross-origin requests of browsers (the CORS protocol of the Fetch standard).
//!
//! The public documents are for every origin. The endpoints that take credentials are for the
//! origins in `server.cors_origins`, of which there are none by default. Everything else, above all
//! `/admin`, the console and `/validate`, never allows another origin.

use std::sync::Arc;

use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::guard::{self, GuardContext};
use actix_web::http::Method;
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, VARY,
};
use actix_web::{Error, HttpResponse, Route, web};

/// The origins that may read the responses of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrossOrigin {
    /// None.
    No,
    /// Those of `server.cors_origins`.
    Listed,
    /// All.
    Every,
}

/// The value of `server.cors_origins`.
pub type Origins = Arc<[HeaderValue]>;

/// How long a browser may remember the response to a preflight, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";

/// The request headers that a page may send to an endpoint.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, X-Request-Id";

/// The response headers that a page may read in addition to those that every page may.
const RESPONSE_HEADERS: &str = "Retry-After, WWW-Authenticate, X-Request-Id";

/// The route that answers a preflight, before any handler and so before authentication. An origin
/// that is not allowed gets the response of any other OPTIONS request.
pub fn preflight(cross_origin: CrossOrigin, origins: &Origins, methods: &HeaderValue) -> Option<Route> {
    let headers = match cross_origin {
        CrossOrigin::No => return None,
        CrossOrigin::Listed if origins.is_empty() => return None,
        CrossOrigin::Listed => REQUEST_HEADERS,
        CrossOrigin::Every => "*",
    };
    let (origins, methods) = (origins.clone(), methods.clone());
    let is_preflight = move |context: &GuardContext<'_>| {
        let request = context.head().headers();
        request.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && match cross_origin {
                CrossOrigin::Every => request.contains_key(ORIGIN),
                _ => allowed(&origins, request).is_some(),
            }
    };
    let route = web::method(Method::OPTIONS).guard(guard::fn_guard(is_preflight));
    Some(route.to(move || {
        let response = HttpResponse::NoContent()
            .insert_header((ACCESS_CONTROL_ALLOW_METHODS, methods.clone()))
            .insert_header((ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(headers)))
            .insert_header((ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE)))
            .finish();
        async move { response }
    }))
}

/// Calls a resource for [`CrossOrigin::Listed`] and lets a listed origin read the response, errors
/// included.
pub fn for_listed<S>(
    origins: &Origins,
    request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse, Error>> + use<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse, Error = Error>,
{
    let origin = allowed(origins, request.headers()).cloned();
    let called = service.call(request);
    async move {
        let mut response = called.await?;
        let headers = response.headers_mut();
        // A cache must not give the response for one origin to another.
        headers.append(VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(RESPONSE_HEADERS),
            );
        }
        Ok(response)
    }
}

/// The header of every response of a resource for [`CrossOrigin::Every`].
pub fn for_every() -> (HeaderName, HeaderValue) {
    (ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
}

/// The origin of a request, if it is listed. Browsers send one, in the one spelling that the
/// configuration accepts.
fn allowed<'r>(origins: &Origins, headers: &'r HeaderMap) -> Option<&'r HeaderValue> {
    headers.get(ORIGIN).filter(|origin| origins.contains(origin))
}
