//! `/admin/clients/{client_id}/secrets`: a client can have several secrets, so that a new one can
//! replace an old one without an outage.

use actix_web::http::StatusCode;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::clients::client_id;
use super::error::bad_request;
use super::schemas::{BodyFailures, Failure, OperatorFailures};
use super::version::Precondition;
use super::{document, document_with, principal, read_optional_json};
use crate::admin::SecretLifetimes;
use crate::api::declaration::GivenSecret;
use crate::api::page::Page;
use crate::api::secret::SecretDocument;
use crate::http::auth::operator::{Right, require};
use crate::http::body::Payload;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::duty::Duty;
use crate::oauth::stored_secret::MAX_LIFETIME_SECONDS;

/// An alias, because the OpenAPI document names the schema after the type named at the handler.
type SecretPage = Page<SecretDocument>;

/// The body of `POST /admin/clients/{client_id}/secrets`. Every member is optional, and so is the
/// body.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// How long the new secret is valid; left out: until it is revoked.
    #[schema(minimum = 1, maximum = 316_224_000)]
    expires_in_seconds: Option<i64>,
    /// How long the other secrets of the client remain valid, except those that expire earlier;
    /// left out: as before.
    #[schema(minimum = 0, maximum = 316_224_000)]
    others_expire_in_seconds: Option<i64>,
    /// A generated secret; left out: the server generates one.
    #[schema(value_type = Option<String>, min_length = 22, max_length = 512)]
    client_secret: Option<ClientSecret>,
    /// The SHA-256 digest of a random secret, in place of `client_secret`.
    #[schema(pattern = "^[0-9A-Fa-f]{64}$")]
    secret_sha256: Option<String>,
}

/// A new secret. This is the only time that it is shown.
#[derive(Serialize, ToSchema)]
pub struct CreatedSecret<'a> {
    secret_id: &'a str,
    /// Left out if the request gave the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
    /// `null`: it is valid until it is revoked.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// `GET /admin/clients/{client_id}/secrets`: the ids and times of all secrets, oldest first.
#[utoipa::path(
    get,
    path = "/admin/clients/{client_id}/secrets",
    operation_id = "listSecrets",
    summary = "The secrets of a client: ids and times",
    params(("client_id" = String, Path)),
    responses((status = 200, body = SecretPage), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:read"]), ("bearer" = ["mintage:clients"])),
)]
pub async fn list_secrets(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::ReadOf(Duty::Clients)).await?;
    let client = worker.shared.admin.find_client(client_id(&id)?).await?;
    Ok(document(&Page {
        items: client.secrets.iter().map(SecretDocument::from).collect(),
        next_cursor: None,
    }))
}

/// `POST /admin/clients/{client_id}/secrets`: 201 with the new secret.
#[utoipa::path(
    post,
    path = "/admin/clients/{client_id}/secrets",
    operation_id = "addSecret",
    summary = "Add a secret to a client",
    params(("client_id" = String, Path)),
    request_body(content = NewSecret),
    responses((status = 201, body = CreatedSecret<'static>), OperatorFailures, BodyFailures, Failure<404>, Failure<409>),
    security(("bearer" = ["mintage:clients"])),
)]
pub async fn add_secret(request: HttpRequest, id: Path<String>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Clients).await?;
    Precondition::reject(request.headers())?;
    let new: NewSecret = read_optional_json(worker, request.headers(), payload).await?;
    let lifetimes = new.lifetimes()?;
    let given = GivenSecret {
        text: new.client_secret,
        digest: new.secret_sha256,
    };
    let admin = &worker.shared.admin;
    let added = admin.add_secret(by, client_id(&id)?, &given, lifetimes).await?;
    let created = CreatedSecret {
        secret_id: &added.stored.id,
        client_secret: added.secret.as_ref().map(ClientSecret::reveal),
        expires_at: added.stored.expires_at.map(|moment| moment.to_string()),
    };
    Ok(document_with(StatusCode::CREATED, &created))
}

/// `DELETE /admin/clients/{client_id}/secrets/{secret_id}`: 204.
#[utoipa::path(
    delete,
    path = "/admin/clients/{client_id}/secrets/{secret_id}",
    operation_id = "revokeSecret",
    summary = "Revoke a secret",
    params(("client_id" = String, Path), ("secret_id" = String, Path)),
    responses((status = 204), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:clients"])),
)]
pub async fn revoke_secret(request: HttpRequest, path: Path<(String, String)>) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Clients).await?;
    Precondition::reject(request.headers())?;
    let (id, secret_id) = path.into_inner();
    let admin = &worker.shared.admin;
    admin.revoke_secret(by, client_id(&id)?, secret_id).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl NewSecret {
    fn lifetimes(&self) -> Result<SecretLifetimes, ApiError> {
        let is_valid =
            |seconds: Option<i64>, min| seconds.is_none_or(|seconds| (min..=MAX_LIFETIME_SECONDS).contains(&seconds));
        if !is_valid(self.expires_in_seconds, 1) {
            return Err(bad_request("expires_in_seconds must be from 1 to 316224000"));
        }
        if !is_valid(self.others_expire_in_seconds, 0) {
            return Err(bad_request("others_expire_in_seconds must be from 0 to 316224000"));
        }
        Ok(SecretLifetimes {
            new: self.expires_in_seconds,
            others: self.others_expire_in_seconds,
        })
    }
}
