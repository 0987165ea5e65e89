//! Authorization server metadata (RFC 8414), its alias, and public keys (RFC 7517).

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::admin::schemas::{Jwks, OAuthFailure};
use super::error::{ApiError, json};
use super::state::{Shared, Worker};
use crate::keys::{KeyRing, KeysUnusable};
use crate::oauth::metadata::{JWKS_PATH, METADATA_PATH, Metadata, OPENID_CONFIGURATION_PATH, OpenIdConfiguration};
use crate::oauth::response;

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
    document(&settings.metadata, settings.jwks_max_age)
}

/// `GET /.well-known/openid-configuration`: the same for readers that look nowhere else.
#[utoipa::path(
    get,
    path = OPENID_CONFIGURATION_PATH,
    operation_id = "openIdConfiguration",
    summary = "The metadata for readers of OpenID Connect Discovery",
    responses((status = 200, body = OpenIdConfiguration<'static>), OAuthFailure<413>, OAuthFailure<503>),
)]
pub async fn openid_configuration(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let shared = &Worker::of(&request).shared;
    let ring = loaded_ring(shared).await?;
    let settings = &shared.settings;
    let configuration = OpenIdConfiguration::new(&settings.metadata, &ring.published_algs());
    Ok(document(&configuration, settings.jwks_max_age))
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
    let ring = loaded_ring(shared).await?;
    let mut builder = HttpResponse::Ok();
    // A cached JWKS must expire early enough to learn the next key before that key signs.
    let silence = shared.readiness.feed_lag.age().unwrap_or_default();
    let settings = &shared.settings;
    let lifetime = settings.schedule.jwks_max_age(settings.jwks_max_age, silence);
    json(&mut builder).insert_header((CACHE_CONTROL, max_age(lifetime)));
    Ok(builder.body(ring.jwks().to_owned()))
}

/// The keys, as soon as they are loaded.
async fn loaded_ring(shared: &Shared) -> Result<Arc<KeyRing>, KeysUnusable> {
    let ring = match shared.keys.ring() {
        None if shared.readiness.warmed_up().await => shared.keys.ring(),
        ring => ring,
    };
    ring.ok_or(KeysUnusable::NotLoaded)
}

fn document(document: &impl Serialize, lifetime: Duration) -> HttpResponse {
    json(&mut HttpResponse::Ok())
        .insert_header((CACHE_CONTROL, max_age(lifetime)))
        .body(response::line(document))
}

fn max_age(time: Duration) -> HeaderValue {
    HeaderValue::try_from(format!("public, max-age={}", time.as_secs()))
        .expect("letters and digits are valid in a header")
}
