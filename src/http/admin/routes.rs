//! `/admin/routes`: the forward-auth policy. A write answers when this instance goes by the new policy.

use actix_web::http::StatusCode;
use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use super::schemas::{BodyFailures, Failure, OperatorFailures};
use super::{answer, author, document, not_done, read_json};
use crate::api::page::Page;
use crate::api::route::{self, ExplanationDocument, RouteDocument};
use crate::cluster;
use crate::db::{DbError, routes, transactions};
use crate::gateway::route::NewRoute;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::{AdminError, ApiError};
use crate::http::state::{Shared, Worker};
use crate::random::random_text;

/// Named, because the name of a generic type is not what the document calls it.
type RoutePage = Page<RouteDocument<'static>>;

/// The length of a route's id: 16 letters and digits.
const ID_LENGTH: usize = 16;

/// `GET /admin/routes`: all of them, oldest first.
#[utoipa::path(
    get,
    path = "/admin/routes",
    operation_id = "listRoutes",
    summary = "The forward-auth policy, oldest route first",
    responses((status = 200, body = RoutePage), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn list_routes(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    let shared = &Worker::of(&request).shared;
    let all = shared.db.read(routes::list).await.map_err(|error| not_done(&error))?;
    Ok(document(&Page {
        items: all.iter().map(RouteDocument::from).collect(),
        next_cursor: None,
    }))
}

/// `POST /admin/routes`
#[utoipa::path(
    post,
    path = "/admin/routes",
    operation_id = "addRoute",
    summary = "Add a route",
    request_body(content = NewRoute),
    responses((status = 201, body = RouteDocument<'static>), OperatorFailures, BodyFailures, Failure<409>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn add_route(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let by = author(&request, &require(&request, Right::Write).await?);
    let new: NewRoute = read_json(&request, payload).await?;
    let worker = Worker::of(&request);
    let route = new
        .route(random_text(ID_LENGTH), worker.now())
        .map_err(|malformed| ApiError::Admin(AdminError::Refused(StatusCode::BAD_REQUEST, malformed.text())))?;
    let added = route.clone();
    let inserted = worker
        .shared
        .db
        .run(move |conn| transactions::add_route(conn, &by, &added))
        .await;
    inserted.map_err(|error| match error {
        DbError::Conflict => {
            const THERE: &str = "there is a route for the same method, host and path already";
            ApiError::Admin(AdminError::Refused(StatusCode::CONFLICT, THERE))
        }
        other => not_done(&other),
    })?;
    take_over(&worker.shared).await?;
    Ok(answer(StatusCode::CREATED, &RouteDocument::from(&route)))
}

/// `DELETE /admin/routes/{id}`
#[utoipa::path(
    delete,
    path = "/admin/routes/{id}",
    operation_id = "removeRoute",
    summary = "Remove a route",
    params(("id" = String, Path)),
    responses((status = 204), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn remove_route(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let by = author(&request, &require(&request, Right::Write).await?);
    let worker = Worker::of(&request);
    let (id, now) = (id.into_inner(), worker.now());
    let deleted = worker
        .shared
        .db
        .run(move |conn| transactions::remove_route(conn, &by, &id, now))
        .await;
    let deleted = deleted.map_err(|error| not_done(&error))?;
    take_over(&worker.shared).await?;
    if !deleted {
        let missing = AdminError::Refused(StatusCode::NOT_FOUND, "there is no route with this id");
        return Err(ApiError::Admin(missing));
    }
    Ok(HttpResponse::NoContent().finish())
}

/// What `POST /admin/routes/explain` takes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    method: String,
    url: String,
}

/// `POST /admin/routes/explain`: which route decides about a request, and why. It goes by what is in the database.
#[utoipa::path(
    post,
    path = "/admin/routes/explain",
    operation_id = "explainRoute",
    summary = "Which route decides about a request, and why",
    request_body(content = Question),
    responses((status = 200, body = ExplanationDocument<'static>), OperatorFailures, BodyFailures),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn explain_route(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Write).await?;
    let question: Question = read_json(&request, payload).await?;
    let table = Worker::of(&request).shared.db.run_repeatable(routes::table).await;
    let table = table.map_err(|error| not_done(&error))?;
    Ok(document(&route::explain(&table, &question.method, &question.url)))
}

/// What was written counts here from now on.
async fn take_over(shared: &Shared) -> Result<(), ApiError> {
    let reloaded = cluster::routes::reload(&shared.db, &shared.routes).await;
    reloaded.map_err(|error| not_done(&error))?;
    shared.db.catch_up().await.map_err(|error| not_done(&error))
}
