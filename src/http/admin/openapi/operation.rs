//! An OpenAPI document as it is put together: operations one by one, each with the schemas that it needs.

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

use super::super::page::{DEFAULT_LIMIT, MAX_LIMIT};

/// What nearly all bodies are.
pub const JSON: &str = "application/json";

/// The document as it is put together.
#[derive(Default)]
pub struct Document {
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
pub struct Operation {
    method: HttpMethod,
    path: String,
    builder: OperationBuilder,
    responses: Vec<(u16, ResponseBuilder)>,
    /// How it refuses.
    refusal: Option<(String, Content)>,
    schemas: Schemas,
}

impl Operation {
    /// An operation, with the parameters that its path has.
    pub fn new(method: HttpMethod, path: &str, id: &str, summary: &str) -> Self {
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

    /// Who may call it, with which scopes.
    pub fn secured(mut self, scheme: &str, scopes: &[&str]) -> Self {
        self.builder = self
            .builder
            .security(SecurityRequirement::new(scheme, scopes.iter().copied()));
        self
    }

    /// A parameter of the query.
    pub fn query(mut self, name: &str, description: &str, schema: impl Into<RefOr<Schema>>, required: bool) -> Self {
        let parameter = parameter(name, ParameterIn::Query, description, schema, required);
        self.builder = self.builder.parameter(parameter);
        self
    }

    /// What every list in pages takes.
    pub fn paged(self) -> Self {
        let limit = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(MAX_LIMIT as i64))
            .default(Some(DEFAULT_LIMIT.into()));
        self.query("limit", "The most items on the page", limit.build(), false)
            .query("cursor", "`next_cursor` of the page before", text().build(), false)
    }

    /// It may be made to depend on a version.
    pub fn conditional(mut self) -> Self {
        const WHAT: &str = "The version that is meant: the ETag of an earlier answer";
        let parameter = parameter("If-Match", ParameterIn::Header, WHAT, text().build(), false);
        self.builder = self.builder.parameter(parameter);
        self.fails(412)
    }

    /// The body that it must be given.
    pub fn reads<T: ToSchema>(self, media_types: &[&str]) -> Self {
        self.body::<T>(media_types, Required::True)
    }

    /// The JSON body that it may be given.
    pub fn may_read<T: ToSchema>(self) -> Self {
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

    /// A JSON answer.
    pub fn answers<T: ToSchema>(mut self, status: u16) -> Self {
        self.schemas.add::<T>();
        let response = described(status).content(JSON, content::<T>());
        self.responses.push((status, response));
        self
    }

    /// An answer without a body.
    pub fn empty(mut self, status: u16) -> Self {
        self.responses.push((status, described(status)));
        self
    }

    /// The same answer as text of another media type.
    pub fn also_as(self, status: u16, media_type: &str) -> Self {
        let lines = ContentBuilder::new().schema(Some(text().build())).build();
        self.response(status, |response| response.content(media_type, lines))
    }

    /// A header of an answer.
    pub fn with_header(self, status: u16, name: &str, description: &str) -> Self {
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

    /// How it refuses, and with which statuses.
    pub fn refuses<T: ToSchema>(mut self, media_type: &str, statuses: &[u16]) -> Self {
        self.schemas.add::<T>();
        self.refusal = Some((media_type.to_owned(), content::<T>()));
        statuses.iter().fold(self, |operation, status| operation.fails(*status))
    }

    /// One more status of a refusal; one that is there already stays.
    pub fn fails(mut self, status: u16) -> Self {
        let known = self.responses.iter().any(|(known, _)| *known == status);
        if let Some((media_type, content)) = self.refusal.clone().filter(|_| !known) {
            self.responses
                .push((status, described(status).content(media_type, content)));
        }
        self
    }
}

impl Document {
    /// Takes an operation in, and the schemas that it needs.
    pub fn add(&mut self, operation: Operation) {
        let mut builder = operation.builder;
        for (status, response) in operation.responses {
            builder = builder.response(status.to_string(), response.build());
        }
        self.components.0.extend(operation.schemas.0);
        let item = PathItem::new(operation.method, builder);
        self.paths = std::mem::take(&mut self.paths).path(operation.path, item);
    }

    /// The whole.
    pub fn finish(self) -> OpenApi {
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

/// A text.
pub fn text() -> ObjectBuilder {
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
