//! HTTP: handlers that route messages between the actors, and read as a list of named steps.
//!
//! All routes stand here, in one table for each listener.

pub mod admin;
mod bearer;
mod body;
mod client_auth;
mod console;
mod envelope;
mod error;
mod forward_auth;
mod health;
mod introspection;
mod limits;
mod metadata;
mod metrics;
mod peer;
mod refusals;
mod request_id;
mod revocation;
mod state;
mod switches;
mod token;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route, guard};

use crate::metrics::Metrics;
use crate::oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, METADATA_PATH, REVOCATION_PATH, TOKEN_PATH};

pub use envelope::Envelope;
pub use limits::AuthLimits;
pub use refusals::RefusalLog;
pub use state::{HttpSettings, Readiness, Shared, Worker};

/// What everybody may reach. The token endpoint comes first, because it is asked most.
pub fn public_routes(config: &mut ServiceConfig, metrics: &Metrics) {
    let at = |pattern| resource(pattern, metrics);
    config
        .service(
            at(TOKEN_PATH)
                .route(web::post().to(token::issue))
                .default_service(web::to(post_only)),
        )
        .service(at(forward_auth::PATH).to(forward_auth::validate))
        .service(
            at(INTROSPECTION_PATH)
                .route(web::post().to(introspection::introspect))
                .default_service(web::to(post_only)),
        )
        .service(
            at(REVOCATION_PATH)
                .route(web::post().to(revocation::revoke))
                .default_service(web::to(post_only)),
        )
        .service(
            at(JWKS_PATH)
                .route(get().to(metadata::jwks))
                .default_service(web::to(get_only)),
        )
        .service(
            at(METADATA_PATH)
                .route(get().to(metadata::metadata))
                .default_service(web::to(get_only)),
        )
        .service(
            at("/livez")
                .route(get().to(health::livez))
                .default_service(web::to(get_only)),
        )
        .service(
            at("/readyz")
                .route(get().to(health::readyz))
                .default_service(web::to(get_only)),
        )
        // The last, because it is matched by a regular expression: what comes before it does not pay for that.
        .service(at("/validate/{path:.*}").to(forward_auth::validate));
}

/// What operators may reach: on the public listener, or on one of its own if `server.admin_listen` is set.
pub fn admin_routes(config: &mut ServiceConfig, metrics: &Metrics) {
    let at = |pattern| resource(pattern, metrics);
    let get_resource = |pattern| at(pattern).default_service(web::to(admin::get_only));
    config
        .service(
            at("/metrics")
                .route(get().to(metrics::metrics))
                .default_service(web::to(get_only)),
        )
        .service(
            at("/console")
                .route(get().to(console::page))
                .default_service(web::to(get_only)),
        )
        .service(
            at("/console/{file}")
                .route(get().to(console::part))
                .default_service(web::to(get_only)),
        )
        .service(get_resource("/admin/cache/stats").route(get().to(admin::cache_stats)))
        .service(get_resource("/admin/writer/stats").route(get().to(admin::writer_stats)))
        .service(get_resource("/admin/pool/stats").route(get().to(admin::pool_stats)))
        .service(get_resource("/admin/janitor/stats").route(get().to(admin::janitor_stats)))
        .service(
            at("/admin/clients/{id}/revoke-tokens")
                .route(web::post().to(admin::revoke_client_tokens))
                .default_service(web::to(admin::post_only)),
        )
        .service(
            at("/admin/tokens/{jti}")
                .route(web::delete().to(admin::revoke_token))
                .default_service(web::to(admin::delete_only)),
        )
        .service(
            at("/admin/cache/clear")
                .route(web::post().to(admin::cache_clear))
                .default_service(web::to(admin::post_only)),
        )
        .service(get_resource("/admin/keys").route(get().to(admin::list_keys)))
        .service(
            at("/admin/keys/rotate")
                .route(web::post().to(admin::rotate_keys))
                .default_service(web::to(admin::post_only)),
        )
        .service(
            at("/admin/routes")
                .route(get().to(admin::list_routes))
                .route(web::post().to(admin::add_route))
                .default_service(web::to(admin::get_or_post_only)),
        )
        .service(
            at("/admin/routes/explain")
                .route(web::post().to(admin::explain_route))
                .default_service(web::to(admin::post_only)),
        )
        .service(
            at("/admin/routes/{id}")
                .route(web::delete().to(admin::remove_route))
                .default_service(web::to(admin::delete_only)),
        );
}

/// What the console asks for besides, where `/admin` has a listener of its own: a page may ask its own origin only, and it
/// signs in and out like any other client. Nothing else of the public side is there.
pub fn console_routes(config: &mut ServiceConfig, metrics: &Metrics) {
    let post_at = |pattern| resource(pattern, metrics).guard(guard::Post());
    config
        .service(post_at(TOKEN_PATH).to(token::issue))
        .service(post_at(REVOCATION_PATH).to(revocation::revoke));
}

/// What is at a pattern. It is named after it and carries it as the label of its metrics.
fn resource(pattern: &'static str, metrics: &Metrics) -> Resource {
    web::resource(pattern).name(pattern).app_data(metrics.route(pattern))
}

/// The answer where there is nothing.
pub async fn not_found(request: HttpRequest) -> HttpResponse {
    error::not_found(request.path().starts_with("/admin"))
}

/// GET, and HEAD where somebody only wants to know that it is there.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

async fn post_only() -> HttpResponse {
    error::method_not_allowed("POST")
}

async fn get_only() -> HttpResponse {
    error::method_not_allowed("GET, HEAD")
}
