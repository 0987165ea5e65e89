//! What an operator may do: the duties that a client has now, never those that it had when its
//! token was issued, and never more than it was given by name.

use mintage::clock::Clock;
use mintage::db::routes;
use mintage::gateway::route::NewRoute;
use mintage::oauth::claims::{AccessTokenClaims, Audience};
use mintage::oauth::scope::Scope;
use serde_json::json;
use testkit::TestApp;
use testkit::app::{ADMIN, ISSUER, ORDERS, Setup};
use testkit::gateway::forwarded;
use testkit::token::claims;

use crate::operator::{Operator, assert_bad_request, path_of};

/// What every duty is called.
const RESERVED: [&str; 8] = [
    "mintage:admin",
    "mintage:read",
    "mintage:clients",
    "mintage:keys",
    "mintage:routes",
    "mintage:tokens",
    "mintage:audit",
    "mintage:introspect",
];

#[test]
fn p19_a_reserved_scope_is_never_a_default() {
    const RULE: &str = "default_scope must be a part of the scope, without scopes that begin with mintage:";
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for duty in RESERVED {
        let scope = format!("a {duty}");
        for default in [duty, &scope] {
            let new = json!({"name": "n", "scope": scope, "default_scope": default});
            assert_bad_request(&operator.post("/admin/clients", &new), RULE);
            let (client, _) = operator.create(json!({"scope": scope}));
            let change = operator.patch(&path_of(&client), &json!({"default_scope": default}));
            assert_bad_request(&change, RULE);
            assert_eq!(app.ask(&client, &[]).json()["scope"], "a");
        }
    }
}

#[test]
fn p19_the_command_line_rejects_a_reserved_default() {
    let program = testkit::program!().with_database();
    let create = |default: &str| {
        let scope = ["--name", "n", "--scope", "mintage:admin a"];
        program.run(&[&["client", "create"], &scope[..], &["--default-scope", default]].concat())
    };
    let rule = "mintage: --default-scope must be a part of the scope, without scopes that begin with mintage:";
    assert!(create("mintage:admin").failed(2).starts_with(rule));
    let client = program.create_client(&["--name", "n", "--scope", "a mintage:admin"]);
    let update = ["client", "update", &client.id, "--default-scope", "a mintage:admin"];
    assert!(program.run(&update).failed(2).starts_with(rule));
    let unknown = program.run(&["client", "update", &client.id, "--scope", "mintage:later"]);
    assert!(unknown.failed(2).starts_with("mintage: --scope must be "));
}

/// Earlier versions let such a scope be a default.
#[test]
fn p19_a_reserved_default_in_the_database_is_ignored() {
    let app = TestApp::start();
    let [only_admin, both] = [(), ()].map(|()| app.client_with_scope("a mintage:admin"));
    for (client, default) in [(&only_admin, "mintage:admin"), (&both, "a mintage:admin")] {
        app.sql(&format!(
            "UPDATE clients SET default_scope = '{default}' WHERE client_id = '{}'",
            client.id
        ));
    }
    let none = app.ask(&only_admin, &[]);
    none.assert_oauth_error(400, "invalid_scope", "the client has no default scope, ask for one");
    assert_eq!(app.ask(&both, &[]).json()["scope"], "a");
}

#[test]
fn a_reserved_scope_that_does_not_exist_cannot_be_granted() {
    const RULE: &str = "scope must be scope tokens that, if they begin with mintage:, end with admin, read, clients, \
                        keys, routes, tokens, audit or introspect";
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for scope in [
        "mintage:",
        "mintage:later",
        "a mintage:ADMIN",
        "mintage:admin mintage:admin2",
    ] {
        let new = json!({"name": "n", "scope": scope});
        assert_bad_request(&operator.post("/admin/clients", &new), RULE);
    }
    // A client of an earlier version may have one, and can be changed without naming its scope.
    let old = app.client_with_scope("a mintage:later");
    assert_bad_request(
        &operator.patch(&path_of(&old), &json!({"scope": "a mintage:later"})),
        RULE,
    );
    let disabled = operator.patch(&path_of(&old), &json!({"enabled": false}));
    assert_eq!(
        (disabled.status, &disabled.json()["scope"]),
        (200, &json!("a mintage:later"))
    );
}

#[test]
fn a_route_cannot_require_a_reserved_scope() {
    const RULE: &str = "the scope must not begin with mintage:, because /validate accepts no token with such a scope";
    let app = TestApp::shared();
    let operator = Operator::of(&app);
    for scope in RESERVED.into_iter().chain(["orders:read mintage:later"]) {
        let route = json!({"path": "/reserved", "scope": scope});
        assert_bad_request(&operator.post("/admin/routes", &route), RULE);
    }
    let program = testkit::program!().with_database();
    let added = program.run(&["route", "add", "--path", "/a", "--scope", "mintage:read"]);
    assert!(added.failed(2).starts_with("mintage: --scope: "), "{added:?}");
}

