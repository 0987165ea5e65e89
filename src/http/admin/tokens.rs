//! `/admin/tokens` and `/admin/clients/{client_id}/revoke-tokens`: tokens listed, and taken back by an operator.

use actix_web::http::StatusCode;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::clients::{NO_CLIENT, named};
use super::page::{AskedPage, PageParameters, Query, bad_request};
use super::schemas::{Failure, OperatorFailures};
use super::{author, document, not_done};
use crate::api::page::Page;
use crate::api::token::TokenDocument;
use crate::db::tokens;
use crate::db::tokens::TokenRecord;
use crate::db::{DbError, transactions};
use crate::http::auth::bearer::{Right, require};
use crate::http::error::{AdminError, ApiError};
use crate::http::state::Worker;
use crate::oauth::activity::{InvalidatedToken, RevocationCheck};
use crate::oauth::client::{ClientId, TTL_SECONDS};
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// Named, because the name of a generic type is not what the document calls it.
type TokenPage = Page<TokenDocument>;

const NO_TOKEN: ApiError = ApiError::Admin(AdminError::Refused(
    StatusCode::NOT_FOUND,
    "there is no token with this id",
));

/// `GET /admin/tokens?client_id=`: what was issued to a client, the newest first. A page may hold fewer than `limit`, or
/// none, and not be the last: see [`tokens::of_client`].
#[utoipa::path(
    get,
    path = "/admin/tokens",
    operation_id = "listTokens",
    summary = "The records of a client's tokens, newest first",
    params(("client_id" = String, Query, description = "Whose", pattern = "^[ -~]{1,128}$"), PageParameters),
    responses((status = 200, body = TokenPage), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn list_tokens(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    let query = Query::of_list(&request, &["client_id"])?;
    let id = query
        .get("client_id")
        .ok_or_else(|| bad_request("client_id must be given"))?;
    let id = ClientId::parse(id).ok_or_else(|| bad_request("client_id must be 1 to 128 printable ASCII characters"))?;
    let asked = AskedPage::read(&query, format!("tokens {id}"), TokenId::parse)?;
    let (before, limit) = (asked.after, asked.limit);
    let worker = Worker::of(&request);
    let walked = worker
        .shared
        .db
        .read(move |conn| tokens::of_client(conn, &id, before, limit, tokens::WALK))
        .await
        .map_err(|error| not_done(&error))?;
    let (denials, now) = (&worker.shared.revocations, worker.now());
    Ok(document(&Page {
        items: walked
            .records
            .iter()
            .map(|record| shown(record, denials, now))
            .collect(),
        next_cursor: walked.next.map(|next| asked.cursor(&next)),
    }))
}

fn shown(record: &TokenRecord, denials: &impl RevocationCheck, now: UnixMillis) -> TokenDocument {
    let not_before = denials.client_status(&record.client_id).not_before;
    let too_early = not_before.is_some_and(|moment| record.jti.issued_at() < moment);
    let revoked = match too_early || denials.is_invalidated(&record.jti) {
        true => Some(true),
        // What has expired may have been revoked and forgotten.
        false => (now.seconds() < record.expires_at).then_some(false),
    };
    TokenDocument {
        jti: record.jti.to_string(),
        client_id: record.client_id.to_string(),
        scope: record.scope.to_string(),
        audience: record.audience.to_string(),
        issued_at: UnixMillis::from_seconds(record.issued_at).to_string(),
        expires_at: UnixMillis::from_seconds(record.expires_at).to_string(),
        one_time: record.one_time,
        revoked,
    }
}

/// Two hours, in milliseconds: more than clocks of instances may differ.
const CLOCKS_DIFFER: i64 = 2 * 3600 * 1000;

/// `DELETE /admin/tokens/{jti}`: 204, also for a token that was revoked before or is not recorded yet.
#[utoipa::path(
    delete,
    path = "/admin/tokens/{jti}",
    operation_id = "revokeToken",
    summary = "Take a token back",
    params(("jti" = String, Path)),
    responses((status = 204), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn revoke_token(request: HttpRequest, jti: Path<String>) -> Result<HttpResponse, ApiError> {
    let by = author(&request, &require(&request, Right::Write).await?);
    let shared = &Worker::of(&request).shared;
    let jti = TokenId::parse(&jti).ok_or(NO_TOKEN)?;
    // No instance's clock is so far ahead; what ends in the far future would be remembered for ever.
    if jti.issued_at().0 > shared.clock.now().0 + CLOCKS_DIFFER {
        return Err(NO_TOKEN);
    }
    let recorded = shared
        .db
        .run_repeatable(move |conn| tokens::expiry(conn, jti))
        .await
        .map_err(|error| not_done(&error))?;
    // A token whose record is still to be written ends at the latest when the longest-lived one of its moment does.
    let latest = jti.issued_at().seconds() + TTL_SECONDS.end();
    let invalidated = InvalidatedToken {
        jti,
        expires_at: recorded.unwrap_or(latest),
    };
    let now = shared.clock.now();
    shared
        .db
        .run_repeatable(move |conn| transactions::revoke_token(conn, &by, invalidated, now))
        .await
        .map_err(|error| not_revoked(&error))?;
    shared.revocations.invalidate(invalidated);
    shared.db.has_written();
    Ok(HttpResponse::NoContent().finish())
}

/// `POST /admin/clients/{client_id}/revoke-tokens`: 204; everything issued to the client until now is inactive.
#[utoipa::path(
    post,
    path = "/admin/clients/{client_id}/revoke-tokens",
    operation_id = "revokeTokensOfClient",
    summary = "Make everything issued to a client until now inactive",
    params(("client_id" = String, Path)),
    responses((status = 204), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn revoke_client_tokens(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let by = author(&request, &require(&request, Right::Write).await?);
    let shared = &Worker::of(&request).shared;
    let id = named(&id)?;
    let (client, now) = (id.clone(), shared.clock.now());
    let moment = shared
        .db
        .run_repeatable(move |conn| transactions::revoke_client_tokens(conn, &by, &client, now))
        .await
        .map_err(|error| not_revoked(&error))?
        .ok_or(NO_CLIENT)?;
    shared.revocations.set_not_before(&id, moment);
    shared.db.has_written();
    Ok(HttpResponse::NoContent().finish())
}

/// Whatever the reason: the caller must take it for not revoked, and try again.
fn not_revoked(error: &DbError) -> ApiError {
    log::warn!(error:%; "revocation not written");
    ApiError::Admin(AdminError::Unavailable)
}
