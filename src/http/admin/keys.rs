//! `/admin/keys`: the signing keys without anything private, and new ones before their time.

use actix_web::http::StatusCode;
use actix_web::web::Payload;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use super::schemas::{BodyFailures, Failure, OperatorFailures};
use super::{answer, author, document, not_done, read_json_or_nothing};
use crate::api::key::KeyDocument;
use crate::api::page::Page;
use crate::db::signing_keys;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::{AdminError, ApiError};
use crate::http::state::Worker;
use crate::keys::KeyRecord;
use crate::keys::rotation::Activation;
use crate::oauth::alg::Alg;
use crate::time::UnixMillis;

/// Named, because the name of a generic type is not what the document calls it.
type KeyPage = Page<KeyDocument>;

/// `GET /admin/keys`: all of them, oldest first.
#[utoipa::path(
    get,
    path = "/admin/keys",
    operation_id = "listKeys",
    summary = "The signing keys, oldest first",
    responses((status = 200, body = KeyPage), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn list_keys(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    let worker = Worker::of(&request);
    let all = worker.shared.db.read(signing_keys::records).await;
    let all = all.map_err(|error| not_done(&error))?;
    Ok(document(&page(&all, &all, worker.now())))
}

/// What `POST /admin/keys/rotate` takes; nothing at all is every algorithm, in time.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    /// One algorithm only.
    #[serde(default, deserialize_with = "named")]
    #[schema(value_type = Option<String>, pattern = "^(ES256|EdDSA|RS256|PS256|HS256)$")]
    alg: Option<Alg>,
    /// For stolen keys: the new ones sign at once, and the others are gone with all that they signed.
    #[serde(default)]
    immediately: bool,
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Alg>, D::Error> {
    let name = Option::<String>::deserialize(deserializer)?;
    name.map(|name| name.parse().map_err(serde::de::Error::custom))
        .transpose()
}

/// `POST /admin/keys/rotate`: 201 with the new keys, which say from when on they sign; 409 if each that was asked for
/// waits already. When it answers, they are in the JWKS of this instance.
#[utoipa::path(
    post,
    path = "/admin/keys/rotate",
    operation_id = "rotateKeys",
    summary = "Publish new signing keys, which say from when on they sign",
    request_body(content = Rotate),
    responses((status = 201, body = KeyPage), OperatorFailures, BodyFailures, Failure<409>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn rotate_keys(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let by = author(&request, &require(&request, Right::Write).await?);
    let asked: Rotate = read_json_or_nothing(&request, payload).await?;
    let worker = Worker::of(&request);
    let algs = asked.alg.map_or(Alg::ALL.to_vec(), |alg| vec![alg]);
    let takeover = match asked.immediately {
        true => Activation::Immediate,
        false => Activation::Scheduled,
    };
    let rotated = worker.shared.rotation.rotate(by, algs, takeover).await;
    let rotated = rotated.map_err(|error| not_done(&error))?;
    if rotated.published.is_empty() {
        const WAITS: &str = "a new key waits already, GET /admin/keys says from when on it signs";
        return Err(ApiError::Admin(AdminError::Refused(StatusCode::CONFLICT, WAITS)));
    }
    let new = page(&rotated.published, &rotated.keys, worker.now());
    Ok(answer(StatusCode::CREATED, &new))
}

fn page(keys: &[KeyRecord], all: &[KeyRecord], now: UnixMillis) -> Page<KeyDocument> {
    Page {
        items: keys.iter().map(|key| KeyDocument::new(key, all, now)).collect(),
        next_cursor: None,
    }
}
