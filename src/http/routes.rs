//! THE route table, one for each listener: every path, its methods and their handlers.

use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};

use super::cors::CrossOrigin;
use super::error::Format;
use super::resource::{Resource, admin_at, at, gateway_at};
use super::state::Shared;
use super::{
    admin, authorization, console, error, forward_auth, health, introspection, metadata, metrics, revocation,
    start_page, token,
};
use crate::oauth::metadata::{
    AUTHORIZATION_PATH, INTROSPECTION_PATH, JWKS_PATH, METADATA_PATH, OPENID_CONFIGURATION_PATH, REVOCATION_PATH,
    TOKEN_PATH, document_paths, endpoint_base,
};

/// The public resources. The token endpoint comes first: actix tries them in this order, and it is
/// used most.
pub fn public_table() -> Vec<Resource> {
    vec![
        token_endpoint(),
        gateway_at(forward_auth::PATH).any(forward_auth::validate),
        introspection_endpoint(),
        revocation_endpoint(),
        jwks(),
        metadata_document(),
        openid_configuration(),
        authorization_endpoint(),
        at("/livez").get(health::livez),
        at("/readyz").get(health::readyz),
        // The last, because it is matched by a regular expression, which no other request should
        // pay for.
        gateway_at("/validate/{path:.*}").any(forward_auth::validate),
    ]
}

fn token_endpoint() -> Resource {
    at(TOKEN_PATH).post(token::issue).for_origins(CrossOrigin::Listed)
}

fn introspection_endpoint() -> Resource {
    at(INTROSPECTION_PATH)
        .post(introspection::introspect)
        .for_origins(CrossOrigin::Listed)
}

fn revocation_endpoint() -> Resource {
    at(REVOCATION_PATH)
        .post(revocation::revoke)
        .for_origins(CrossOrigin::Listed)
}

fn authorization_endpoint() -> Resource {
    at(AUTHORIZATION_PATH)
        .get(authorization::authorize)
        .post(authorization::authorize_by_form)
}

fn jwks() -> Resource {
    at(JWKS_PATH).get(metadata::jwks).for_origins(CrossOrigin::Every)
}

fn metadata_document() -> Resource {
    at(METADATA_PATH)
        .get(metadata::metadata)
        .for_origins(CrossOrigin::Every)
}

fn openid_configuration() -> Resource {
    at(OPENID_CONFIGURATION_PATH)
        .get(metadata::openid_configuration)
        .for_origins(CrossOrigin::Every)
}

/// For an issuer with a path: the endpoints where the metadata names them, and both documents at
/// each address where readers look for them. [`public_table`] has them as well, for proxies that
/// remove the path.
pub fn issuer_table(issuer: &str) -> Vec<Resource> {
    let base = endpoint_base(issuer).unwrap_or_default();
    let mut table = Vec::new();
    if !base.is_empty() {
        let endpoints = [
            token_endpoint(),
            introspection_endpoint(),
            revocation_endpoint(),
            jwks(),
            authorization_endpoint(),
        ];
        table.extend(endpoints.map(|resource| {
            let path = format!("{base}{}", resource.pattern());
            resource.served_at(path)
        }));
    }
    for document in [metadata_document, openid_configuration] {
        let paths = document_paths(issuer, document().pattern());
        table.extend(paths.into_iter().map(|path| document().served_at(path)));
    }
    table
}

/// The resources for operators, on the public listener or, if `server.admin_listen` is set, on that
/// one.
pub fn admin_table() -> Vec<Resource> {
    vec![
        at("/metrics").get(metrics::metrics),
        admin_at("/admin/openapi.json").get(admin::openapi),
        admin_at("/admin/self").get(admin::show_self),
        admin_at("/admin/cache/stats").get(admin::cache_stats),
        admin_at("/admin/cache/clear").post(admin::clear_cache),
        admin_at("/admin/writer/stats").get(admin::writer_stats),
        admin_at("/admin/pool/stats").get(admin::pool_stats),
        admin_at("/admin/janitor/stats").get(admin::janitor_stats),
        admin_at("/admin/clients")
            .get(admin::list_clients)
            .post(admin::create_client),
        admin_at("/admin/clients/{client_id}")
            .get(admin::show_client)
            .put(admin::declare_client)
            .patch(admin::update_client)
            .delete(admin::delete_client),
        admin_at("/admin/clients/{client_id}/secrets")
            .get(admin::list_secrets)
            .post(admin::add_secret),
        admin_at("/admin/clients/{client_id}/secrets/{secret_id}").delete(admin::revoke_secret),
        admin_at("/admin/clients/{client_id}/revoke-tokens").post(admin::revoke_client_tokens),
        admin_at("/admin/tokens").get(admin::list_tokens),
        admin_at("/admin/tokens/{jti}").delete(admin::revoke_token),
        admin_at("/admin/keys").get(admin::list_keys),
        admin_at("/admin/keys/rotate").post(admin::rotate_keys),
        admin_at("/admin/routes").get(admin::list_routes).post(admin::add_route),
        admin_at("/admin/routes/explain").post(admin::explain_route),
        admin_at("/admin/routes/{id}").delete(admin::remove_route),
        admin_at("/admin/audit").get(admin::list_audit),
        admin_at("/admin/denials").get(admin::list_denials),
    ]
}

/// The console, on the listener of the admin API. Its files need no token.
pub fn console_table() -> Vec<Resource> {
    vec![
        at("/console").get(console::page),
        at("/console/").get(start_page::without_slash),
        at("/console/{file}").get(console::part),
    ]
}

/// What a browser asks for at the address of a listener: the page that names the endpoints, and the
/// icon.
pub fn start_table() -> Vec<Resource> {
    vec![at("/").get(start_page::page), icon()]
}

/// [`start_table`] of an admin listener of its own, where people look for the console.
pub fn admin_start_table() -> Vec<Resource> {
    vec![at("/").get(start_page::to_console), icon()]
}

fn icon() -> Resource {
    at("/favicon.ico").get(console::icon)
}

/// The OAuth endpoints by which the console signs in and out, for an admin listener of its own: the
/// content security policy of the console allows requests to its own origin only.
pub fn signing_in_table() -> Vec<Resource> {
    vec![
        at(TOKEN_PATH).post(token::issue).or_not_found(),
        at(REVOCATION_PATH).post(revocation::revoke).or_not_found(),
    ]
}

/// Serves [`issuer_table`], which is usually empty, [`public_table`] and [`start_table`].
pub fn public_routes(config: &mut ServiceConfig, shared: &Shared) {
    serve(issuer_table(shared.settings.metadata.issuer()), config, shared);
    serve(public_table(), config, shared);
    serve(start_table(), config, shared);
}

/// Serves [`admin_table`] and [`console_table`], and on a listener `apart` from the public one
/// [`signing_in_table`] and [`admin_start_table`] too.
pub fn admin_routes(config: &mut ServiceConfig, shared: &Shared, apart: bool) {
    serve(admin_table(), config, shared);
    serve(console_table(), config, shared);
    if apart {
        serve(signing_in_table(), config, shared);
        serve(admin_start_table(), config, shared);
    }
}

fn serve(table: Vec<Resource>, config: &mut ServiceConfig, shared: &Shared) {
    for resource in table {
        let label = shared.metrics.route(resource.pattern());
        resource.serve(config, label, &shared.settings.cors_origins);
    }
}

/// The response at a path without a resource.
pub async fn not_found(request: HttpRequest) -> HttpResponse {
    error::not_found(Format::of_path(request.path()))
}
