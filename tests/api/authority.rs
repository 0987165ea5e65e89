//! What an operator may do: the duties that a client has now, never those that it had when its
//! token was issued, and never more than it was given by name.

use std::sync::Arc;
use std::time::Duration;

use mintage::api::audit::AuditDocument;
use mintage::api::client_fields::ClientFields;
use mintage::clock::Clock;
use mintage::db::{audit, clients, routes, transactions};
use mintage::gateway::route::NewRoute;
use mintage::oauth::claims::{AccessTokenClaims, Audience};
use mintage::oauth::duty::Duties;
use mintage::oauth::scope::Scope;
use serde_json::json;
use testkit::app::{ADMIN, ISSUER, ORDERS, Setup};
use testkit::gateway::forwarded;
use testkit::http::{Connection, Request, Response};
use testkit::token::{claims, jti};
use testkit::{TestApp, TestClient, sample};

use crate::operator::{Operation, Operator, assert_bad_request, assert_no_content, path_of};

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
    const FOR_ADMIN: &str = "scopes that begin with mintage: are for the audience of /admin only";
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
            ask(duty, other).assert_oauth_error(400, "invalid_target", FOR_ADMIN);
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
            scope: Some("orders:read".into()),
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

/// The duties of `/admin`: a client with one of these is an operator.
fn operators() -> impl Iterator<Item = &'static str> {
    RESERVED.into_iter().filter(|duty| *duty != "mintage:introspect")
}

#[track_caller]
fn assert_insufficient(answer: &Response, scope: &str) {
    let challenge = format!("Bearer realm=\"mintage\", error=\"insufficient_scope\", scope=\"{scope}\"");
    answer.assert_problem(403, "Forbidden", "the token lacks the scope for this", Some(&challenge));
}

#[track_caller]
fn assert_not_held(answer: &Response) {
    const DETAIL: &str = "scopes that begin with mintage: can be granted, and a client that has them changed, only \
                          by an operator that holds them";
    let challenge = "Bearer realm=\"mintage\", error=\"insufficient_scope\"";
    answer.assert_problem(403, "Forbidden", DETAIL, Some(challenge));
}

#[test]
fn p41_each_duty_opens_exactly_its_operations() {
    let app = TestApp::shared();
    for duty in RESERVED {
        let operator = Operator::with_scope(&app, duty);
        for operation in Operation::all() {
            let answer = operator.send(operation.request());
            let allowed = operation.is_allowed_to(duty);
            println!("{duty} {} {} {}", operation.method, operation.path, answer.status);
            match allowed {
                true => assert!([200, 204, 400, 404, 415].contains(&answer.status), "{}", answer.text()),
                false => assert_insufficient(&answer, operation.least()),
            }
        }
    }
}

#[test]
fn an_operator_can_read_what_it_may_do() {
    let app = TestApp::shared();
    for (scope, requested, worth) in [
        ("mintage:admin", "mintage:admin", "mintage:admin"),
        (
            "mintage:read mintage:clients orders:read",
            "mintage:clients",
            "mintage:clients",
        ),
        (
            "mintage:keys mintage:read",
            "mintage:keys mintage:read",
            "mintage:read mintage:keys",
        ),
    ] {
        let client = app.client_with_scope(scope);
        let token = app.issue(&client, &[("scope", requested)]);
        let answer = app.send(Request::get("/admin/self").bearer(&token));
        let available = Duties::held(&Scope::parse(scope).unwrap()).scope().to_string();
        let expected = json!({"client_id": client.id, "scope": worth, "available": available});
        assert_eq!((answer.status, answer.json()), (200, expected));
    }
    // A token is worth what the client has now.
    let (root, demoted) = (Operator::of(&app), Operator::of(&app));
    let change = root.patch(&path_of(&demoted.client), &json!({"scope": "mintage:tokens x"}));
    assert_eq!(change.status, 200);
    let now = demoted.document("/admin/self");
    assert_eq!(
        (&now["scope"], &now["available"]),
        (&json!("mintage:tokens"), &json!("mintage:tokens"))
    );
}

