//! `/admin/routes`: the forward-auth policy. A write answers when this instance goes by the new policy.

use actix_web::http::StatusCode;
use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{answer, author, document, not_done, read_json};
use crate::api::page::Page;
use crate::api::route::{self, RouteDocument};
use crate::cluster;
use crate::db::{DbError, routes, transactions};
use crate::gateway::route::NewRoute;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::{Shared, Worker};
use crate::random::random_text;

/// The length of a route's id: 16 letters and digits.
const ID_LENGTH: usize = 16;

/// `GET /admin/routes`: all of them, oldest first.
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
pub async fn add_route(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let by = author(&request, &require(&request, Right::Write).await?);
    let new: NewRoute = read_json(&request, payload).await?;
    let worker = Worker::of(&request);
    let route = new
        .route(random_text(ID_LENGTH), worker.now())
        .map_err(|malformed| ApiError::Problem(StatusCode::BAD_REQUEST, malformed.text()))?;
    let added = route.clone();
    let inserted = worker
        .shared
        .db
        .run(move |conn| transactions::add_route(conn, &by, &added))
        .await;
    inserted.map_err(|error| match error {
        DbError::Conflict => {
            const THERE: &str = "there is a route for the same method, host and path already";
            ApiError::Problem(StatusCode::CONFLICT, THERE)
        }
        other => not_done(&other),
    })?;
    take_over(&worker.shared).await?;
    Ok(answer(StatusCode::CREATED, &RouteDocument::from(&route)))
}

/// `DELETE /admin/routes/{id}`
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
        return Err(ApiError::Problem(
            StatusCode::NOT_FOUND,
            "there is no route with this id",
        ));
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
