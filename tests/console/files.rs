//! The files of the console, requested without a browser: headers, caching, and paths that do not
//! exist.

use testkit::Server;
use testkit::http::{Request, Response};

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

fn get(server: &Server, path: &str) -> Response {
    Request::new("GET", path).send(server.address)
}

#[test]
fn every_file_has_its_media_type_and_all_security_headers() {
    let server = crate::start();
    for (path, media) in [
        ("/console", "text/html; charset=utf-8"),
        ("/console/console.css", "text/css; charset=utf-8"),
        ("/console/console.js", "text/javascript; charset=utf-8"),
        ("/console/icon.svg", "image/svg+xml"),
    ] {
        let file = get(&server, path);
        assert_eq!((file.status, file.header("content-type")), (200, Some(media)), "{path}");
        for (name, value) in [
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(file.header(name), Some(value), "{path} {name}");
        }
    }
}

#[test]
fn a_conditional_request_with_a_matching_etag_is_304() {
    let server = crate::start();
    let tag = get(&server, "/console").header("etag").unwrap().to_owned();
    let conditional = |tag: &str| {
        Request::new("GET", "/console")
            .header("If-None-Match", tag)
            .send(server.address)
    };
    for known in [tag.clone(), format!("\"other\", W/{tag}")] {
        let response = conditional(&known);
        assert_eq!((response.status, response.text().as_str()), (304, ""));
        assert_eq!(response.header("etag"), Some(tag.as_str()));
        assert_eq!(response.header("content-security-policy"), Some(POLICY));
    }
    assert_eq!(conditional("\"other\"").status, 200);
    let metrics = get(&server, "/metrics").text();
    assert!(metrics.contains("mintage_http_requests_total{route=\"/console\",method=\"GET\",status=\"304\"} 2"));
}

#[test]
fn the_console_is_found_with_a_final_slash_and_at_the_address_of_the_admin_listener() {
    let server = crate::start_with(&[("MINTAGE_SERVER__ADMIN_LISTEN", "127.0.0.1:0")]);
    let admin = server.admin_origin();
    let address = admin.strip_prefix("http://").unwrap().parse().unwrap();
    for (path, location) in [("/console/", "../console"), ("/", "console")] {
        let redirect = Request::get(path).send(address);
        assert_eq!((redirect.status, redirect.header("location")), (307, Some(location)));
    }
    let icon = Request::get("/favicon.ico").send(address);
    assert_eq!((icon.status, icon.header("content-type")), (200, Some("image/svg+xml")));
    // The public listener does not lead to a console that it does not have.
    let page = get(&server, "/");
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("console"), "{}", page.text());
    assert_eq!(get(&server, "/console/").status, 404);
    assert_eq!(get(&server, "/favicon.ico").status, 200);
}

#[test]
fn unknown_files_are_404_and_only_get_and_head_are_accepted() {
    let server = crate::start();
    for path in [
        "/console/nothing.js",
        "/console/mod.rs",
        "/console/..%2Fadmin",
        "/console/a/b",
    ] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    for path in ["/console", "/console/console.js"] {
        assert_eq!(Request::new("HEAD", path).send(server.address).status, 200);
        let rejected = Request::new("POST", path).send(server.address);
        assert_eq!(
            (rejected.status, rejected.header("allow")),
            (405, Some("GET, HEAD")),
            "{path}"
        );
    }
}
