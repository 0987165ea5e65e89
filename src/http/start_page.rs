//! `/`: a page that names the endpoints, for people who open the address of the server.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::{HttpRequest, HttpResponse};

use super::state::Worker;

/// `GET /` on the listener of the clients.
pub async fn page(request: HttpRequest) -> HttpResponse {
    let settings = &Worker::of(&request).shared.settings;
    let mut rows = String::new();
    for (name, url) in settings.metadata.addresses() {
        // An issuer consists of the characters of RFC 3986, of which only this one is markup.
        let url = url.replace('&', "&amp;");
        rows.push_str(&format!("<dt>{name}</dt><dd><code>{url}</code></dd>\n"));
    }
    let console = match settings.console_is_public {
        true => "<p><a href=\"console\">Console</a></p>\n",
        false => "",
    };
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Mintage</title>\n\
         <h1>Mintage</h1>\n<p>A machine-to-machine OAuth 2.0 token server.</p>\n<dl>\n{rows}</dl>\n{console}</html>\n"
    );
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")))
        .insert_header((CACHE_CONTROL, HeaderValue::from_static("no-cache")))
        .insert_header((
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"),
        ))
        .body(page)
}

/// `GET /` on an admin listener of its own: the console.
pub async fn to_console() -> HttpResponse {
    redirect("console")
}

/// `GET /console/`: the console, whose path has no final slash.
pub async fn without_slash() -> HttpResponse {
    redirect("../console")
}

/// The location is relative, so that it also holds below a path that a proxy adds.
fn redirect(location: &'static str) -> HttpResponse {
    HttpResponse::TemporaryRedirect()
        .insert_header((LOCATION, HeaderValue::from_static(location)))
        .finish()
}
