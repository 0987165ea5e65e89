//! `/admin/clients/{client_id}/secrets`: several at a time, so that one can take over from another.

use actix_web::http::StatusCode;
use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clients::{NO_CLIENT, find, named, take_over};
use super::page::bad_request;
use super::schemas::{BodyFailures, Failure, OperatorFailures};
use super::version::Precondition;
use super::{answer, author, document, not_done, read_json_or_nothing};
use crate::api::page::Page;
use crate::api::secret::SecretDocument;
use crate::db::secrets::{Added, MAX_SECRETS};
use crate::db::transactions;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::{AdminError, ApiError};
use crate::http::state::Worker;
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::stored_secret::{MAX_LIFETIME_SECONDS, StoredSecret};
use crate::time::UnixMillis;

/// Named, because the name of a generic type is not what the document calls it.
type SecretPage = Page<SecretDocument>;

/// What `POST /admin/clients/{client_id}/secrets` takes; all of it may be left out, the body too.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// How long the new secret counts; left out, until it is revoked.
    #[schema(minimum = 1, maximum = 316_224_000)]
    expires_in_seconds: Option<i64>,
    /// How long the secrets that the client has still count, those that end earlier excepted; left out, as before.
    #[schema(minimum = 0, maximum = 316_224_000)]
    others_expire_in_seconds: Option<i64>,
}

/// A secret that was just made; it is shown this once.
#[derive(Serialize, ToSchema)]
pub struct CreatedSecret<'a> {
    secret_id: &'a str,
    client_secret: &'a str,
    /// `null`: it counts until it is revoked.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// `GET /admin/clients/{client_id}/secrets`: ids and times of all of them, oldest first.
#[utoipa::path(
    get,
    path = "/admin/clients/{client_id}/secrets",
    operation_id = "listSecrets",
    summary = "The secrets of a client: ids and times",
    params(("client_id" = String, Path)),
    responses((status = 200, body = SecretPage), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn list_secrets(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    let client = find(&Worker::of(&request).shared.db, named(&id)?).await?;
    Ok(document(&Page {
        items: client.secrets.iter().map(SecretDocument::from).collect(),
        next_cursor: None,
    }))
}

/// `POST /admin/clients/{client_id}/secrets`: 201 with one more.
#[utoipa::path(
    post,
    path = "/admin/clients/{client_id}/secrets",
    operation_id = "addSecret",
    summary = "Give a client one more secret",
    params(("client_id" = String, Path)),
    request_body(content = NewSecret),
    responses((status = 201, body = CreatedSecret<'static>), OperatorFailures, BodyFailures, Failure<404>, Failure<409>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn add_secret(request: HttpRequest, id: Path<String>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let claims = require(&request, Right::Write).await?;
    Precondition::refuse(&request)?;
    let new: NewSecret = read_json_or_nothing(&request, payload).await?;
    let worker = Worker::of(&request);
    let (now, by) = (worker.now(), author(&request, &claims));
    let after = |seconds: i64| UnixMillis(now.0 + seconds * 1000);
    let (expires_at, others_end) = new.checked()?;
    let id = named(&id)?;
    let secret = ClientSecret::generate();
    let mut stored = StoredSecret::new(&secret, now);
    stored.expires_at = expires_at.map(after);
    let (subject, made, others_end) = (id.clone(), stored.clone(), others_end.map(after));
    let added = worker
        .shared
        .db
        .run(move |conn| transactions::add_secret(conn, &by, &subject, &made, others_end))
        .await
        .map_err(|error| not_done(&error))?;
    match added {
        Added::Done => {}
        Added::NoClient => return Err(NO_CLIENT),
        Added::TooMany => return Err(too_many()),
    }
    // It is made: whoever gets no answer now never sees it. If this fails, it counts when the feed has come by.
    if take_over(&worker.shared, &id).await.is_err() {
        log::warn!(client:% = id; "secret not in effect yet");
    }
    Ok(answer(
        StatusCode::CREATED,
        &CreatedSecret {
            secret_id: &stored.id,
            client_secret: secret.reveal(),
            expires_at: stored.expires_at.map(|moment| moment.to_string()),
        },
    ))
}

/// `DELETE /admin/clients/{client_id}/secrets/{secret_id}`: 204; it does not count any more.
#[utoipa::path(
    delete,
    path = "/admin/clients/{client_id}/secrets/{secret_id}",
    operation_id = "revokeSecret",
    summary = "Take a secret away",
    params(("client_id" = String, Path), ("secret_id" = String, Path)),
    responses((status = 204), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn revoke_secret(request: HttpRequest, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let claims = require(&request, Right::Write).await?;
    Precondition::refuse(&request)?;
    let worker = Worker::of(&request);
    let (now, by) = (worker.now(), author(&request, &claims));
    let (id, secret_id) = path.into_inner();
    let id = named(&id)?;
    let subject = id.clone();
    let revoked = worker
        .shared
        .db
        .run(move |conn| transactions::revoke_secret(conn, &by, &subject, &secret_id, now))
        .await
        .map_err(|error| not_done(&error))?;
    if !revoked {
        const MISSING: &str = "the client has no secret with this id";
        return Err(ApiError::Admin(AdminError::Refused(StatusCode::NOT_FOUND, MISSING)));
    }
    take_over(&worker.shared, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl NewSecret {
    fn checked(&self) -> Result<(Option<i64>, Option<i64>), ApiError> {
        let within = |seconds: Option<i64>, least| {
            seconds.is_none_or(|seconds| (least..=MAX_LIFETIME_SECONDS).contains(&seconds))
        };
        if !within(self.expires_in_seconds, 1) {
            return Err(bad_request("expires_in_seconds must be from 1 to 316224000"));
        }
        if !within(self.others_expire_in_seconds, 0) {
            return Err(bad_request("others_expire_in_seconds must be from 0 to 316224000"));
        }
        Ok((self.expires_in_seconds, self.others_expire_in_seconds))
    }
}

fn too_many() -> ApiError {
    const { assert!(MAX_SECRETS == 10) };
    const WHY: &str = "the client has 10 secrets already: revoke one of them first";
    ApiError::Admin(AdminError::Refused(StatusCode::CONFLICT, WHY))
}
