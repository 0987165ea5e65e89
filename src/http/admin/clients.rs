//! `/admin/clients`: clients are made, shown, changed and deleted. A write answers when it counts on every worker of this
//! instance, or with 503; only what shows a new secret answers in any case. The others follow within a second.

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, HeaderValue, LOCATION};
use actix_web::web::{Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use utoipa::ToSchema;

use super::page::{AskedPage, PageParameters, Query};
use super::schemas::{BodyFailures, Failure, NewClient, OperatorFailures};
use super::version::{IfMatchParameter, Precondition, etag};
use super::{answer, author, document, not_done, read_json};
use crate::api::client::ClientDocument;
use crate::api::client_fields::{ClientFields, MalformedClient};
use crate::api::page::Page;
use crate::db::clients::{self, Changed};
use crate::db::transactions::{self, Deleted};
use crate::db::{Db, DbError};
use crate::http::auth::bearer::{Right, require};
use crate::http::error::{AdminError, ApiError};
use crate::http::state::{Shared, Worker};
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::stored_secret::StoredSecret;

/// Named, because the name of a generic type is not what the document calls it.
type ClientPage = Page<ClientDocument>;

/// A client that was just made. Its secret is shown this once.
#[derive(Serialize, ToSchema)]
pub struct CreatedClient<'a> {
    #[serde(flatten)]
    client: ClientDocument,
    secret_id: &'a str,
    client_secret: &'a str,
}

/// Why a client is not changed.
enum Refused {
    /// It is not the version that was meant.
    Stale,
    Malformed(MalformedClient),
}

const STALE: ApiError = ApiError::Admin(AdminError::Refused(
    StatusCode::PRECONDITION_FAILED,
    "the client is not the version that If-Match names",
));

/// There is no such client.
pub const NO_CLIENT: ApiError = ApiError::Admin(AdminError::Refused(
    StatusCode::NOT_FOUND,
    "there is no client with this id",
));

