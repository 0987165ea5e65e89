//! `/admin/routes`: the routes of the forward-auth policy.

use actix_web::http::StatusCode;
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use super::schemas::{BodyFailures, Failure, OperatorFailures};
use super::{document, document_with, principal, read_json};
use crate::api::page::Page;
use crate::api::route::{self, ExplanationDocument, RouteDocument};
use crate::gateway::route::NewRoute;
use crate::http::auth::operator::{Right, require};
use crate::http::body::Payload;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::duty::Duty;

/// An alias, because the OpenAPI document names the schema after the type named at the handler.
type RoutePage = Page<RouteDocument<'static>>;

/// `GET /admin/routes`: all routes, oldest first.
#[utoipa::path(
    get,
    path = "/admin/routes",
    operation_id = "listRoutes",
    summary = "The forward-auth policy, oldest route first",
    responses((status = 200, body = RoutePage), OperatorFailures),
    security(("bearer" = ["mintage:read"]), ("bearer" = ["mintage:routes"])),
)]
pub async fn list_routes(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::ReadOf(Duty::Routes)).await?;
    let all = worker.shared.admin.list_routes().await?;
    Ok(document(&Page {
        items: all.iter().map(RouteDocument::from).collect(),
        next_cursor: None,
    }))
}

/// `POST /admin/routes`: 201 with the route.
#[utoipa::path(
    post,
    path = "/admin/routes",
    operation_id = "addRoute",
    summary = "Add a route",
    request_body(content = NewRoute),
    responses((status = 201, body = RouteDocument<'static>), OperatorFailures, BodyFailures, Failure<409>),
    security(("bearer" = ["mintage:routes"])),
)]
pub async fn add_route(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Routes).await?;
    let new: NewRoute = read_json(worker, request.headers(), payload).await?;
    let route = worker.shared.admin.add_route(by, &new).await?;
    Ok(document_with(StatusCode::CREATED, &RouteDocument::from(&route)))
}

/// `DELETE /admin/routes/{id}`: 204.
#[utoipa::path(
    delete,
    path = "/admin/routes/{id}",
    operation_id = "removeRoute",
    summary = "Remove a route",
    params(("id" = String, Path)),
    responses((status = 204), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:routes"])),
)]
pub async fn remove_route(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Routes).await?;
    let admin = &worker.shared.admin;
    admin.remove_route(by, id.into_inner()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The body of `POST /admin/routes/explain`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    method: String,
    url: String,
}

/// `POST /admin/routes/explain`: which route decides about a request, and why, by the routes in the
/// database.
#[utoipa::path(
    post,
    path = "/admin/routes/explain",
    operation_id = "explainRoute",
    summary = "Which route decides about a request, and why",
    request_body(content = Question),
    responses((status = 200, body = ExplanationDocument<'static>), OperatorFailures, BodyFailures),
    security(("bearer" = ["mintage:read"]), ("bearer" = ["mintage:routes"])),
)]
pub async fn explain_route(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::ReadOf(Duty::Routes)).await?;
    let question: Question = read_json(worker, request.headers(), payload).await?;
    let table = worker.shared.admin.read_route_table().await?;
    Ok(document(&route::explain(&table, &question.method, &question.url)))
}
