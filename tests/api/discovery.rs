//! How readers find the endpoints (P106; RFC 8414 §3.1, OpenID Connect Discovery 1.0 §4), and what
//! people and browsers find at the address of the server.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::TestApp;
use testkit::app::Setup;
use testkit::http::Request;
use testkit::scrape::Scrape;
use testkit::token::token_request;

const METADATA: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

fn app_of(issuer: &str) -> TestApp {
    Setup::new()
        .configured(|config| config.server.issuer = issuer.into())
        .start()
}

fn document(app: &TestApp, path: &str) -> Value {
    let answer = app.send(Request::get(path));
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=900"), "{path}");
    answer.json()
}

#[test]
fn p106_the_alias_has_the_metadata_and_the_algorithms_of_the_published_keys() {
    let app = TestApp::start();
    let mut expected = document(&app, METADATA);
    expected["subject_types_supported"] = json!(["public"]);
    expected["id_token_signing_alg_values_supported"] = json!(["ES256", "EdDSA", "RS256", "PS256"]);
    assert_eq!(document(&app, OPENID), expected);
}

#[test]
fn p106_without_keys_the_alias_is_503_and_the_metadata_is_there() {
    let setup = Setup::new();
    let missing = setup.database_path().with_file_name("missing").join("mintage.db");
    let url = format!("sqlite:{}", missing.display());
    let app = setup.configured(|config| config.database.url = url).start_unready();
    app.send(Request::get(OPENID)).assert_temporarily_unavailable();
    assert_eq!(app.send(Request::get(METADATA)).status, 200);
}

#[test]
fn p106_an_issuer_with_a_path_has_both_documents_at_every_form_of_their_address() {
    for (issuer, forms) in [
        ("https://auth.example/oauth", ["/oauth{}", "{}/oauth", "{}"].as_slice()),
        (
            "https://auth.example/a/b/",
            ["/a/b{}", "{}/a/b", "/a/b/{}", "{}/a/b/", "{}"].as_slice(),
        ),
        ("https://auth.example/", ["{}", "{}/", "/{}"].as_slice()),
        ("https://auth.example", ["{}"].as_slice()),
    ] {
        let app = app_of(issuer);
        for name in [METADATA, OPENID] {
            for form in forms {
                let path = form.replace("{}", name);
                let found = document(&app, &path);
                assert_eq!(found["issuer"], issuer, "{path}");
                assert_eq!(found.get("subject_types_supported").is_some(), name == OPENID, "{path}");
            }
        }
    }
}

#[test]
fn p106_every_endpoint_is_served_where_the_documents_name_it_and_without_the_path() {
    for issuer in ["https://auth.example/oauth", "https://auth.example/a/b/"] {
        let app = app_of(issuer);
        let client = app.client(|_| {});
        let base = issuer
            .trim_end_matches('/')
            .strip_prefix("https://auth.example")
            .unwrap();
        for prefix in [base, ""] {
            let named = document(&app, &format!("{prefix}{METADATA}"));
            let path = |name: &str| {
                let url = named[name].as_str().unwrap();
                let below = url.strip_prefix("https://auth.example").unwrap().strip_prefix(base);
                format!("{prefix}{}", below.unwrap())
            };
            let request = Request::post(&path("token_endpoint")).basic(&client);
            let answer = app.send(request.form(&[("grant_type", "client_credentials")]));
            assert_eq!(answer.status, 200, "{}", answer.text());
            let token = answer.json()["access_token"].as_str().unwrap().to_owned();
            let about = |name: &str| app.send(Request::post(&path(name)).basic(&client).form(&[("token", &token)]));
            assert_eq!(about("introspection_endpoint").json()["active"], true);
            assert_eq!(about("revocation_endpoint").status, 200);
            assert_eq!(about("introspection_endpoint").json(), json!({"active": false}));
            let keys = app.send(Request::get(&path("jwks_uri"))).json();
            assert_eq!(keys["keys"].as_array().unwrap().len(), 4);
            assert_eq!(app.send(Request::get(&path("authorization_endpoint"))).status, 400);
        }
        // Counted with the token endpoint, whatever its path.
        Scrape::of(app.address).assert_value(
            r#"mintage_http_requests_total{route="/token",method="POST",status="200"}"#,
            2.0,
        );
    }
}

