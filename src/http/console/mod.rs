//! `/console`: a page for operators, one HTML file with its style, its icon and a few modules of
//! JavaScript.
//!
//! The files are compiled in, need no build step, and load nothing from elsewhere. The page has no
//! rights of its own: it signs in at `/token` as an admin client and out at `/revoke`, and otherwise
//! uses only `/metrics` and `/admin`. The files therefore need no authentication.
//!
//! The content security policy forbids inline scripts and styles, and `trusted-types` forbids
//! creating markup from text: a client name that looks like HTML is shown as text.

use actix_web::http::header::{CONTENT_TYPE, ETAG, EntityTag, Header, HeaderName, HeaderValue, IfNoneMatch};
use actix_web::web::Path;
use actix_web::{HttpRequest, HttpResponse};

use super::error::{self, Format};

/// A file of the page.
struct File {
    name: &'static str,
    media: &'static str,
    text: &'static str,
    /// Identifies the text, so that a browser that has cached it does not receive it again.
    tag: u64,
}

const PAGE: File = file("console.html", "text/html; charset=utf-8", include_str!("console.html"));

const ICON: File = file("icon.svg", "image/svg+xml", include_str!("icon.svg"));

const FILES: [File; 15] = [
    file("console.css", "text/css; charset=utf-8", include_str!("console.css")),
    ICON,
    script("console.js", include_str!("console.js")),
    script("session.js", include_str!("session.js")),
    script("elements.js", include_str!("elements.js")),
    script("dialogs.js", include_str!("dialogs.js")),
    script("scrape.js", include_str!("scrape.js")),
    script("plot.js", include_str!("plot.js")),
    script("watch.js", include_str!("watch.js")),
    script("overview.js", include_str!("overview.js")),
    script("clients.js", include_str!("clients.js")),
    script("tokens.js", include_str!("tokens.js")),
    script("policy.js", include_str!("policy.js")),
    script("keys.js", include_str!("keys.js")),
    script("audit.js", include_str!("audit.js")),
];

/// Allows only files and endpoints of this origin, no markup from text, and no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(&str, &str); 6] = [
    // Revalidated at every load: a page whose modules come from two versions would break.
    ("cache-control", "no-cache"),
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// `GET /console`
pub async fn page(request: HttpRequest) -> HttpResponse {
    answer(&request, &PAGE)
}

/// `GET /favicon.ico`
pub async fn icon(request: HttpRequest) -> HttpResponse {
    answer(&request, &ICON)
}

/// `GET /console/{file}`
pub async fn part(request: HttpRequest, name: Path<String>) -> HttpResponse {
    match FILES.iter().find(|file| file.name == *name) {
        Some(file) => answer(&request, file),
        None => error::not_found(Format::OAuth),
    }
}

fn answer(request: &HttpRequest, file: &File) -> HttpResponse {
    let tag = EntityTag::new_strong(format!("{:016x}", file.tag));
    let known = is_known(request, &tag);
    let mut builder = match known {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    for (name, value) in HEADERS {
        builder.insert_header((HeaderName::from_static(name), HeaderValue::from_static(value)));
    }
    builder.insert_header((ETAG, tag));
    if known {
        return builder.finish();
    }
    builder.insert_header((CONTENT_TYPE, HeaderValue::from_static(file.media)));
    builder.body(file.text)
}

/// Whether the browser has this text already (RFC 9110 §13.1.2).
fn is_known(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}

const fn script(name: &'static str, text: &'static str) -> File {
    file(name, "text/javascript; charset=utf-8", text)
}

const fn file(name: &'static str, media: &'static str, text: &'static str) -> File {
    let tag = fnv(text.as_bytes());
    File { name, media, text, tag }
}

/// FNV-1a: the same for every instance of a version, and computed at compile time.
const fn fnv(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_only_files_that_are_there() {
        let texts = FILES.iter().map(|file| file.text).chain([PAGE.text]);
        for text in texts {
            for (_, rest) in text
                .match_indices("/console/")
                .map(|(at, found)| (at, &text[at + found.len()..]))
            {
                let name = rest.split(['"', '\'']).next().unwrap_or_default();
                assert!(FILES.iter().any(|file| file.name == name), "{name}");
            }
            for (_, rest) in text
                .match_indices("from './")
                .map(|(at, found)| (at, &text[at + found.len()..]))
            {
                let name = rest.split('\'').next().unwrap_or_default();
                assert!(FILES.iter().any(|file| file.name == name), "{name}");
            }
        }
    }

    #[test]
    fn nothing_in_the_page_could_make_markup_of_a_text_or_keep_a_secret() {
        for file in FILES.iter().chain([&PAGE]) {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "localStorage",
                "sessionStorage",
                "indexedDB",
                "document.cookie",
                " style=\"",
                " onclick=",
            ] {
                assert!(!file.text.contains(forbidden), "{} has {forbidden}", file.name);
            }
        }
    }
}
