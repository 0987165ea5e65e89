//! `/admin/openapi.json`: an OpenAPI 3.1 document of every endpoint, to generate clients from and
//! for fuzzers.
//!
//! Each operation is described at its handler and each schema at its type; this file collects them.
//! A test compares the document with the route table.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse};
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, PathItem, RefOr, Required};
use utoipa::{Modify, OpenApi};

use super::schemas::{self, OAuthErrorResponse, OperatorFailures};
use super::{
    audit, cache, clients, declare, denials, document, janitor, keys, operator, pool, routes, secrets, tokens, writer,
};
use crate::http::auth::operator::{Right, require};
use crate::http::error::{ApiError, Problem};
use crate::http::state::Worker;
use crate::http::{authorization, forward_auth, health, introspection, metadata, metrics, revocation, token};

/// `GET /admin/openapi.json`
#[utoipa::path(
    get,
    path = "/admin/openapi.json",
    operation_id = "openapi",
    summary = "This document",
    responses((status = 200, body = schemas::OpenApiDocument), OperatorFailures),
    security(("bearer" = ["mintage:audit"]), ("bearer" = ["mintage:read"]), ("bearer" = ["mintage:clients"]), ("bearer" = ["mintage:keys"]), ("bearer" = ["mintage:routes"]), ("bearer" = ["mintage:tokens"])),
)]
pub async fn openapi(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::Any).await?;
    Ok(document(&Api::openapi()))
}

/// The list of operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Mintage",
        description = "A machine-to-machine OAuth 2.0 token server.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        token::issue,
        introspection::introspect,
        revocation::revoke,
        metadata::jwks,
        metadata::metadata,
        metadata::openid_configuration,
        authorization::authorize,
        authorization::authorize_by_form,
        health::livez,
        health::readyz,
        metrics::metrics,
        forward_auth::validate,
        openapi,
        operator::show_self,
        cache::cache_stats,
        cache::clear_cache,
        writer::writer_stats,
        pool::pool_stats,
        janitor::janitor_stats,
        clients::list_clients,
        clients::create_client,
        clients::show_client,
        declare::declare_client,
        clients::update_client,
        clients::delete_client,
        secrets::list_secrets,
        secrets::add_secret,
        secrets::revoke_secret,
        tokens::revoke_client_tokens,
        tokens::list_tokens,
        tokens::revoke_token,
        keys::list_keys,
        keys::rotate_keys,
        routes::list_routes,
        routes::add_route,
        routes::explain_route,
        routes::remove_route,
        audit::list_audit,
        denials::list_denials
    ),
    components(schemas(OAuthErrorResponse, Problem<'static>)),
    modifiers(&Rules)
)]
struct Api;

/// Operations whose body is optional. `Option` in the description at the handler would mean that
/// the body may be `null`.
const OPTIONAL_BODIES: [&str; 2] = ["addSecret", "rotateKeys"];

/// What is derived for every operation, and so is not repeated at each handler.
struct Rules;

impl Modify for Rules {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        const CLIENT: &str = "Client id and secret, each form-encoded (RFC 6749 §2.3.1)";
        const BEARER: &str = "A token of this server for the audience of /admin, which a request for a scope that begins with mintage: yields. \
            mintage:admin allows every operation at /admin and /metrics";
        let basic = Http::builder().scheme(HttpAuthScheme::Basic).description(Some(CLIENT));
        let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some(BEARER));
        components.add_security_scheme("client", SecurityScheme::Http(basic.build()));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        let paths = &mut document.paths.paths;
        let validate = paths.get(forward_auth::PATH).cloned().unwrap_or_default();
        paths.insert("/validate/{path}".to_owned(), validate);
        for (path, item) in paths {
            let is_validate = path.starts_with(forward_auth::PATH);
            for (method, operation) in operations(item) {
                operation.tags = None;
                if is_validate {
                    set_operation_id(path, method, operation);
                }
                mark_optional_body(operation);
                append_scope(operation);
                describe_responses(operation);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    let every = [
        ("Get", &mut item.get),
        ("Head", &mut item.head),
        ("Post", &mut item.post),
        ("Put", &mut item.put),
        ("Patch", &mut item.patch),
        ("Delete", &mut item.delete),
        ("Options", &mut item.options),
        ("Trace", &mut item.trace),
    ];
    every
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// `/validate` accepts any method on two paths, and each operation needs an id of its own.
fn set_operation_id(path: &str, method: &str, operation: &mut Operation) {
    let has_path = path != forward_auth::PATH;
    operation.operation_id = Some(format!("validate{}{method}", if has_path { "Path" } else { "" }));
    if has_path {
        operation.parameters = Some(vec![path_parameter()]);
    }
}

fn path_parameter() -> Parameter {
    ParameterBuilder::new()
        .name("path")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

fn mark_optional_body(operation: &mut Operation) {
    let id = operation.operation_id.as_deref().unwrap_or_default();
    if let Some(body) = operation
        .request_body
        .as_mut()
        .filter(|_| OPTIONAL_BODIES.contains(&id))
    {
        body.required = Some(Required::False);
    }
}

/// The summary of an operation of operators ends with the scopes of which it requires one. Clients
/// without a token need none.
fn append_scope(operation: &mut Operation) {
    let security = serde_json::to_value(&operation.security).unwrap_or_default();
    let alternatives = security.as_array().into_iter().flatten();
    if alternatives.clone().any(|one| one.get("client").is_some()) {
        return;
    }
    let scopes: Vec<&str> = alternatives.filter_map(|one| one["bearer"][0].as_str()).collect();
    if let Some(summary) = operation.summary.as_mut().filter(|_| !scopes.is_empty()) {
        summary.push_str(&format!(" ({})", scopes.join(" or ")));
    }
}

/// A response without a description gets the reason phrase of its status.
fn describe_responses(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        let status = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok());
        if let (RefOr::T(response), Some(reason)) = (response, status.and_then(|status| status.canonical_reason()))
            && response.description.is_empty()
        {
            response.description = reason.to_owned();
        }
    }
}
