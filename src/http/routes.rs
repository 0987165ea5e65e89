//! THE route table, one for each listener: every path, its methods and their handlers.

use actix_web::web::ServiceConfig;
use actix_web::{HttpRequest, HttpResponse};

use super::error::Format;
use super::resource::{Resource, admin_at, at, gateway_at};
use super::{admin, console, error, forward_auth, health, introspection, metadata, metrics, revocation, token};
use crate::metrics::Metrics;
use crate::oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, METADATA_PATH, REVOCATION_PATH, TOKEN_PATH};

/// The public resources. The token endpoint comes first: actix tries them in this order, and it is
/// used most.
pub fn public_table() -> Vec<Resource> {
    vec![
        at(TOKEN_PATH).post(token::issue),
        gateway_at(forward_auth::PATH).any(forward_auth::validate),
        at(INTROSPECTION_PATH).post(introspection::introspect),
        at(REVOCATION_PATH).post(revocation::revoke),
        at(JWKS_PATH).get(metadata::jwks),
        at(METADATA_PATH).get(metadata::metadata),
        at("/livez").get(health::livez),
        at("/readyz").get(health::readyz),
        // The last, because it is matched by a regular expression, which no other request should
        // pay for.
        gateway_at("/validate/{path:.*}").any(forward_auth::validate),
    ]
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
        at("/console/{file}").get(console::part),
    ]
}

/// The OAuth endpoints by which the console signs in and out, for an admin listener of its own: the
/// content security policy of the console allows requests to its own origin only.
pub fn signing_in_table() -> Vec<Resource> {
    vec![
        at(TOKEN_PATH).post(token::issue).or_not_found(),
        at(REVOCATION_PATH).post(revocation::revoke).or_not_found(),
    ]
}

/// Serves [`public_table`].
pub fn public_routes(config: &mut ServiceConfig, metrics: &Metrics) {
    serve(public_table(), config, metrics);
}

/// Serves [`admin_table`] and [`console_table`], and on a listener `apart` from the public one
/// [`signing_in_table`] too.
pub fn admin_routes(config: &mut ServiceConfig, metrics: &Metrics, apart: bool) {
    serve(admin_table(), config, metrics);
    serve(console_table(), config, metrics);
    if apart {
        serve(signing_in_table(), config, metrics);
    }
}

fn serve(table: Vec<Resource>, config: &mut ServiceConfig, metrics: &Metrics) {
    for resource in table {
        let label = metrics.route(resource.pattern());
        resource.serve(config, label);
    }
}

/// The response at a path without a resource.
pub async fn not_found(request: HttpRequest) -> HttpResponse {
    error::not_found(Format::of_path(request.path()))
}