/// `GET /admin/clients`, in the order of their ids.
#[utoipa::path(
    get,
    path = "/admin/clients",
    operation_id = "listClients",
    summary = "Clients, in the order of their ids",
    params(PageParameters),
    responses((status = 200, body = ClientPage), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn list_clients(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    let query = Query::of_list(&request, &[])?;
    let asked = AskedPage::read(&query, "clients".into(), ClientId::parse)?;
    let (after, most) = (asked.after.clone(), asked.look_for());
    let found = Worker::of(&request)
        .shared
        .db
        .read(move |conn| clients::list(conn, after.as_ref().map(ClientId::as_str), most))
        .await
        .map_err(|error| not_done(&error))?;
    Ok(document(&asked.of(
        found,
        |client| client.id.clone(),
        |client| ClientDocument::from(&client),
    )))
}

/// `POST /admin/clients`: 201 with the client and its secret.
#[utoipa::path(
    post,
    path = "/admin/clients",
    operation_id = "createClient",
    summary = "Make a client",
    request_body(content = NewClient),
    responses((status = 201, body = CreatedClient<'static>, headers(("ETag" = String, description = "The version of the client"), ("Location" = String, description = "Where the client is"))), OperatorFailures, BodyFailures, Failure<409>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn create_client(request: HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let claims = require(&request, Right::Write).await?;
    let fields: ClientFields = read_json(&request, payload).await?;
    let worker = Worker::of(&request);
    let now = worker.now();
    let new = fields.new_id().and_then(|id| fields.new_client(id, now));
    let mut client = new.map_err(malformed)?;
    let secret = ClientSecret::generate();
    client.secrets.push(StoredSecret::new(&secret, now));
    let (made, by) = (client.clone(), author(&request, &claims));
    let db = &worker.shared.db;
    let created = db.run(move |conn| transactions::create_client(conn, &by, &made)).await;
    created.map_err(|error| match error {
        DbError::Conflict => {
            const THERE: &str = "there is a client with this id already";
            ApiError::Admin(AdminError::Refused(StatusCode::CONFLICT, THERE))
        }
        other => not_done(&other),
    })?;
    // It is made: whoever gets no answer now never sees its secret. If this fails, it counts when the feed has come by.
    if take_over(&worker.shared, &client.id).await.is_err() {
        log::warn!(client:% = client.id; "client not in effect yet");
    }
    let shown = CreatedClient {
        client: ClientDocument::from(&client),
        secret_id: &client.secrets[0].id,
        client_secret: secret.reveal(),
    };
    let mut answer = versioned(answer(StatusCode::CREATED, &shown), &client);
    answer.headers_mut().insert(LOCATION, location(&client.id));
    Ok(answer)
}

/// `GET /admin/clients/{client_id}`
#[utoipa::path(
    get,
    path = "/admin/clients/{client_id}",
    operation_id = "showClient",
    summary = "A client",
    params(("client_id" = String, Path)),
    responses((status = 200, body = ClientDocument, headers(("ETag" = String, description = "The version of the client"))), OperatorFailures, Failure<404>),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn show_client(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    let client = find(&Worker::of(&request).shared.db, named(&id)?).await?;
    Ok(versioned(document(&ClientDocument::from(&client)), &client))
}

/// `PATCH /admin/clients/{client_id}`: changes the members that are given.
#[utoipa::path(
    patch,
    path = "/admin/clients/{client_id}",
    operation_id = "changeClient",
    summary = "Change the members of a client that are given",
    params(("client_id" = String, Path), IfMatchParameter),
    request_body(content = ClientFields),
    responses((status = 200, body = ClientDocument, headers(("ETag" = String, description = "The version of the client"))), OperatorFailures, BodyFailures, Failure<404>, Failure<412>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn change_client(request: HttpRequest, id: Path<String>, payload: Payload) -> Result<HttpResponse, ApiError> {
    let claims = require(&request, Right::Write).await?;
    let precondition = Precondition::of(&request)?;
    let fields: ClientFields = read_json(&request, payload).await?;
    let worker = Worker::of(&request);
    let (id, now, by) = (named(&id)?, worker.now(), author(&request, &claims));
    let subject = id.clone();
    let change = move |client: &Client| match precondition.suits(client) {
        true => fields.applied_to(client, now).map_err(Refused::Malformed),
        false => Err(Refused::Stale),
    };
    let changed = worker
        .shared
        .db
        .run(move |conn| transactions::change_client(conn, &by, &subject, now, change))
        .await
        .map_err(|error| not_done(&error))?;
    let client = match changed {
        Changed::Done { after, .. } => after,
        Changed::Missing => return Err(NO_CLIENT),
        Changed::Refused(Refused::Stale) => return Err(STALE),
        Changed::Refused(Refused::Malformed(why)) => return Err(malformed(why)),
    };
    take_over(&worker.shared, &id).await?;
    Ok(versioned(document(&ClientDocument::from(&*client)), &client))
}

/// `DELETE /admin/clients/{client_id}`: 204; its secrets go with it, and its tokens are inactive for good.
#[utoipa::path(
    delete,
    path = "/admin/clients/{client_id}",
    operation_id = "deleteClient",
    summary = "Delete a client; its tokens are inactive for good",
    params(("client_id" = String, Path), IfMatchParameter),
    responses((status = 204), OperatorFailures, Failure<404>, Failure<412>),
    security(("bearer" = ["mintage:admin"])),
)]
pub async fn delete_client(request: HttpRequest, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let claims = require(&request, Right::Write).await?;
    let precondition = Precondition::of(&request)?;
    let worker = Worker::of(&request);
    let (id, now, by) = (named(&id)?, worker.now(), author(&request, &claims));
    let subject = id.clone();
    let deleted = worker
        .shared
        .db
        .run(move |conn| transactions::delete_client_if(conn, &by, &subject, now, |client| precondition.suits(client)))
        .await
        .map_err(|error| not_done(&error))?;
    match deleted {
        Deleted::Done => {}
        Deleted::Missing => return Err(NO_CLIENT),
        Deleted::Refused => return Err(STALE),
    }
    take_over(&worker.shared, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The id in a path, which the router has decoded; one that is none is no client's.
pub fn named(id: &str) -> Result<ClientId, ApiError> {
    ClientId::parse(id).ok_or(NO_CLIENT)
}

/// The client of this id.
pub async fn find(db: &Db, id: ClientId) -> Result<Client, ApiError> {
    let found = db.read(move |conn| clients::find(conn, &id)).await;
    found.map_err(|error| not_done(&error))?.ok_or(NO_CLIENT)
}

/// What was written of a client counts on every worker when this returns.
///
/// Replicas come first: what the caches load again must not come from before.
pub async fn take_over(shared: &Shared, id: &ClientId) -> Result<(), ApiError> {
    let caught_up = shared.db.catch_up().await;
    let reloaded = shared.revocations.reload_statuses(vec![id.clone()]).await;
    shared.caches.invalidate(id).await;
    caught_up.and(reloaded).map_err(|error| not_done(&error))
}

/// A path to a client: every character that could mean something is escaped.
pub fn location(id: &ClientId) -> HeaderValue {
    const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let path = format!("/admin/clients/{}", utf8_percent_encode(id.as_str(), ESCAPED));
    HeaderValue::from_str(&path).expect("a path of unreserved characters and escapes")
}

fn versioned(mut answer: HttpResponse, client: &Client) -> HttpResponse {
    answer.headers_mut().insert(ETAG, etag(client));
    answer
}

fn malformed(why: MalformedClient) -> ApiError {
    ApiError::Admin(AdminError::Malformed(why))
}
