//! `/admin`: what operators see and do, behind a bearer token with `mintage:admin` (or `mintage:read` to look).

mod cache;
mod pool;
mod tokens;
mod writer;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, HeaderValue};
use serde::Serialize;

use super::error::{json, no_store, problem};

pub use cache::{cache_clear, cache_stats};
pub use pool::pool_stats;
pub use tokens::{revoke_client_tokens, revoke_token};
pub use writer::writer_stats;

/// Another method than GET or HEAD.
pub async fn get_only() -> HttpResponse {
    method_not_allowed("GET, HEAD")
}

/// Another method than POST.
pub async fn post_only() -> HttpResponse {
    method_not_allowed("POST")
}

/// Another method than DELETE.
pub async fn delete_only() -> HttpResponse {
    method_not_allowed("DELETE")
}

fn method_not_allowed(allowed: &'static str) -> HttpResponse {
    let mut response = problem(
        StatusCode::METHOD_NOT_ALLOWED,
        "the method is not one that this resource knows",
    );
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn document(document: &impl Serialize) -> HttpResponse {
    let text = serde_json::to_string(document).expect("what an admin endpoint shows is made of strings and numbers");
    no_store(json(&mut HttpResponse::Ok())).body(text)
}
