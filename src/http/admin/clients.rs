//! `/admin/clients`: clients are listed, shown, created, updated and deleted.

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, HeaderValue, LOCATION};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::bad_request;
use super::page::{PageParameters, PageRequest, Query};
use super::schemas::{BodyFailures, Failure, OperatorFailures};
use super::version::{IfMatchParameter, Precondition, etag};
use super::{document, document_with, principal, read_json};
use crate::admin::OperationError;
use crate::api::client::ClientDocument;
use crate::api::client_fields::ClientFields;
use crate::api::client_search::ClientSearch;
use crate::api::declaration::Declaration;
use crate::api::page::Page;
use crate::http::auth::operator::{Right, require};
use crate::http::body::Payload;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::duty::Duty;

/// An alias, because the OpenAPI document names the schema after the type named at the handler.
type ClientPage = Page<ClientDocument>;

/// A new client. This is the only time that its secret is shown.
#[derive(Serialize, ToSchema)]
pub struct CreatedClient<'a> {
    #[serde(flatten)]
    client: ClientDocument,
    secret_id: &'a str,
    /// Left out if the request gave the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret: Option<&'a str>,
}

/// `GET /admin/clients`, in the order of their ids; with `name=` or `label=`, those that match. A page
/// of these may have fewer clients than `limit`, or none, without being the last.
#[utoipa::path(
    get,
    path = "/admin/clients",
    operation_id = "listClients",
    summary = "Clients, in the order of their ids",
    params(("name" = Option<String>, Query, description = "Only clients whose name contains this text, without regard to the case of ASCII letters", max_length = 200), ("label" = Option<Vec<String>>, Query, description = "Only clients with this label, KEY=VALUE, or KEY for any value; given several times, with all of them", max_items = 8), PageParameters),
    responses((status = 200, body = ClientPage), OperatorFailures),
    security(("bearer" = ["mintage:read"]), ("bearer" = ["mintage:clients"]), ("bearer" = ["mintage:tokens"])),
)]
pub async fn list_clients(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::ReadClients).await?;
    let query = Query::with_repeatable(request.query_string(), &["name"], &["label"])?;
    let search = ClientSearch::new(query.get("name"), query.all("label")).map_err(bad_request)?;
    let page = PageRequest::read(&query, search.list(), ClientId::parse)?;
    let admin = &worker.shared.admin;
    let found = admin.list_clients(search, page.after.clone(), page.limit).await?;
    Ok(document(&Page {
        items: found.clients.iter().map(ClientDocument::from).collect(),
        next_cursor: found.next.map(|next| page.cursor(&next)),
    }))
}

/// `POST /admin/clients`: 201 with the client and its secret.
#[utoipa::path(
    post,
    path = "/admin/clients",
    operation_id = "createClient",
    summary = "Create a client",
    request_body(content = Declaration),
    responses((status = 201, body = CreatedClient<'static>, headers(("ETag" = String, description = "The version of the client"), ("Location" = String, description = "Where the client is"))), OperatorFailures, BodyFailures, Failure<409>),
    security(("bearer" = ["mintage:clients"])),
)]
pub async fn create_client(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Clients).await?;
    let new: Declaration = read_json(worker, request.headers(), payload).await?;
    Ok(created(&worker.shared.admin.create_client(by, &new).await?))
}

/// 201 with a new client, and its secret if it was generated.
pub fn created(created: &crate::admin::CreatedClient) -> HttpResponse {
    let client = &created.client;
    let shown = CreatedClient {
        client: ClientDocument::from(client),
        secret_id: &client.secrets[0].id,
        client_secret: created.secret.as_ref().map(ClientSecret::reveal),
    };
    let mut response = versioned(document_with(StatusCode::CREATED, &shown), client);
    response.headers_mut().insert(LOCATION, location(&client.id));
    response
}

/// `GET /admin/clients/{client_id}`
#[utoipa::path(
    get,
    path = "/admin/clients/{client_id}",
    operation_id = "showClient",
    summary = "A client",
    params(("client_id" = String, Path)),
    responses((status = 200, body = ClientDocument, headers(("ETag" = String, description = "The version of the client"))), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:read"]), ("bearer" = ["mintage:clients"]), ("bearer" = ["mintage:tokens"])),
)]
pub async fn show_client(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::ReadClients).await?;
    let client = worker.shared.admin.find_client(client_id(&id)?).await?;
    Ok(versioned(document(&ClientDocument::from(&client)), &client))
}

/// `PATCH /admin/clients/{client_id}`: updates the members that are given.
#[utoipa::path(
    patch,
    path = "/admin/clients/{client_id}",
    operation_id = "changeClient",
    summary = "Update the members of a client that are given",
    params(("client_id" = String, Path), IfMatchParameter),
    request_body(content = ClientFields),
    responses((status = 200, body = ClientDocument, headers(("ETag" = String, description = "The version of the client"))), OperatorFailures, BodyFailures, Failure<404>, Failure<412>),
    security(("bearer" = ["mintage:clients"])),
)]
pub async fn update_client(request: HttpRequest, id: Path<String>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Clients).await?;
    let precondition = Precondition::of(request.headers())?;
    let fields: ClientFields = read_json(worker, request.headers(), payload).await?;
    let admin = &worker.shared.admin;
    let is_expected = move |client: &Client| precondition.matches(client);
    let client = admin.update_client(by, client_id(&id)?, fields, is_expected).await?;
    Ok(versioned(document(&ClientDocument::from(&client)), &client))
}

/// `DELETE /admin/clients/{client_id}`: 204. The secrets of the client are deleted too, and its
/// tokens become inactive for good.
#[utoipa::path(
    delete,
    path = "/admin/clients/{client_id}",
    operation_id = "deleteClient",
    summary = "Delete a client; its tokens become inactive for good",
    params(("client_id" = String, Path), IfMatchParameter),
    responses((status = 204), OperatorFailures, Failure<404>, Failure<412>),
    security(("bearer" = ["mintage:clients"])),
)]
pub async fn delete_client(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Clients).await?;
    let precondition = Precondition::of(request.headers())?;
    let admin = &worker.shared.admin;
    let is_expected = move |client: &Client| precondition.matches(client);
    admin.delete_client(by, client_id(&id)?, is_expected).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The client id in a path, which the router has decoded.
///
/// # Errors
/// As for a client that does not exist, for text that no client can have as its id.
pub fn client_id(text: &str) -> Result<ClientId, OperationError> {
    ClientId::parse(text).ok_or(OperationError::ClientNotFound)
}

/// The path of a client. Every character that has a meaning in a URL is escaped.
pub fn location(id: &ClientId) -> HeaderValue {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let path = format!("/admin/clients/{}", utf8_percent_encode(id.as_str(), ESCAPED));
    HeaderValue::from_str(&path).expect("a path of unreserved characters and escapes")
}

/// A response about a client, with its version.
pub fn versioned(mut response: HttpResponse, client: &Client) -> HttpResponse {
    response.headers_mut().insert(ETAG, etag(client));
    response
}