/// How a right is taken away: what is done to the operator by another, and how its old token is
/// denied afterwards.
type Way = (&'static str, fn(&Operator<'_>, &Operator<'_>), u16);

const WAYS: [Way; 10] = [
    ("another scope", |root, operator| scope_of(root, operator, "x"), 403),
    (
        "another duty",
        |root, operator| scope_of(root, operator, "mintage:introspect"),
        403,
    ),
    (
        "another scope by the command line",
        |_, operator| {
            let (id, now) = (operator.client.id(), Clock::System.now());
            let fields = ClientFields {
                scope: Some("x".into()),
                ..ClientFields::default()
            };
            operator.app.database(|conn| {
                transactions::change_client(conn, &sample::operator(), &id, now, |client| {
                    fields.applied_to(client, now)
                })
            });
            operator.app.wait_for_change_feed();
        },
        403,
    ),
    (
        "its secret is revoked",
        |root, operator| {
            let path = format!("{}/secrets", path_of(&operator.client));
            let id = root.document(&path)["items"][0]["secret_id"]
                .as_str()
                .unwrap()
                .to_owned();
            assert_no_content(&root.delete(&format!("{path}/{id}")));
        },
        403,
    ),
    (
        "its secret is replaced",
        |root, operator| {
            let path = format!("{}/secrets", path_of(&operator.client));
            assert_eq!(root.post(&path, &json!({"others_expire_in_seconds": 0})).status, 201);
        },
        403,
    ),
    (
        "its secret expires",
        |root, operator| {
            let path = format!("{}/secrets", path_of(&operator.client));
            assert_eq!(root.post(&path, &json!({"others_expire_in_seconds": 10})).status, 201);
            assert_eq!(operator.get("/admin/self").status, 200);
            operator.app.advance(Duration::from_secs(10));
        },
        403,
    ),
    (
        "the client is disabled",
        |root, operator| {
            let disabled = root.patch(&path_of(&operator.client), &json!({"enabled": false}));
            assert_eq!(disabled.status, 200);
        },
        401,
    ),
    (
        "the client is deleted",
        |root, operator| assert_no_content(&root.delete(&path_of(&operator.client))),
        401,
    ),
    (
        "its tokens are revoked",
        |root, operator| {
            let path = format!("{}/revoke-tokens", path_of(&operator.client));
            assert_no_content(&root.send(Request::post(&path)));
        },
        401,
    ),
    (
        "the token is revoked",
        |root, operator| assert_no_content(&root.delete(&format!("/admin/tokens/{}", jti(&operator.token)))),
        401,
    ),
];

fn scope_of(root: &Operator<'_>, operator: &Operator<'_>, scope: &str) {
    let changed = root.patch(&path_of(&operator.client), &json!({ "scope": scope }));
    assert_eq!(changed.status, 200, "{}", changed.text());
}

#[test]
fn p41_every_way_of_taking_a_right_away_ends_old_tokens() {
    let app = Setup::new().with_mock_clock().start();
    let root = Operator::of(&app);
    for (way, take_away, status) in WAYS {
        let operator = Operator::of(&app);
        assert_eq!(operator.get("/admin/self").status, 200);
        take_away(&root, &operator);
        for operation in Operation::all() {
            let answer = operator.send(operation.request());
            let context = format!("{way}: {} {} {}", operation.method, operation.path, answer.text());
            assert_eq!(answer.status, status, "{context}");
            match status {
                403 => assert_insufficient(&answer, operation.least()),
                _ => assert!(answer.header("www-authenticate").unwrap().contains("invalid_token")),
            }
        }
    }
}

#[test]
fn p41_a_right_that_was_taken_away_cannot_be_given_back_with_an_old_token() {
    let app = TestApp::start();
    let (root, ops2) = (Operator::of(&app), Operator::of(&app));
    let path = path_of(&ops2.client);
    scope_of(&root, &ops2, "x");
    let before = root.document("/admin/clients");
    assert_insufficient(
        &ops2.patch(&path, &json!({"scope": "mintage:admin"})),
        "mintage:clients",
    );
    let backdoor = json!({"name": "n", "client_id": "backdoor", "scope": "mintage:admin"});
    assert_insufficient(&ops2.post("/admin/clients", &backdoor), "mintage:clients");
    assert_insufficient(&ops2.send(Request::post(&format!("{path}/secrets"))), "mintage:clients");
    assert_eq!(root.document("/admin/clients"), before);
}

/// Statements that take a right away without the server noticing, as another instance does within
/// the second until the change log is read.
const UNNOTICED: [&str; 6] = [
    "UPDATE clients SET scope = 'x' WHERE client_id = '{}'",
    "UPDATE clients SET enabled = 0 WHERE client_id = '{}'",
    "UPDATE secrets SET expires_at_ms = 1 WHERE client_id = '{}'",
    "DELETE FROM secrets WHERE client_id = '{}'",
    "INSERT INTO not_before (client_id, not_before_ms) VALUES ('{}', 9000000000000)",
    "INSERT INTO revocations (jti, expires_at, revoked_at_ms) VALUES ('{jti}', 9000000000, 1)",
];

#[test]
fn p41_a_right_that_ends_before_the_commit_changes_nothing() {
    let app = Setup::new().configured(|config| config.server.workers = 1).start();
    let root = Operator::of(&app);
    let (target, _) = root.create(json!({}));
    let secret = root.document(&format!("{}/secrets", path_of(&target)))["items"][0]["secret_id"].clone();
    let route = root.post("/admin/routes", &json!({"path": "/a", "scope": "a"})).json();
    let token = app.issue(&target, &[]);
    let target = path_of(&target);
    let writes = [
        (
            Request::post("/admin/clients").json(&json!({"name": "n", "scope": "x"})),
            "clients",
        ),
        (
            Request::new("PATCH", &target).json(&json!({"name": "other"})),
            "clients",
        ),
        (Request::post(&format!("{target}/secrets")), "clients"),
        (
            Request::new("DELETE", &format!("{target}/secrets/{}", secret.as_str().unwrap())),
            "clients",
        ),
        (Request::post(&format!("{target}/revoke-tokens")), "tokens"),
        (
            Request::new("DELETE", &format!("/admin/tokens/{}", jti(&token))),
            "tokens",
        ),
        (
            Request::post("/admin/routes").json(&json!({"path": "/b", "scope": "a"})),
            "routes",
        ),
        (
            Request::new("DELETE", &format!("/admin/routes/{}", route["id"].as_str().unwrap())),
            "routes",
        ),
        (
            Request::post("/admin/keys/rotate").json(&json!({"alg": "EdDSA"})),
            "keys",
        ),
        (Request::new("DELETE", &target), "clients"),
    ];
    let state = || {
        let lists = ["clients", "routes", "keys"].map(|list| root.document(&format!("/admin/{list}")));
        // Denied calls and sign-ins are events too, and are written up to a second later.
        let events = app.database(|conn| audit::since(conn, None, 10_000));
        let is_change = |event: &AuditDocument| !["admin.denied", "operator.sign_in"].contains(&event.action.as_str());
        let changes: Vec<i64> = events.into_iter().filter(is_change).map(|event| event.id).collect();
        (lists, changes)
    };
    for (number, statement) in UNNOTICED.into_iter().enumerate() {
        let operator = Operator::of(&app);
        // Otherwise the change feed would read the client because of its creation.
        app.wait_for_change_feed();
        assert_eq!(operator.get("/admin/self").status, 200);
        app.sql(
            &statement
                .replace("{jti}", &jti(&operator.token))
                .replace("{}", &operator.client.id),
        );
        let before = state();
        for (write, duty) in &writes {
            let answer = operator.send(write.clone());
            println!("{statement}: {}", answer.text());
            assert_insufficient(&answer, &format!("mintage:{duty}"));
        }
        assert_eq!(state(), before, "{number}");
    }
    // The requests were valid.
    for (write, _) in writes {
        let answer = root.send(write);
        assert!([200, 201, 204].contains(&answer.status), "{}", answer.text());
    }
}

/// The body of a request may arrive long after its head, by which it was authorized.
#[test]
fn p41_a_request_in_flight_loses_its_right() {
    let app = TestApp::start();
    let root = Operator::of(&app);
    let audit = |root: &Operator<'_>| {
        root.document("/admin/audit?limit=500")["items"]
            .as_array()
            .unwrap()
            .len()
    };
    for _ in 0..5 {
        let operator = Operator::of(&app);
        let create = json!({"name": "n", "client_id": "backdoor", "scope": "mintage:admin"});
        let request = Request::post("/admin/clients").json(&create).bearer(&operator.token);
        let bytes = request.bytes();
        let (begin, rest) = bytes.split_at(bytes.len() - 10);
        let mut connection = Connection::open(app.admin_address);
        connection.write(begin);
        // Answered after the head above was read, if both are on the same worker.
        assert_eq!(operator.get("/admin/self").status, 200);
        scope_of(&root, &operator, "x");
        let before = audit(&root);
        connection.write(rest);
        assert_insufficient(&connection.read_response(false).unwrap(), "mintage:clients");
        assert_eq!(audit(&root), before);
    }
    assert_eq!(root.get("/admin/clients/backdoor").status, 404);
}

