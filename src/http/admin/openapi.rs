//! `/admin/openapi.json`: every endpoint as an OpenAPI 3.1 document, for those who generate clients and for fuzzers.
//!
//! Schemas come from the types that are read and written; the table of operations stands here, and a test compares it with
//! the route table. What several operations have in common (who may call, how refusals look) is a rule, not a repetition.

mod operation;
mod schemas;

use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::HttpMethod;

use self::operation::{Document, JSON, Operation, text};
use self::schemas::{
    Introspection, Jwks, NewClient, Nothing, OAuthRefusal, Status, TokenQuestion, TokenRequestBody, TokenResponse,
};
use super::audit::JSON_LINES;
use super::cache::CacheStats;
use super::clients::CreatedClient;
use super::document;
use super::keys::Rotate;
use super::routes::Question;
use super::secrets::{CreatedSecret, NewSecret};
use crate::actors::batch_writer::WriterStats;
use crate::actors::janitor::JanitorDocument;
use crate::api::audit::AuditDocument;
use crate::api::client::ClientDocument;
use crate::api::client_fields::ClientFields;
use crate::api::key::KeyDocument;
use crate::api::page::Page;
use crate::api::route::{ExplanationDocument, RouteDocument};
use crate::api::secret::SecretDocument;
use crate::api::token::TokenDocument;
use crate::db::DbStats;
use crate::gateway::route::NewRoute;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::{ApiError, Problem};
use crate::http::forward_auth;
use crate::oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, METADATA_PATH, Metadata, REVOCATION_PATH, TOKEN_PATH};

/// `GET /admin/openapi.json`
pub async fn openapi(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    Ok(document(&api()))
}

const PROBLEM: &str = "application/problem+json";
const FORM: &str = "application/x-www-form-urlencoded";

/// The whole document.
fn api() -> OpenApi {
    let mut document = Document::default();
    protocol(&mut document);
    for_gateways(&mut document);
    administration(&mut document);
    document.finish()
}

/// What clients and their resource servers call.
fn protocol(document: &mut Document) {
    use HttpMethod::{Get, Post};
    let add = &mut |operation| document.add(operation);
    add(
        client(Post, TOKEN_PATH, "issueToken", "Issue an access token (RFC 6749 §4.4)")
            .reads::<TokenRequestBody>(&[FORM, JSON])
            .answers::<TokenResponse>(200),
    );
    add(client(
        Post,
        INTROSPECTION_PATH,
        "introspect",
        "Whether a token is active (RFC 7662)",
    )
    .reads::<TokenQuestion>(&[FORM])
    .answers::<Introspection>(200));
    add(client(Post, REVOCATION_PATH, "revoke", "Take a token back (RFC 7009)")
        .reads::<TokenQuestion>(&[FORM])
        .answers::<Nothing>(200));
    add(anybody(Get, JWKS_PATH, "jwks", "The public keys (RFC 7517)")
        .answers::<Jwks>(200)
        .fails(503));
    add(anybody(Get, METADATA_PATH, "metadata", "The metadata (RFC 8414)").answers::<Metadata>(200));
    add(anybody(Get, "/livez", "livez", "Whether the process runs").answers::<Status>(200));
    add(anybody(Get, "/metrics", "metrics", "What Prometheus reads")
        .empty(200)
        .also_as(200, "text/plain"));
    add(anybody(Get, "/readyz", "readyz", "Whether to send traffic here")
        .answers::<Status>(200)
        .answers::<Status>(503));
}

/// Forward-auth, which takes whatever method a gateway asks with.
fn for_gateways(document: &mut Document) {
    const METHODS: [(HttpMethod, &str); 8] = [
        (HttpMethod::Get, "Get"),
        (HttpMethod::Head, "Head"),
        (HttpMethod::Post, "Post"),
        (HttpMethod::Put, "Put"),
        (HttpMethod::Patch, "Patch"),
        (HttpMethod::Delete, "Delete"),
        (HttpMethod::Options, "Options"),
        (HttpMethod::Trace, "Trace"),
    ];
    for (method, name) in METHODS {
        for (path, id) in [(forward_auth::PATH, "validate"), ("/validate/{path}", "validatePath")] {
            let id = format!("{id}{name}");
            document.add(gateway(method.clone(), path, &id, "Whether a request may pass").empty(200));
        }
    }
}

