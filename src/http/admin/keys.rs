//! `/admin/keys`: the signing keys without their private parts, and their rotation on request.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::schemas::{BodyFailures, Failure, OperatorFailures};
use super::{document, document_with, principal, read_optional_json};
use crate::api::key::KeyDocument;
use crate::api::page::Page;
use crate::http::auth::operator::{Right, require};
use crate::http::body::Payload;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::keys::rotation::Activation;
use crate::oauth::alg::Alg;
use crate::oauth::duty::Duty;

/// An alias, because the OpenAPI document names the schema after the type named at the handler.
type KeyPage = Page<KeyDocument>;

/// `GET /admin/keys`: all keys, oldest first, then those that are not believed.
#[utoipa::path(
    get,
    path = "/admin/keys",
    operation_id = "listKeys",
    summary = "The signing keys, oldest first, then the rejected ones",
    responses((status = 200, body = KeyPage), OperatorFailures),
    security(("bearer" = ["mintage:read"]), ("bearer" = ["mintage:keys"])),
)]
pub async fn list_keys(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::ReadOf(Duty::Keys)).await?;
    let checked = worker.shared.admin.list_keys().await?;
    Ok(document(&KeyDocument::page_of_all(&checked, worker.now())))
}

/// The body of `POST /admin/keys/rotate`. Without it, every algorithm gets a new key, which is
/// activated as scheduled.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// The only algorithm to rotate; left out: all of them.
    #[serde(default, deserialize_with = "parse_alg")]
    #[schema(value_type = Option<String>, pattern = "^(ES256|EdDSA|RS256|PS256|HS256)$")]
    alg: Option<Alg>,
    /// For a leaked key: the new keys sign immediately; the old keys are removed, and every token
    /// that they signed becomes invalid.
    #[serde(default)]
    immediately: bool,
}

fn parse_alg<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Alg>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    name.map(|name| name.parse().map_err(serde::de::Error::custom))
        .transpose()
}

/// `POST /admin/keys/rotate`: 201 with the new keys and the times of their activation, 409 if each
/// requested algorithm has a key that is not active yet.
#[utoipa::path(
    post,
    path = "/admin/keys/rotate",
    operation_id = "rotateKeys",
    summary = "Publish new signing keys, with the times of their activation",
    request_body(content = Rotate),
    responses((status = 201, body = KeyPage), OperatorFailures, BodyFailures, Failure<409>),
    security(("bearer" = ["mintage:keys"])),
)]
pub async fn rotate_keys(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Keys).await?;
    let rotate: Rotate = read_optional_json(worker, request.headers(), payload).await?;
    let algs = rotate.alg.map_or(Alg::ALL.to_vec(), |alg| vec![alg]);
    let activation = match rotate.immediately {
        true => Activation::Immediate,
        false => Activation::Scheduled,
    };
    let rotated = worker.shared.admin.rotate_keys(by, algs, activation).await?;
    let published = KeyDocument::page(&rotated.published, &rotated.all, worker.now());
    Ok(document_with(StatusCode::CREATED, &published))
}
