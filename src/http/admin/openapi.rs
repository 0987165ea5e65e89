//! `/admin/openapi.json`: every endpoint as an OpenAPI 3.1 document, for those who generate clients and for fuzzers.
//!
//! Schemas come from the types that are read and written; the table of operations stands here, and a test compares it with
//! the route table. What several operations have in common (who may call, how refusals look) is a rule, not a repetition.

mod schemas;

use actix_web::{HttpRequest, HttpResponse};
use utoipa::ToSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::Header;
use utoipa::openapi::path::{
    HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{Components, ComponentsBuilder, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa::openapi::{Content, Ref, RefOr, Required};

use self::schemas::{
    Introspection, Jwks, Nothing, OAuthRefusal, Status, TokenQuestion, TokenRequestBody, TokenResponse,
};
use super::audit::JSON_LINES;
use super::cache::CacheStats;
use super::clients::CreatedClient;
use super::document;
use super::keys::Rotate;
use super::page::{DEFAULT_LIMIT, MAX_LIMIT};
use super::routes::Question;
use super::secrets::{CreatedSecret, NewSecret};
use crate::actors::batch_writer::WriterStats;
use crate::actors::janitor::JanitorDocument;
use crate::db::DbStats;
use crate::http::bearer::{Right, require};
use crate::http::error::{ApiError, Problem};
use crate::http::forward_auth;
use crate::keys::KeyDocument;
use crate::oauth::audit::AuditDocument;
use crate::oauth::client_document::{ClientDocument, Page};
use crate::oauth::client_fields::ClientFields;
use crate::oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, METADATA_PATH, Metadata, REVOCATION_PATH, TOKEN_PATH};
use crate::oauth::route::NewRoute;
use crate::oauth::route_document::{ExplanationDocument, RouteDocument};
use crate::oauth::secret_document::SecretDocument;
use crate::oauth::token_document::TokenDocument;

/// `GET /admin/openapi.json`
pub async fn openapi(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    Ok(document(&api()))
}

const JSON: &str = "application/json";
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
    add(writer(
        Post,
        "/admin/clients",
        "createClient",
        "Make a client; name and scope must be given",
    )
    .reads::<ClientFields>(&[JSON])
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

/// The document as it is put together.
#[derive(Default)]
struct Document {
    paths: PathsBuilder,
    components: Schemas,
}

/// Schemas by name, each once.
#[derive(Default)]
struct Schemas(Vec<(String, RefOr<Schema>)>);

impl Schemas {
    fn add<T: ToSchema>(&mut self) {
        T::schemas(&mut self.0);
        self.0.push((T::name().into_owned(), T::schema()));
    }
}

/// An operation as it is put together.
struct Operation {
    method: HttpMethod,
    path: String,
    builder: OperationBuilder,
    responses: Vec<(u16, ResponseBuilder)>,
    /// How it refuses.
    refusal: Option<(String, Content)>,
    schemas: Schemas,
}

impl Operation {
    fn new(method: HttpMethod, path: &str, id: &str, summary: &str) -> Self {
        let mut builder = OperationBuilder::new().operation_id(Some(id)).summary(Some(summary));
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            builder = builder.parameter(parameter(name, ParameterIn::Path, "", text().build(), true));
        }
        Self {
            method,
            path: path.to_owned(),
            builder,
            responses: Vec::new(),
            refusal: None,
            schemas: Schemas::default(),
        }
    }

    fn secured(mut self, scheme: &str, scopes: &[&str]) -> Self {
        self.builder = self
            .builder
            .security(SecurityRequirement::new(scheme, scopes.iter().copied()));
        self
    }

    fn query(mut self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>, required: bool) -> Self {
        let parameter = parameter(name, ParameterIn::Query, description, schema, required);
        self.builder = self.builder.parameter(parameter);
        self
    }

    fn paged(self) -> Self {
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(MAX_LIMIT as i64))
            .default(Some(DEFAULT_LIMIT.into()));
        self.query("limit", "The most items on the page", limit.build(), false)
            .query("cursor", "`next_cursor` of the page before", text().build(), false)
    }

    fn conditional(mut self) -> Self {
        const WHAT: &str = "The version that is meant: the ETag of an earlier answer";
        let parameter = parameter("If-Match", ParameterIn::Header, WHAT, text().build(), false);
        self.builder = self.builder.parameter(parameter);
        self.fails(412)
    }

    fn reads<T: ToSchema>(self, media_types: &[&str]) -> Self {
        self.body::<T>(media_types, Required::True)
    }

    fn may_read<T: ToSchema>(self) -> Self {
        self.body::<T>(&[JSON], Required::False)
    }

    fn body<T: ToSchema>(mut self, media_types: &[&str], required: Required) -> Self {
        self.schemas.add::<T>();
        let mut body = RequestBodyBuilder::new().required(Some(required));
        for media_type in media_types {
            body = body.content(*media_type, content::<T>());
        }
        self.builder = self.builder.request_body(Some(body.build()));
        self.fails(408).fails(415)
    }

    fn answers<T: ToSchema>(mut self, status: u16) -> Self {
        self.schemas.add::<T>();
        let response = described(status).content(JSON, content::<T>());
        self.responses.push((status, response));
        self
    }

    fn empty(mut self, status: u16) -> Self {
        self.responses.push((status, described(status)));
        self
    }

    fn also_as(self, status: u16, media_type: &str) -> Self {
        let lines = ContentBuilder::new().schema(Some(text().build())).build();
        self.response(status, |response| response.content(media_type, lines))
    }

    fn with_header(self, status: u16, name: &str, description: &str) -> Self {
        let mut header = Header::new(text().build());
        header.description = Some(description.to_owned());
        self.response(status, |response| response.header(name, header))
    }

    fn response(mut self, status: u16, change: impl FnOnce(ResponseBuilder) -> ResponseBuilder) -> Self {
        if let Some((_, response)) = self.responses.iter_mut().find(|(known, _)| *known == status) {
            *response = change(std::mem::take(response));
        }
        self
    }

    fn refuses<T: ToSchema>(mut self, media_type: &str, statuses: &[u16]) -> Self {
        self.schemas.add::<T>();
        self.refusal = Some((media_type.to_owned(), content::<T>()));
        statuses.iter().fold(self, |operation, status| operation.fails(*status))
    }

    /// One more status of a refusal; one that is there already stays.
    fn fails(mut self, status: u16) -> Self {
        let known = self.responses.iter().any(|(known, _)| *known == status);
        if let Some((media_type, content)) = self.refusal.clone().filter(|_| !known) {
            self.responses
                .push((status, described(status).content(media_type, content)));
        }
        self
    }
}

