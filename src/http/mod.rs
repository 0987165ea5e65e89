//! HTTP: handlers that route messages between the actors, and read as a list of named steps.
//!
//! All routes stand here, in one table for each listener.

pub mod admin;
mod bearer;
mod body;
mod client_auth;
mod envelope;
mod error;
mod forward_auth;
mod health;
mod introspection;
mod limits;
mod metadata;
mod peer;
mod refusals;
mod request_id;
mod revocation;
mod state;
mod token;

use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Route, guard};

use crate::oauth::metadata::{INTROSPECTION_PATH, JWKS_PATH, METADATA_PATH, REVOCATION_PATH, TOKEN_PATH};

pub use envelope::Envelope;
pub use limits::AuthLimits;
pub use refusals::RefusalLog;
pub use state::{HttpSettings, Readiness, Shared, Worker};

/// What everybody may reach. The token endpoint comes first, because it is asked most.
pub fn public_routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource(TOKEN_PATH)
                .route(web::post().to(token::issue))
                .default_service(web::to(post_only)),
        )
        .service(web::resource(forward_auth::PATH).to(forward_auth::validate))
        .service(
            web::resource(INTROSPECTION_PATH)
                .route(web::post().to(introspection::introspect))
                .default_service(web::to(post_only)),
        )
        .service(
            web::resource(REVOCATION_PATH)
                .route(web::post().to(revocation::revoke))
                .default_service(web::to(post_only)),
        )
        .service(
            web::resource(JWKS_PATH)
                .route(get().to(metadata::jwks))
                .default_service(web::to(get_only)),
        )
        .service(
            web::resource(METADATA_PATH)
                .route(get().to(metadata::metadata))
                .default_service(web::to(get_only)),
        )
        .service(
            web::resource("/livez")
                .route(get().to(health::livez))
                .default_service(web::to(get_only)),
        )
        .service(
            web::resource("/readyz")
                .route(get().to(health::readyz))
                .default_service(web::to(get_only)),
        )
        // The last, because it is matched by a regular expression: what comes before it does not pay for that.
        .service(web::resource("/validate/{path:.*}").to(forward_auth::validate));
}

/// What operators may reach: on the public listener, or on one of its own if `server.admin_listen` is set.
pub fn admin_routes(config: &mut ServiceConfig) {
    let get_resource = |path| web::resource(path).default_service(web::to(admin::get_only));
    config
        .service(get_resource("/admin/cache/stats").route(get().to(admin::cache_stats)))
        .service(get_resource("/admin/writer/stats").route(get().to(admin::writer_stats)))
        .service(get_resource("/admin/pool/stats").route(get().to(admin::pool_stats)))
        .service(
            web::resource("/admin/clients/{id}/revoke-tokens")
                .route(web::post().to(admin::revoke_client_tokens))
                .default_service(web::to(admin::post_only)),
        )
        .service(
            web::resource("/admin/tokens/{jti}")
                .route(web::delete().to(admin::revoke_token))
                .default_service(web::to(admin::delete_only)),
        )
        .service(
            web::resource("/admin/cache/clear")
                .route(web::post().to(admin::cache_clear))
                .default_service(web::to(admin::post_only)),
        )
        .service(
            web::resource("/admin/routes")
                .route(get().to(admin::list_routes))
                .route(web::post().to(admin::add_route))
                .default_service(web::to(admin::get_or_post_only)),
        )
        .service(
            web::resource("/admin/routes/explain")
                .route(web::post().to(admin::explain_route))
                .default_service(web::to(admin::post_only)),
        )
        .service(
            web::resource("/admin/routes/{id}")
                .route(web::delete().to(admin::remove_route))
                .default_service(web::to(admin::delete_only)),
        );
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