#[test]
fn p21_a_token_with_reserved_scopes_is_for_admin_and_nothing_else() {
    const MIXED: &str = "scopes that begin with mintage: cannot be combined with others";
    const TARGET: &str = "the resource is not an absolute URI that the client may name";
    let app = Setup::new()
        .configured(|config| config.token.audience = ORDERS.into())
        .start();
    let scope = format!("orders:read {}", RESERVED.join(" "));
    let client = app.client(|client| {
        client.scope = Scope::parse(&scope).unwrap();
        client.audiences.push(ADMIN.into());
    });
    let ask = |scope: &str, resources: &[&str]| {
        let resources = resources.iter().map(|resource| ("resource", *resource));
        let parameters: Vec<_> = [("scope", scope)].into_iter().chain(resources).collect();
        app.ask(&client, &parameters)
    };
    for duty in RESERVED {
        for resources in [&[][..], &[ADMIN], &[ADMIN, ADMIN]] {
            let claims = claims(&ask(duty, resources).access_token());
            assert_eq!((&claims["aud"], &claims["scope"]), (&json!(ADMIN), &json!(duty)));
            assert!(claims["secret_id"].is_string());
        }
        for other in [&[ORDERS][..], &[ISSUER], &[ADMIN, ORDERS]] {
            ask(duty, other).assert_oauth_error(400, "invalid_target", TARGET);
        }
        for mixed in [format!("{duty} orders:read"), format!("orders:read {duty}")] {
            ask(&mixed, &[]).assert_oauth_error(400, "invalid_scope", MIXED);
        }
    }
    let all = claims(&ask(&RESERVED.join(" "), &[]).access_token());
    assert_eq!(
        (&all["aud"], &all["scope"]),
        (&json!(ADMIN), &json!(RESERVED.join(" ")))
    );
    ask("orders:read", &[ADMIN]).assert_oauth_error(400, "invalid_target", TARGET);
    let ordinary = claims(&ask("orders:read", &[]).access_token());
    assert_eq!((&ordinary["aud"], ordinary.get("secret_id")), (&json!(ORDERS), None));
}

#[test]
fn p21_the_audience_of_admin_follows_the_issuer() {
    let app = Setup::new()
        .configured(|config| config.server.issuer = "https://tokens.example/tenant/".into())
        .start();
    let operator = Operator::of(&app);
    assert_eq!(claims(&operator.token)["aud"], "https://tokens.example/tenant/admin");
    assert_eq!(operator.get("/admin/cache/stats").status, 200);
    let program = testkit::program!()
        .with("MINTAGE_SERVER__ISSUER", "https://tokens.example")
        .with("MINTAGE_TOKEN__AUDIENCE", "https://tokens.example/admin");
    let checked = program.run(&["config", "check"]);
    assert!(checked.failed(1).contains("token.audience must be"), "{checked:?}");
}

/// An upstream that receives the token could replay it at `/admin`.
#[test]
fn p41_validate_accepts_no_token_for_admin() {
    let app = TestApp::start();
    let route = |path: &str, audience: Option<&str>| {
        let new = NewRoute {
            path: path.into(),
            scope: "orders:read".into(),
            audience: audience.map(str::to_owned),
            ..NewRoute::default()
        };
        let route = new.route(path[1..].to_owned(), Clock::System.now()).unwrap();
        app.database(|conn| routes::insert(conn, &route));
    };
    route("/default", None);
    route("/own", Some(ADMIN));
    // As a route of an earlier version may be.
    app.sql("UPDATE routes SET scope = 'mintage:admin'");
    let app = app.restart();
    let operator = Operator::of(&app);
    let valid = app.claims(&operator.token);
    let both = AccessTokenClaims {
        aud: Audience::Many(vec![ISSUER.into(), ADMIN.into()]),
        ..valid.clone()
    };
    let old = AccessTokenClaims {
        aud: Audience::One(ISSUER.into()),
        ..valid
    };
    for (path, token, status) in [
        ("/default", &operator.token, 401),
        ("/own", &operator.token, 401),
        ("/default", &app.sign(&both), 401),
        ("/own", &app.sign(&both), 401),
        ("/default", &app.sign(&old), 200),
    ] {
        let asked = forwarded("GET", path).bearer(token).send(app.address);
        assert_eq!(asked.status, status, "{path} {}", asked.text());
    }
}
