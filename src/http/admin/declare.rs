//! `PUT /admin/clients/{client_id}`: a client is declared as a whole.

use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::clients::{CreatedClient, created, versioned};
use super::error::bad_request;
use super::schemas::{BodyFailures, Failure, OperatorFailures};
use super::version::{IfMatchParameter, IfNoneMatchParameter, Precondition, must_be_new};
use super::{document, principal, read_json};
use crate::admin::{DeclaredClient, OperationError};
use crate::api::client::ClientDocument;
use crate::api::declaration::Declaration;
use crate::http::body::Payload;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::duty::Duty;

/// `PUT /admin/clients/{client_id}`: 201 as `POST` for a new client; 200 for one that exists, and
/// that is changed if it differs.
#[utoipa::path(
    put,
    path = "/admin/clients/{client_id}",
    operation_id = "declareClient",
    summary = "Create a client with this id, or change it to the members that are given and the defaults of the others",
    params(("client_id" = String, Path), IfMatchParameter, IfNoneMatchParameter),
    request_body(content = Declaration),
    responses((status = 200, body = ClientDocument, headers(("ETag" = String, description = "The version of the client"))), (status = 201, body = CreatedClient<'static>, headers(("ETag" = String, description = "The version of the client"), ("Location" = String, description = "Where the client is"))), OperatorFailures, BodyFailures, Failure<409>, Failure<412>),
    security(("bearer" = ["mintage:clients"])),
)]
pub async fn declare_client(
    request: HttpRequest,
    id: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    let by = principal(worker, &worker.caller(&request), Duty::Clients).await?;
    let precondition = Precondition::of(request.headers())?;
    let must_be_new = must_be_new(request.headers())?;
    let declaration: Declaration = read_json(worker, request.headers(), payload).await?;
    let id = ClientId::parse(&id)
        .ok_or_else(|| bad_request("the client id in the path must be 1 to 128 printable ASCII characters"))?;
    let suits = |client: Option<&Client>| match client {
        Some(_) if must_be_new => Err(OperationError::NotNew),
        Some(client) if precondition.matches(client) => Ok(()),
        None if precondition == Precondition::None => Ok(()),
        _ => Err(OperationError::VersionMismatch),
    };
    let admin = &worker.shared.admin;
    Ok(match admin.declare_client(by, id, &declaration, suits).await? {
        DeclaredClient::Created(client) => created(&client),
        DeclaredClient::Existing(client) => versioned(document(&ClientDocument::from(&*client)), &client),
    })
}