/// The operator may take its own rights away: it has them until then.
#[test]
fn an_operator_can_end_itself() {
    let app = TestApp::shared();
    for (request, status) in [
        (
            |operator: &Operator<'_>| operator.patch(&path_of(&operator.client), &json!({"scope": "x"})),
            200,
        ),
        (
            |operator: &Operator<'_>| operator.delete(&path_of(&operator.client)),
            204,
        ),
        (
            |operator: &Operator<'_>| {
                operator.send(Request::post(&format!("{}/revoke-tokens", path_of(&operator.client))))
            },
            204,
        ),
        (
            |operator: &Operator<'_>| operator.delete(&format!("/admin/tokens/{}", jti(&operator.token))),
            204,
        ),
    ] as [(fn(&Operator<'_>) -> Response, u16); 4]
    {
        let operator = Operator::of(&app);
        let answer = request(&operator);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!([401, 403].contains(&operator.get("/admin/self").status));
    }
}

/// For each duty: everything that its holder can send in order to get another.
#[test]
fn no_sequence_of_calls_gains_a_duty() {
    let app = TestApp::start();
    for duty in operators().filter(|duty| *duty != "mintage:admin") {
        let attacker = Operator::with_scope(&app, duty);
        let [boss, disabled] =
            ["mintage:admin", "mintage:admin mintage:read"].map(|scope| app.client_with_scope(scope));
        app.database(|conn| sample::set_enabled(conn, &disabled.id(), false, Clock::System.now()));
        let plain = app.client(|_| {});
        let mut known = vec![attacker.client.clone()];
        let mut attempt = |answer: Response| {
            assert!(answer.status < 500, "{}", answer.text());
            if answer.status == 201 && answer.text().contains("client_secret") {
                let created = answer.json();
                let secret = created["client_secret"].as_str().unwrap().to_owned();
                let new = created["client_id"].as_str().map(str::to_owned);
                for id in [&boss, &disabled, &plain, &attacker.client]
                    .map(|client| client.id.clone())
                    .into_iter()
                    .chain(new)
                {
                    known.push(TestClient {
                        id,
                        secret: secret.clone(),
                    });
                }
            }
        };
        for wanted in RESERVED {
            for scope in [wanted.to_owned(), format!("x {wanted}"), format!("{wanted} {duty}")] {
                attempt(attacker.post("/admin/clients", &json!({"name": "n", "scope": scope})));
                let default = json!({"name": "n", "scope": scope, "default_scope": scope});
                attempt(attacker.post("/admin/clients", &default));
                for target in [&attacker.client, &boss, &disabled, &plain] {
                    attempt(attacker.patch(&path_of(target), &json!({ "scope": scope })));
                    let change = json!({"scope": scope, "default_scope": scope, "enabled": true, "auth_methods": []});
                    attempt(attacker.patch(&path_of(target), &change));
                }
            }
        }
        for target in [&attacker.client, &boss, &disabled, &plain] {
            attempt(attacker.patch(&path_of(target), &json!({"enabled": true})));
            attempt(attacker.post(&format!("{}/secrets", path_of(target)), &json!({})));
            attempt(attacker.post(
                &format!("{}/secrets", path_of(target)),
                &json!({"others_expire_in_seconds": 1}),
            ));
        }
        // Wait for what was attempted, so that no cached client hides a success.
        app.wait_for_change_feed();
        for client in &known {
            for wanted in RESERVED.into_iter().filter(|wanted| *wanted != duty) {
                let answer = app.ask(client, &[("scope", wanted)]);
                assert_ne!(answer.status, 200, "{duty} gained {wanted} with {}", client.id);
            }
            let granted = app.ask(client, &[]);
            if granted.status == 200 {
                assert!(!granted.text().contains("mintage:"), "{duty}: {}", granted.text());
            }
        }
        // It still can what it could.
        app.issue(&boss, &[("scope", "mintage:admin")]);
    }
}

#[test]
fn a_client_with_reserved_scopes_is_changed_only_by_who_holds_them_all() {
    let app = TestApp::start();
    for (held, target, allowed) in [
        ("mintage:clients", "a", true),
        ("mintage:clients", "a mintage:clients", true),
        ("mintage:clients", "mintage:read", false),
        ("mintage:clients", "a mintage:introspect", false),
        ("mintage:clients", "mintage:admin", false),
        ("mintage:clients mintage:read", "mintage:read", true),
        ("mintage:clients mintage:read", "mintage:read mintage:audit", false),
        ("mintage:admin", "mintage:admin mintage:introspect", true),
        // Of an earlier version.
        ("mintage:clients", "a mintage:later", false),
        ("mintage:admin", "a mintage:later", true),
    ] {
        let operator = Operator::with_scope(&app, held);
        let check = |answer: &Response, status| match allowed {
            true => assert_eq!(answer.status, status, "{held} {target}: {}", answer.text()),
            false => assert_not_held(answer),
        };
        if !target.contains("later") {
            let new = json!({"name": "n", "scope": target});
            check(&operator.post("/admin/clients", &new), 201);
            let plain = app.client(|_| {});
            check(&operator.patch(&path_of(&plain), &json!({ "scope": target })), 200);
        }
        let client = app.client_with_scope(target);
        let (path, secrets) = (path_of(&client), format!("{}/secrets", path_of(&client)));
        let known = app.database(|conn| clients::find(conn, &client.id())).unwrap();
        check(&operator.patch(&path, &json!({"name": "other"})), 200);
        check(&operator.patch(&path, &json!({"enabled": false})), 200);
        check(&operator.patch(&path, &json!({"enabled": true})), 200);
        check(&operator.post(&secrets, &json!({})), 201);
        check(&operator.delete(&format!("{secrets}/{}", known.secrets[0].id)), 204);
        // To take tokens away needs no more than the duty.
        let tokens = Operator::with_scope(&app, "mintage:tokens");
        assert_no_content(&tokens.send(Request::post(&format!("{path}/revoke-tokens"))));
        if allowed {
            check(&operator.patch(&path, &json!({"scope": "a"})), 200);
        }
        check(&operator.delete(&path), 204);
    }
}

#[test]
fn p41_a_token_ends_with_its_secret_and_without_one_it_is_worth_nothing() {
    let app = TestApp::shared();
    let (operator, other) = (Operator::of(&app), Operator::of(&app));
    let valid = app.claims(&operator.token);
    let with = |secret_id: Option<Arc<str>>| {
        app.sign(&AccessTokenClaims {
            secret_id,
            ..valid.clone()
        })
    };
    assert_eq!(
        app.send(Request::get("/admin/self").bearer(&with(valid.secret_id.clone())))
            .status,
        200
    );
    for token in [
        with(None),
        with(Some("nobody".into())),
        with(app.claims(&other.token).secret_id),
    ] {
        for operation in Operation::all() {
            let answer = app.send(operation.request().bearer(&token));
            assert_insufficient(&answer, operation.least());
        }
    }
}
