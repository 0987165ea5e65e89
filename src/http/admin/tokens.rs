//! `/admin/tokens` and `/admin/clients/{client_id}/revoke-tokens`: an operator lists the records of
//! tokens and revokes tokens.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::clients::client_id;
use super::error::bad_request;
use super::page::{PageParameters, PageRequest, Query};
use super::schemas::{Failure, OperatorFailures};
use super::{document, principal};
use crate::admin::OperationError;
use crate::api::page::Page;
use crate::api::token::TokenDocument;
use crate::http::auth::operator::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::client::ClientId;
use crate::oauth::duty::Duty;
use crate::oauth::stored_secret;
use crate::oauth::token_id::TokenId;

/// An alias, because the OpenAPI document names the schema after the type named at the handler.
type TokenPage = Page<TokenDocument>;

/// `GET /admin/tokens?client_id=`: the tokens of a client, the newest first; with `secret_id=`, those
/// that were issued for one of its secrets. A page with fewer
/// tokens than `limit`, or with none, need not be the last.
#[utoipa::path(
    get,
    path = "/admin/tokens",
    operation_id = "listTokens",
    summary = "The records of a client's tokens, newest first",
    params(("client_id" = String, Query, description = "The client whose tokens are listed", pattern = "^[ -~]{1,128}$"), ("secret_id" = Option<String>, Query, description = "Only tokens that were issued for this secret", pattern = "^[A-Za-z0-9]{1,64}$"), PageParameters),
    responses((status = 200, body = TokenPage), OperatorFailures),
    security(("bearer" = ["mintage:read"]), ("bearer" = ["mintage:tokens"])),
)]
pub async fn list_tokens(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::ReadOf(Duty::Tokens)).await?;
    let query = Query::of_list(request.query_string(), &["client_id", "secret_id"])?;
    let id = query
        .get("client_id")
        .ok_or_else(|| bad_request("client_id must be given"))?;
    let id = ClientId::parse(id).ok_or_else(|| bad_request("client_id must be 1 to 128 printable ASCII characters"))?;
    let secret_id = query.get("secret_id").map(str::to_owned);
    if !secret_id.as_deref().is_none_or(stored_secret::is_id) {
        return Err(bad_request("secret_id must be letters and digits"));
    }
    // A client id may contain a space, a secret id may not.
    let list = format!("tokens {} {id}", secret_id.as_deref().unwrap_or_default());
    let page = PageRequest::read(&query, list, TokenId::parse)?;
    let admin = &worker.shared.admin;
    let list = admin.list_tokens(id, secret_id, page.after, page.limit).await?;
    Ok(document(&Page {
        items: list.tokens,
        next_cursor: list.next.map(|next| page.cursor(&next)),
    }))
}

/// `DELETE /admin/tokens/{jti}`: 204, also for a token that is revoked already or whose record is
/// not written yet.
#[utoipa::path(
    delete,
    path = "/admin/tokens/{jti}",
    operation_id = "revokeToken",
    summary = "Revoke a token",
    params(("jti" = String, Path)),
    responses((status = 204), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:tokens"])),
)]
pub async fn revoke_token(request: HttpRequest, jti: Path<String>) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Tokens).await?;
    let jti = TokenId::parse(&jti).ok_or(OperationError::TokenNotFound)?;
    worker.shared.admin.revoke_token(by, jti).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /admin/clients/{client_id}/revoke-tokens`: 204. Every token that was issued to the client
/// until now is inactive.
#[utoipa::path(
    post,
    path = "/admin/clients/{client_id}/revoke-tokens",
    operation_id = "revokeTokensOfClient",
    summary = "Revoke every token that was issued to a client until now",
    params(("client_id" = String, Path)),
    responses((status = 204), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:tokens"])),
)]
pub async fn revoke_client_tokens(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Tokens).await?;
    let admin = &worker.shared.admin;
    admin.revoke_client_tokens(by, client_id(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}