/// What operators call.
fn administration(document: &mut Document) {
    use HttpMethod::{Delete, Get, Patch, Post};
    let add = &mut |operation| document.add(operation);
    add(reader(Get, "/admin/openapi.json", "openapi", "This document").answers::<schemas::OpenApiDocument>(200));
    add(reader(Get, "/admin/cache/stats", "cacheStats", "The client caches").answers::<CacheStats>(200));
    add(writer(Post, "/admin/cache/clear", "clearCache", "Empty the client caches").empty(204));
    add(reader(Get, "/admin/writer/stats", "writerStats", "The writer of token records").answers::<WriterStats>(200));
    add(reader(Get, "/admin/pool/stats", "poolStats", "The database pool").answers::<DbStats>(200));
    add(reader(
        Get,
        "/admin/janitor/stats",
        "janitorStats",
        "The removal of what has expired",
    )
    .answers::<JanitorDocument>(200));
    add(reader(
        Get,
        "/admin/clients",
        "listClients",
        "Clients, in the order of their ids",
    )
    .paged()
    .answers::<Page<ClientDocument>>(200));
    add(writer(Post, "/admin/clients", "createClient", "Make a client")
        .reads::<NewClient>(&[JSON])
        .answers::<CreatedClient<'_>>(201)
        .with_header(201, "ETag", "The version of the client")
        .with_header(201, "Location", "Where the client is")
        .fails(409));
    const CLIENT: &str = "/admin/clients/{client_id}";
    add(reader(Get, CLIENT, "showClient", "A client")
        .answers::<ClientDocument>(200)
        .with_header(200, "ETag", "The version of the client"));
    add(writer(
        Patch,
        CLIENT,
        "changeClient",
        "Change the members of a client that are given",
    )
    .conditional()
    .reads::<ClientFields>(&[JSON])
    .answers::<ClientDocument>(200)
    .with_header(200, "ETag", "The version of the client"));
    add(writer(
        Delete,
        CLIENT,
        "deleteClient",
        "Delete a client; its tokens are inactive for good",
    )
    .conditional()
    .empty(204));
    const SECRETS: &str = "/admin/clients/{client_id}/secrets";
    add(
        reader(Get, SECRETS, "listSecrets", "The secrets of a client: ids and times")
            .answers::<Page<SecretDocument>>(200),
    );
    add(writer(Post, SECRETS, "addSecret", "Give a client one more secret")
        .may_read::<NewSecret>()
        .answers::<CreatedSecret<'_>>(201)
        .fails(409));
    add(writer(
        Delete,
        "/admin/clients/{client_id}/secrets/{secret_id}",
        "revokeSecret",
        "Take a secret away",
    )
    .empty(204));
    add(writer(
        Post,
        "/admin/clients/{client_id}/revoke-tokens",
        "revokeTokensOfClient",
        "Make everything issued to a client until now inactive",
    )
    .empty(204));
    add(reader(
        Get,
        "/admin/tokens",
        "listTokens",
        "The records of a client's tokens, newest first",
    )
    .query(
        "client_id",
        "Whose",
        text().pattern(Some("^[ -~]{1,128}$")).build(),
        true,
    )
    .paged()
    .answers::<Page<TokenDocument>>(200));
    add(writer(Delete, "/admin/tokens/{jti}", "revokeToken", "Take a token back").empty(204));
    add(reader(Get, "/admin/keys", "listKeys", "The signing keys, oldest first").answers::<Page<KeyDocument>>(200));
    add(writer(
        Post,
        "/admin/keys/rotate",
        "rotateKeys",
        "Publish new signing keys, which say from when on they sign",
    )
    .may_read::<Rotate>()
    .answers::<Page<KeyDocument>>(201)
    .fails(409));
    add(reader(
        Get,
        "/admin/routes",
        "listRoutes",
        "The forward-auth policy, oldest route first",
    )
    .answers::<Page<RouteDocument<'_>>>(200));
    add(writer(Post, "/admin/routes", "addRoute", "Add a route")
        .reads::<NewRoute>(&[JSON])
        .answers::<RouteDocument<'_>>(201)
        .fails(409));
    add(writer(
        Post,
        "/admin/routes/explain",
        "explainRoute",
        "Which route decides about a request, and why",
    )
    .reads::<Question>(&[JSON])
    .answers::<ExplanationDocument<'_>>(200));
    add(writer(Delete, "/admin/routes/{id}", "removeRoute", "Remove a route").empty(204));
    add(
        reader(Get, "/admin/audit", "listAudit", "Who changed what, newest first")
            .paged()
            .answers::<Page<AuditDocument>>(200)
            .also_as(200, JSON_LINES),
    );
}

/// By a client that shows its secret.
fn client(method: HttpMethod, path: &str, id: &str, summary: &str) -> Operation {
    Operation::new(method, path, id, summary)
        .secured("client", &[])
        .refuses::<OAuthRefusal>(JSON, &[400, 401, 408, 413, 415, 429, 500, 503])
}

/// By whoever likes.
fn anybody(method: HttpMethod, path: &str, id: &str, summary: &str) -> Operation {
    Operation::new(method, path, id, summary).refuses::<OAuthRefusal>(JSON, &[413])
}

/// By a gateway, with the token of the request that it asks about.
fn gateway(method: HttpMethod, path: &str, id: &str, summary: &str) -> Operation {
    Operation::new(method, path, id, summary)
        .secured("bearer", &[])
        .refuses::<OAuthRefusal>(JSON, &[400, 401, 403, 408, 413, 500, 503])
}

/// By an operator who may look.
fn reader(method: HttpMethod, path: &str, id: &str, summary: &str) -> Operation {
    operator(method, path, id, summary, "mintage:read")
}

/// By an operator who may change things.
fn writer(method: HttpMethod, path: &str, id: &str, summary: &str) -> Operation {
    operator(method, path, id, summary, "mintage:admin")
}

fn operator(method: HttpMethod, path: &str, id: &str, summary: &str, scope: &str) -> Operation {
    let missing: &[u16] = if path.contains('{') { &[404] } else { &[] };
    Operation::new(method, path, id, &format!("{summary} ({scope})"))
        .secured("bearer", &[scope])
        .refuses::<Problem<'_>>(PROBLEM, &[400, 401, 403, 413, 500, 503])
        .refuses::<Problem<'_>>(PROBLEM, missing)
}
