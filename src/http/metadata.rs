//! Authorization server metadata (RFC 8414) and public keys (RFC 7517).

use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};

use super::admin::schemas::{Jwks, OAuthFailure};
use super::error::{ApiError, json};
use super::state::Worker;
use crate::keys::KeysUnusable;
use crate::oauth::metadata::{JWKS_PATH, METADATA_PATH, Metadata};

/// `GET /.well-known/oauth-authorization-server`
#[utoipa::path(
    get,
    path = METADATA_PATH,
    operation_id = "metadata",
    summary = "The metadata (RFC 8414)",
    responses((status = 200, body = Metadata), OAuthFailure<413>),
)]
pub async fn metadata(request: HttpRequest) -> HttpResponse {
    let settings = &Worker::of(&request).shared.settings;
    json(&mut HttpResponse::Ok())
        .insert_header((CACHE_CONTROL, max_age(settings.jwks_max_age)))
        .body(settings.metadata.clone())
}

/// `GET /.well-known/jwks.json`
#[utoipa::path(
    get,
    path = JWKS_PATH,
    operation_id = "jwks",
    summary = "The public keys (RFC 7517)",
    responses((status = 200, body = Jwks), OAuthFailure<413>, OAuthFailure<503>),
)]
pub async fn jwks(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let shared = &Worker::of(&request).shared;
    let ring = match shared.keys.ring() {
        None if shared.readiness.warmed_up().await => shared.keys.ring(),
        ring => ring,
    };
    let ring = ring.ok_or(KeysUnusable::NotLoaded)?;
    let mut builder = HttpResponse::Ok();
    // A cached JWKS must expire early enough to learn the next key before that key signs.
    let silence = shared.readiness.feed_lag.age().unwrap_or_default();
    let settings = &shared.settings;
    let lifetime = settings.schedule.jwks_max_age(settings.jwks_max_age, silence);
    json(&mut builder).insert_header((CACHE_CONTROL, max_age(lifetime)));
    Ok(builder.body(ring.jwks().to_owned()))
}

fn max_age(time: std::time::Duration) -> HeaderValue {
    HeaderValue::try_from(format!("public, max-age={}", time.as_secs()))
        .expect("letters and digits are valid in a header")
}
