//! Authorization server metadata (P47, P48; RFC 8414) and JWKS (P49; RFC 7517).

use std::collections::{BTreeMap, HashSet};

use mintage::config::{self, Sources};
use mintage::http::{Resource, routes};
use serde_json::json;
use testkit::TestApp;
use testkit::app::{ISSUER, Setup};
use testkit::http::{Connection, Request};
use testkit::scrape::Scrape;

const METADATA: &str = "/.well-known/oauth-authorization-server";
const JWKS: &str = "/.well-known/jwks.json";

#[test]
fn p47_the_metadata_lists_what_exists() {
    let app = TestApp::shared();
    let answer = app.send(Request::get(METADATA));
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(
        answer.json(),
        json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/authorize"),
            "token_endpoint": format!("{ISSUER}/token"),
            "introspection_endpoint": format!("{ISSUER}/introspect"),
            "revocation_endpoint": format!("{ISSUER}/revoke"),
            "jwks_uri": format!("{ISSUER}{JWKS}"),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["none"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "Bearer"],
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "access_token_signing_alg_values_supported": ["ES256", "EdDSA", "RS256", "PS256", "HS256"],
        })
    );
}

#[test]
fn p47_the_issuer_equals_the_iss_claim_of_tokens() {
    let app = Setup::new()
        .configured(|config| config.server.issuer = "https://auth.example/tenant/".into())
        .start();
    let metadata = app.send(Request::get(METADATA)).json();
    let token = app.issue(&app.client(|_| {}), &[]);
    assert_eq!(metadata["issuer"], testkit::token::claims(&token)["iss"]);
    assert_eq!(metadata["issuer"], "https://auth.example/tenant/");
    assert_eq!(metadata["token_endpoint"], "https://auth.example/tenant/token");
}

#[test]
fn p47_every_url_in_the_metadata_exists() {
    let app = TestApp::shared();
    let metadata = app.send(Request::get(METADATA)).json();
    for (name, url) in metadata.as_object().unwrap() {
        if name.ends_with("_endpoint") || name.ends_with("_uri") {
            let path = url.as_str().unwrap().strip_prefix(ISSUER).unwrap();
            assert_ne!(app.send(Request::get(path)).status, 404, "{name}");
        }
    }
}

#[test]
fn p48_the_issuer_is_https_or_loopback_without_query_and_fragment() {
    let load = |issuer: &str| {
        let environment = BTreeMap::from([("MINTAGE_SERVER__ISSUER".into(), issuer.into())]);
        Sources {
            environment,
            ..Default::default()
        }
        .load()
    };
    for good in [
        "https://auth.example",
        "https://auth.example/a",
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:1",
    ] {
        assert!(load(good).is_ok(), "{good}");
    }
    for bad in [
        "http://auth.example",
        "http://10.0.0.1",
        "http://localhost.example",
        "https://auth.example?a=b",
        "https://auth.example?",
        "https://auth.example#f",
        "https://auth.example/#",
        "ftp://auth.example",
        "auth.example",
        "https://",
        "",
        "urn:example:a",
    ] {
        let error = load(bad).expect_err(bad).to_string();
        assert!(error.starts_with("server.issuer must be "), "{error}");
    }
}

#[test]
fn p49_every_key_is_public_and_has_kid_alg_and_use() {
    let app = TestApp::shared();
    let answer = app.send(Request::get(JWKS));
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    let document = answer.json();
    let keys = document["keys"].as_array().unwrap();
    let kids: HashSet<&str> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!((keys.len(), kids.len()), (4, 4));
    for key in keys {
        assert_eq!(key["use"], "sig");
        assert!(["ES256", "EdDSA", "RS256", "PS256"].contains(&key["alg"].as_str().unwrap()));
        for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert!(key.get(private).is_none(), "{private}");
        }
    }
}

#[test]
fn p49_the_keys_may_be_cached_for_as_long_as_configured() {
    let app = TestApp::shared();
    assert_eq!(
        app.send(Request::get(JWKS)).header("cache-control"),
        Some("public, max-age=900")
    );
    let brief = Setup::new()
        .configured(|config| config.keys.jwks_max_age = config::Duration::seconds(60))
        .start();
    assert_eq!(
        brief.send(Request::get(JWKS)).header("cache-control"),
        Some("public, max-age=60")
    );
}

#[test]
fn metadata_jwks_and_health_accept_only_get_and_head() {
    let app = TestApp::shared();
    for path in [METADATA, JWKS, "/livez", "/readyz"] {
        let head = app.send(Request::new("HEAD", path));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        let answer = app.send(Request::post(path).form_raw("a=b"));
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD")),
            "{path}"
        );
    }
}

#[test]
fn an_unknown_path_is_404_as_json() {
    let app = TestApp::shared();
    for path in [
        "/token/",
        "/authorize/",
        "/Token",
        "/introspect/",
        "/.well-known/",
        "/livez/x",
        "/%2e%2e/token",
        "//token",
    ] {
        let answer = app.send(Request::get(path));
        answer.assert_oauth_error(404, "invalid_request", "path not found");
    }
}

/// Each path of these resources with one byte escaped, except in parameters and slashes.
fn escaped_spellings(patterns: &[&str]) -> Vec<String> {
    let mut spellings = Vec::new();
    for pattern in patterns.iter().filter(|pattern| !pattern.starts_with("/validate")) {
        let mut in_parameter = false;
        for (at, byte) in pattern.bytes().enumerate() {
            in_parameter = (in_parameter || byte == b'{') && byte != b'}';
            if in_parameter || b"/}".contains(&byte) {
                continue;
            }
            let (before, after) = (&pattern[..at], &pattern[at + 1..]);
            let filled = |text: &str| {
                let parts = text.split(['{', '}']).enumerate();
                parts
                    .map(|(n, part)| if n % 2 == 1 { "x" } else { part })
                    .collect::<String>()
            };
            // A parameter is never cut, so each half has whole ones.
            let (before, after) = (filled(before), filled(after));
            spellings.push(format!("{before}%{byte:02x}{after}"));
            spellings.push(format!("{before}%{byte:02X}{after}"));
        }
    }
    spellings
}

/// Whether a pattern with a parameter has exactly these literals.
fn is_spelled_with_an_id(pattern: &str, path: &str) -> bool {
    let (expected, found): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    let mut pairs = expected.iter().zip(&found);
    expected.len() == found.len() && pairs.all(|(expected, found)| expected == found || expected.starts_with('{'))
}

#[test]
fn each_path_has_one_spelling() {
    let tables = [
        routes::public_table(),
        routes::start_table(),
        routes::admin_table(),
        routes::console_table(),
    ];
    let all: Vec<&str> = tables.iter().flatten().map(Resource::pattern).collect();
    let mut spellings = escaped_spellings(&all);
    // `/admin/routes/%65xplain` is the route with the id `explain`.
    spellings.retain(|path| !all.iter().any(|pattern| is_spelled_with_an_id(pattern, path)));
    assert!(spellings.len() > 500 && spellings.contains(&"/%6detrics".to_owned()));
    let together = TestApp::start();
    let apart = Setup::new()
        .configured(|config| config.server.admin_listen = "127.0.0.1:0".into())
        .start();
    for address in [together.address, apart.address, apart.admin_address] {
        let mut connection = Connection::open(address);
        for path in &spellings {
            assert_eq!(connection.ask(&Request::get(path)).status, 404, "{path}");
        }
    }
    let unmatched = r#"mintage_http_requests_total{route="unmatched",method="GET",status="404"}"#;
    let counted = Scrape::of(together.address).value(unmatched).unwrap();
    assert_eq!(counted as usize, spellings.len());
}