impl Document {
    fn add(&mut self, operation: Operation) {
        let mut builder = operation.builder;
        for (status, response) in operation.responses {
            builder = builder.response(status.to_string(), response.build());
        }
        self.components.0.extend(operation.schemas.0);
        let item = PathItem::new(operation.method, builder);
        self.paths = std::mem::take(&mut self.paths).path(operation.path, item);
    }

    fn finish(self) -> OpenApi {
        let info = InfoBuilder::new()
            .title("Mintage")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some("A machine-to-machine OAuth 2.0 token server."))
            .license(Some(
                LicenseBuilder::new()
                    .name("Apache-2.0")
                    .identifier(Some("Apache-2.0"))
                    .build(),
            ));
        OpenApiBuilder::new()
            .info(info.build())
            .paths(self.paths.build())
            .components(Some(components(self.components)))
            .build()
    }
}

fn components(schemas: Schemas) -> Components {
    const CLIENT: &str = "Client id and secret, each form-encoded (RFC 6749 §2.3.1)";
    const BEARER: &str = "A token of this server for its default audience";
    let basic = Http::builder().scheme(HttpAuthScheme::Basic).description(Some(CLIENT));
    let bearer = Http::builder().scheme(HttpAuthScheme::Bearer).description(Some(BEARER));
    ComponentsBuilder::new()
        .schemas_from_iter(schemas.0)
        .security_scheme("client", SecurityScheme::Http(basic.build()))
        .security_scheme("bearer", SecurityScheme::Http(bearer.build()))
        .build()
}

fn content<T: ToSchema>() -> Content {
    ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(T::name())))
        .build()
}

/// A response that says what its status means.
fn described(status: u16) -> ResponseBuilder {
    let meaning = actix_web::http::StatusCode::from_u16(status).ok();
    let meaning = meaning.and_then(|status| status.canonical_reason()).unwrap_or_default();
    ResponseBuilder::new().description(meaning)
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn parameter(
    name: &str,
    place: ParameterIn,
    description: &str,
    schema: impl Into<RefOr<Schema>>,
    required: bool,
) -> Parameter {
    let required = if required { Required::True } else { Required::False };
    let description = (!description.is_empty()).then_some(description);
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .description(description)
        .required(required)
        .schema(Some(schema))
        .build()
}