#[test]
fn a_path_below_the_issuer_has_one_spelling_and_is_nothing_else() {
    let app = app_of("https://auth.example/oauth");
    for path in [
        "/%6fauth/token",
        "/oauth/%74oken",
        "/oauth/",
        "/oauth",
        "/oauth/token/",
        "/oauth//token",
        "/oauth/admin/clients",
        "/oauth/validate",
        "/other/token",
    ] {
        assert_eq!(app.send(Request::get(path)).status, 404, "{path}");
    }
}

#[test]
fn p106_the_authorization_endpoint_answers_400_to_everyone() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let query = "/authorize?response_type=code&client_id=a&redirect_uri=https://evil.example/&state=s";
    for request in [
        Request::get("/authorize"),
        Request::get(query),
        Request::post(query),
        Request::post("/authorize").form(&[("response_type", "code"), ("client_id", "a")]),
        Request::post("/authorize").body("text/plain", "{nonsense"),
        Request::get("/authorize").basic(&client),
    ] {
        let answer = app.send(request);
        answer.assert_oauth_error(
            400,
            "unsupported_response_type",
            "no response type is supported: use the client_credentials grant at the token endpoint",
        );
        assert_eq!(answer.header("location"), None);
    }
    let other = app.send(Request::new("PUT", "/authorize"));
    assert_eq!((other.status, other.header("allow")), (405, Some("GET, HEAD, POST")));
}

#[test]
fn an_issuer_whose_path_other_resources_have_is_rejected() {
    for bad in [
        "https://a/admin",
        "https://a/validate/x",
        "https://a/b//c",
        "https://a/%61",
    ] {
        let environment = BTreeMap::from([("MINTAGE_SERVER__ISSUER".into(), bad.into())]);
        let sources = mintage::config::Sources {
            environment,
            ..Default::default()
        };
        let error = sources.load().expect_err(bad).to_string();
        assert!(error.starts_with("server.issuer must be a URL whose path "), "{error}");
    }
}

#[test]
fn every_json_body_ends_with_a_newline() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let operator = app.issue_with_scope("mintage:admin");
    for request in [
        token_request(&client, &[]),
        Request::post("/introspect"),
        Request::post("/token"),
        Request::get("/nothing"),
        Request::get("/validate"),
        Request::get(METADATA),
        Request::get(OPENID),
        Request::get("/.well-known/jwks.json"),
        Request::get("/livez"),
        Request::get("/readyz"),
        Request::get("/admin/clients"),
        Request::get("/admin/clients").bearer(&operator),
        Request::get("/admin/nothing").bearer(&operator),
    ] {
        let text = app.send(request).text();
        assert!(text.ends_with("}\n") && !text.ends_with("\n\n"), "{text:?}");
    }
}

#[test]
fn the_address_of_the_server_has_a_page_that_names_the_endpoints() {
    let app = app_of("https://auth.example/a&b");
    let page = app.send(Request::get("/"));
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    let text = page.text();
    for url in ["/token<", "/introspect<", "/revoke<", "/.well-known/jwks.json<"] {
        assert!(text.contains(&format!("https://auth.example/a&amp;b{url}")), "{text}");
    }
    assert!(text.contains("href=\"console\"") && text.ends_with(">\n"), "{text}");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let icon = app.send(Request::get("/favicon.ico"));
    assert_eq!((icon.status, icon.header("content-type")), (200, Some("image/svg+xml")));
    let slash = app.send(Request::get("/console/"));
    assert_eq!((slash.status, slash.header("location")), (307, Some("../console")));
}
