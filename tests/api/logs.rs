//! The log of the real binary: it never contains a secret (G8), and its size is bounded.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use diesel::RunQueryDsl;
use mintage::clock::Clock;
use mintage::config::LogFormat;
use mintage::db::DbError;
use serde_json::{Value, json};
use testkit::http::{Connection, Request};
use testkit::poll::until;
use testkit::sqlite::{connect, private_keys};
use testkit::token::{about_token, jti, token_request};
use testkit::{Program, Server, TestClient};

const GRANT: &str = "grant_type=client_credentials";

/// Lines of the log that contain `text`.
fn lines(serving: &Server, text: &str) -> Vec<String> {
    serving
        .log()
        .lines()
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect()
}

/// Requests with a secret in every place where a client might put one by mistake.
fn misplaced(client: &TestClient, secret: &str) -> Vec<Request> {
    let form = |name: &str| {
        Request::post("/token")
            .basic(client)
            .form(&[("grant_type", "client_credentials"), (name, secret)])
    };
    vec![
        Request::post(&format!("/token?client_id={}&client_secret={secret}", client.id)).form_raw(GRANT),
        Request::post(&format!("/token/{secret}")).form_raw(GRANT),
        Request::get(&format!("/{secret}")),
        Request::get(&format!("/admin/{secret}?access_token={secret}")),
        Request::new(secret, "/token"),
        Request::post("/token")
            .basic_raw(&format!("{secret}:{}", client.id))
            .form_raw(GRANT),
        Request::post("/token").basic_raw(secret).form_raw(GRANT),
        Request::post("/token").header("Authorization", secret).form_raw(GRANT),
        Request::post("/token")
            .header("Authorization", &format!("Basic {secret}"))
            .form_raw(GRANT),
        Request::post("/token").bearer(secret).form_raw(GRANT),
        Request::post("/token").form(&[("grant_type", secret), ("client_id", secret), ("client_secret", secret)]),
        Request::post("/token").form(&[("client_secret", secret), ("client_secret", secret)]),
        Request::post("/token").form_raw(format!("{secret}&{secret}=%zz")),
        Request::post("/token").body(secret, secret),
        Request::post("/token").body("application/json", format!("{{\"client_secret\":\"{secret}\",,}}")),
        Request::post("/token").json(&json!({"client_secret": [secret], "grant_type": secret})),
        form("scope"),
        form("resource"),
        form("one_time"),
        form(secret),
        Request::get("/admin/cache/stats").bearer(secret),
        Request::get("/admin/cache/stats").header("Authorization", secret),
        Request::get("/livez").header(secret, secret),
        Request::get("/livez").header("Cookie", secret).header("Host", secret),
    ]
}

/// Every private key in the database, in the encodings in which it might be printed.
fn private_keys_as_text(program: &Program) -> Vec<String> {
    let hex = |key: &[u8]| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let encodings = |key: &[u8]| {
        [
            STANDARD.encode(key),
            URL_SAFE_NO_PAD.encode(key),
            hex(key),
            format!("{key:?}"),
        ]
    };
    private_keys(&program.database_path())
        .iter()
        .flat_map(|(_, key)| encodings(key))
        .collect()
}

#[test]
fn g8_no_secret_token_or_key_is_ever_logged() {
    let encryption_key = testkit::sample::ENCRYPTION_KEYS[0].to_owned();
    let program = testkit::program!()
        .with("RUST_LOG", "trace")
        .with("MINTAGE_KEYS__ENCRYPTION_KEY", &encryption_key)
        .migrated();
    let client = program.create_client(&["--name", "n", "--scope", "orders:read mintage:admin"]);
    let mut serving = program.serve(&[]);
    let ask = |scope: &str| {
        token_request(&client, &[("scope", scope)])
            .send(serving.address)
            .access_token()
    };
    let (plain, admin) = (ask("orders:read"), ask("mintage:admin"));
    let mut answers = String::new();
    for secret in [&client.secret, &plain, &admin] {
        for request in misplaced(&client, secret) {
            let answer = request.send(serving.address);
            // Credentials in the right place succeed, and the response contains a new token.
            if answer.status >= 400 {
                answers += &answer.text();
            }
        }
    }
    let stats = Request::get("/admin/writer/stats").bearer(&admin).send(serving.address);
    assert_eq!(stats.status, 200);
    serving.signal("HUP");
    serving.wait_for_log("configuration reloaded");
    serving.stop();
    let written = serving.log() + &serving.stdout() + &answers;
    assert!(
        written.contains("TRACE") || written.contains("DEBUG") || written.contains("INFO"),
        "nothing was logged"
    );
    let mut forbidden = vec![
        client.secret.clone(),
        STANDARD.encode(format!("{}:{}", client.id, client.secret)),
        encryption_key,
    ];
    for token in [&plain, &admin] {
        forbidden.extend(token.split('.').skip(1).map(str::to_owned));
    }
    forbidden.extend(private_keys_as_text(&program));
    for text in forbidden {
        // A prefix would already weaken the secret.
        let part = &text[..text.len().min(20)];
        assert!(
            !written.contains(part),
            "{part} was written: {}",
            written.lines().find(|line| line.contains(part)).unwrap()
        );
    }
}

#[test]
fn g8_a_secret_created_by_an_operator_appears_only_in_its_response() {
    let program = testkit::program!().with_database().with("RUST_LOG", "trace");
    let operator = program.create_client(&["--name", "n", "--scope", "mintage:admin"]);
    let mut serving = program.serve(&[]);
    let admin = token_request(&operator, &[("scope", "mintage:admin")])
        .send(serving.address)
        .access_token();
    let send = |request: Request| request.bearer(&admin).send(serving.address);
    let post = |path: &str, document: &Value| send(Request::post(path).json(document)).json();
    let created = post(
        "/admin/clients",
        &json!({"client_id": "shop", "name": "n", "scope": "x"}),
    );
    let added = post("/admin/clients/shop/secrets", &json!({}));
    let secrets = [&created, &added].map(|document| document["client_secret"].as_str().unwrap().to_owned());
    let mut responses = String::new();
    for secret in &secrets {
        assert_eq!(
            token_request(&TestClient::new("shop", secret), &[])
                .send(serving.address)
                .status,
            200
        );
        // In places where a secret does not belong.
        responses +=
            &send(Request::post("/admin/clients").json(&json!({"name": secret, "client_secret": secret}))).text();
        responses +=
            &send(Request::new("PATCH", "/admin/clients/shop").json(&json!({"alg": secret, "scope": secret}))).text();
        responses += &send(Request::get(&format!("/admin/clients/{secret}"))).text();
        responses += &send(Request::get(&format!("/admin/clients?cursor={secret}"))).text();
    }
    for path in [
        "/admin/clients",
        "/admin/clients/shop",
        "/admin/clients/shop/secrets",
        "/admin/audit",
    ] {
        responses += &send(Request::get(path)).text();
    }
    assert_eq!(send(Request::new("DELETE", "/admin/clients/shop")).status, 204);
    serving.stop();
    responses += &program.run(&["audit"]).stdout;
    let written = serving.log() + &serving.stdout() + &responses;
    assert!(responses.contains("client.create") && responses.contains("secret.add"));
    for secret in secrets {
        // A prefix would already weaken the secret.
        assert!(!written.contains(&secret[..20]), "{written}");
    }
}

#[test]
fn g8_a_configuration_error_shows_no_secrets() {
    let assert_masked = |name: &str, value: &str| {
        let program = testkit::program!().with("RUST_LOG", "trace").with(name, value);
        let outcome = program.run(&["client", "list"]);
        outcome.failed(1);
        assert!(!outcome.stderr.contains("hunter2"), "{outcome:?}");
    };
    assert_masked("MINTAGE_KEYS__ENCRYPTION_KEY", "hunter2hunter2");
    assert_masked("MINTAGE_DATABASE_URL", "mysql://mintage:hunter2@db/mintage");
    // In parallel, because each waits for a connection.
    std::thread::scope(|scope| {
        for url in [
            "postgres://mintage:hunter2@127.0.0.1:1/mintage",
            // libpq cannot parse these, and would quote them in its error.
            "postgres://mintage:hunter2@[db/mintage",
            "postgres://mintage:hunter2%zz@db/mintage",
            "postgres://mintage:hunter2/3@db/mintage",
        ] {
            scope.spawn(move || assert_masked("MINTAGE_DATABASE_URL", url));
        }
    });
}

fn failed(text: String) -> Result<(), String> {
    Err(text)
}

/// The secret in the messages of [`panics_with_a_secret`].
const PANIC_SECRET: &str = "hunter2-é";

#[test]
#[ignore = "run by g8_a_panic_prints_no_value as a process of its own"]
fn panics_with_a_secret() {
    let Some(mode) = std::env::var_os("PANIC_MODE") else {
        return;
    };
    mintage::process::install_panic_hook();
    if mode == "logging" {
        mintage::logging::start(LogFormat::Json, Clock::System);
    }
    let secret = PANIC_SECRET.to_owned();
    let (unwrapped, sliced, expected, formatted) = (secret.clone(), secret.clone(), secret.clone(), secret.clone());
    let panics: [Box<dyn FnOnce() + Send>; 5] = [
        Box::new(move || failed(unwrapped).unwrap()),
        Box::new(move || assert_ne!(&sliced[..9], "")),
        Box::new(move || failed(expected).expect("a proof")),
        Box::new(move || panic!("the secret is {formatted}")),
        Box::new(|| panic!("a literal")),
    ];
    for panic in panics {
        assert!(std::thread::spawn(panic).join().is_err());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stopped: Result<(), _> =
        runtime.block_on(async { tokio::task::spawn_blocking(move || panic!("{secret}")).await });
    eprintln!("{}", DbError::stopped(stopped.unwrap_err()));
}

#[test]
fn g8_a_panic_prints_no_value() {
    for mode in ["logging", "not logging"] {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "logs::panics_with_a_secret", "--nocapture"])
            .env("PANIC_MODE", mode)
            .env("RUST_BACKTRACE", "1")
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        let written = String::from_utf8([child.stdout, child.stderr].concat()).unwrap();
        assert!(child.status.success() && written.contains("1 passed"), "{written}");
        assert!(!written.contains("hunter2"), "{written}");
        assert!(written.contains("the database cannot be reached: a task"), "{written}");
        // A backtrace has the names of functions.
        assert!(written.contains("panics_with_a_secret"), "{written}");
        let lines: Vec<&str> = written
            .lines()
            .filter(|line| match mode {
                "logging" => line.contains("\"message\":\"panic\""),
                _ => line.starts_with("mintage: internal error at "),
            })
            .collect();
        assert_eq!(lines.len(), 6, "{written}");
        for line in lines {
            assert!(line.contains("tests/api/logs.rs:"), "{line}");
        }
        assert_eq!(written.contains("a literal"), mode == "logging", "{written}");
    }
}

#[test]
fn a_denied_credential_is_logged_in_one_line_with_its_reason_and_request_id() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--id", "known", "--scope", "a"]);
    let serving = program.serve(&[]);
    let wrong = token_request(&client.with_secret("wrong"), &[])
        .header("X-Request-Id", "id-1")
        .send(serving.address);
    wrong.assert_invalid_client();
    let answer = Request::post("/token")
        .basic_raw("stranger:x")
        .form_raw(GRANT)
        .send(serving.address);
    serving.wait_for_log("unknown_client");
    let denied = lines(&serving, "credentials denied");
    assert_eq!(denied.len(), 2);
    assert!(
        denied[0]
            .ends_with("INFO  credentials denied reason=wrong_secret client=known client_ip=127.0.0.1 request_id=id-1"),
        "{denied:?}"
    );
    let generated = answer.header("x-request-id").unwrap();
    // An unknown client id is not logged: it might be a secret in the wrong field.
    assert!(
        denied[1].ends_with(&format!(
            "reason=unknown_client client_ip=127.0.0.1 request_id={generated}"
        )),
        "{denied:?}"
    );
}

/// The sum of the counts in the lines that begin with `event`.
fn suppressed(serving: &Server, event: &str) -> u64 {
    let count = |line: &String| line.rsplit_once("count=").unwrap().1.parse::<u64>().unwrap();
    lines(serving, event).iter().map(count).sum()
}

#[test]
fn at_most_ten_denials_of_a_caller_are_logged_in_ten_seconds_and_the_others_counted() {
    const DENIALS: u64 = 60;
    let program = testkit::program!().with_database();
    let serving = program.serve(&[]);
    let mut connection = Connection::open(serving.address);
    let request = Request::post("/token").basic_raw("stranger:x").form_raw(GRANT);
    (0..DENIALS).for_each(|_| connection.ask(&request).assert_invalid_client());
    // Nothing follows: the count is written by itself.
    let event = "INFO  denial events suppressed reason=unknown_client client_ip=127.0.0.1 count=";
    until("suppressed denials are counted", Duration::from_secs(15), || {
        lines(&serving, "credentials denied").len() as u64 + suppressed(&serving, event) == DENIALS
    });
    // They may have fallen into two windows.
    assert!(lines(&serving, "credentials denied").len() <= 20);
}

#[test]
fn a_known_client_is_logged_beside_the_noise_of_others() {
    let program = testkit::program!().with_database();
    program.write("mintage.toml", "[server]\nclient_ip_proxies = [\"127.0.0.1\"]\n");
    let victim = program.create_client(&["--name", "n", "--id", "victim", "--scope", "a"]);
    let mut serving = program.serve(&[]);
    let mut connection = Connection::open(serving.address);
    // From 40 addresses, each with a budget of its own, so that all that others have is used.
    for number in 0..400 {
        let invented = Request::post("/token").basic_raw(&format!("invented{number}:x"));
        let from = format!("192.0.2.{}", number % 40);
        let sent = connection.ask(&invented.header("X-Forwarded-For", &from).form_raw(GRANT));
        sent.assert_invalid_client();
    }
    for _ in 0..3 {
        let wrong = token_request(&victim.with_secret("wrong"), &[]);
        let wrong = wrong.header("X-Forwarded-For", "192.0.2.99");
        connection.ask(&wrong).assert_invalid_client();
    }
    serving.stop();
    let of_others = lines(&serving, "credentials denied reason=unknown_client").len();
    assert!(of_others >= 200, "{of_others}: their budget is used");
    let of_victim = lines(&serving, "credentials denied reason=wrong_secret client=victim");
    assert_eq!(
        of_victim.len(),
        3,
        "the noise of others took the lines of the client:\n{}",
        serving.log()
    );
}

#[test]
fn a_stop_reports_what_was_suppressed() {
    const DENIALS: u64 = 40;
    let program = testkit::program!().with_database();
    let victim = program.create_client(&["--name", "n", "--id", "victim", "--scope", "a"]);
    let mut serving = program.serve(&[]);
    let mut connection = Connection::open(serving.address);
    let wrong = token_request(&victim.with_secret("wrong"), &[]);
    (0..DENIALS).for_each(|_| connection.ask(&wrong).assert_invalid_client());
    serving.stop();
    let logged = lines(&serving, "credentials denied").len() as u64;
    let event = "denial events suppressed reason=wrong_secret client=victim client_ip=127.0.0.1 count=";
    assert_eq!(logged + suppressed(&serving, event), DENIALS, "{}", serving.log());
}

#[test]
fn the_warm_path_logs_nothing_at_info() {
    let program = testkit::program!().with_database();
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let mut serving = program.serve(&[]);
    let before = serving.log();
    let mut connection = Connection::open(serving.address);
    for _ in 0..100 {
        assert_eq!(connection.ask(&token_request(&client, &[])).status, 200);
        assert_eq!(connection.ask(&Request::get("/livez")).status, 200);
    }
    assert_eq!(serving.log(), before);
    serving.stop();
}

#[test]
fn the_access_log_at_debug_names_secret_and_client_ip() {
    let program = testkit::program!()
        .with_database()
        .with("RUST_LOG", "info,mintage::http::access_log=debug")
        .with("MINTAGE_SERVER__CLIENT_IP_PROXIES", r#"["127.0.0.1"]"#)
        .with("MINTAGE_LOG__FORMAT", "json");
    let client = program.create_client(&["--name", "n", "--scope", "a"]);
    let secrets = program.run_json(&["client", "secret", "list", &client.id]);
    let mut serving = program.serve(&[]);
    let send = |request: Request, id: &str| {
        let request = request
            .header("X-Forwarded-For", "192.0.2.7")
            .header("X-Request-Id", id);
        request.send(serving.address)
    };
    let token = send(token_request(&client, &[]), "id-1").access_token();
    for (path, id) in [("/introspect", "id-2"), ("/revoke", "id-3"), ("/introspect", "id-4")] {
        assert_eq!(send(about_token(path, &client, &token), id).status, 200);
    }
    serving.stop();
    let log = serving.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lines: Vec<Value> = lines.filter(|line| line["level"] == "DEBUG").collect();
    let events = ["token issued", "token introspected", "token revoked"];
    assert_eq!(lines.len(), events.len(), "{log}");
    for (number, (line, event)) in lines.iter().zip(events).enumerate() {
        let expected = json!({
            "time": line["time"], "level": "DEBUG", "target": "mintage::http::access_log", "message": event,
            "client": client.id, "secret_id": secrets["items"][0]["secret_id"], "client_ip": "192.0.2.7",
            "jti": jti(&token), "request_id": format!("id-{}", number + 1),
        });
        assert_eq!(line, &expected);
    }
}

#[test]
fn json_logs_are_one_object_per_line() {
    let program = testkit::program!()
        .with("MINTAGE_LOG__FORMAT", "json")
        .with("RUST_LOG", "trace")
        .migrated();
    let client = program.create_client(&["--name", "n", "--id", "a b=\"c", "--scope", "a"]);
    let mut serving = program.serve(&[]);
    Request::post("/token")
        .basic_raw("a\"b\n:x")
        .form_raw(GRANT)
        .send(serving.address)
        .assert_invalid_client();
    token_request(&client.with_secret("wrong"), &[])
        .header("X-Request-Id", "id-1")
        .send(serving.address)
        .assert_invalid_client();
    program.write("mintage.toml", "[token]\nttl = \"2x\"\n");
    serving.signal("HUP");
    serving.wait_for_log("configuration not reloaded");
    serving.stop();
    let log = serving.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
        assert!(line["level"].is_string() && line["target"].is_string(), "{line}");
    }
    let event = |message: &str| {
        let mut found = lines.iter().filter(|line| line["message"] == message);
        found.next().unwrap_or_else(|| panic!("{message}: {log}"))
    };
    let url = event("server listening")["url"].as_str().unwrap();
    assert_eq!(url, format!("http://{}", serving.address));
    let created = event("signing key created");
    assert_eq!((&created["alg"], &created["level"]), (&json!("ES256"), &json!("INFO")));
    // A number stays one.
    assert_eq!(event("server ready")["clients_warmed"], 0);
    let denials: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "credentials denied")
        .collect();
    let [stranger, known] = denials[..] else {
        panic!("{denials:?}");
    };
    let fields = |line: &Value| {
        let members = line.as_object().unwrap().keys();
        members
            .filter(|name| !["time", "level", "target", "message"].contains(&name.as_str()))
            .cloned()
            .collect::<Vec<_>>()
    };
    // The id of a stranger is left out: it might be a secret in the wrong field.
    assert_eq!(fields(stranger), ["client_ip", "reason", "request_id"]);
    assert_eq!(fields(known), ["client", "client_ip", "reason", "request_id"]);
    assert_eq!(
        (
            &known["reason"],
            &known["client"],
            &known["client_ip"],
            &known["request_id"]
        ),
        (
            &json!("wrong_secret"),
            &json!("a b=\"c"),
            &json!("127.0.0.1"),
            &json!("id-1")
        )
    );
    assert!(
        event("configuration not reloaded")["error"]
            .as_str()
            .unwrap()
            .contains("token.ttl must be a duration"),
        "{log}"
    );
    assert_eq!(event("server stopping")["pending"], 0);
    event("server stopped");
}

#[test]
fn an_event_of_a_signing_key_names_it() {
    let program = testkit::program!()
        .with_database()
        .with("MINTAGE_LOG__FORMAT", "json")
        .with("MINTAGE_KEYS__ENCRYPTION_KEY", testkit::sample::ENCRYPTION_KEYS[0]);
    let mut serving = program.serve(&[]);
    let keys = Request::get("/.well-known/jwks.json").send(serving.address).json();
    serving.stop();
    let log = serving.log();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let encrypted: Vec<Value> = lines
        .filter(|line| line["message"] == "signing key encrypted")
        .map(|line| line["kid"].clone())
        .collect();
    // The HS256 key is encrypted too, but not published. The order is that of the random ids.
    let published = keys["keys"].as_array().unwrap();
    assert!(!published.is_empty(), "{keys}");
    for key in published {
        assert!(encrypted.contains(&key["kid"]), "{key}: {log}");
    }
}

#[test]
fn a_route_that_never_matches_is_logged_at_the_start_only() {
    let program = testkit::program!().with_database();
    let add = |path: &str| {
        let added = program.run_json(&["route", "add", "--path", path, "--scope", "a"]);
        added["id"].as_str().unwrap().to_owned()
    };
    let old = add("/old");
    let changed = format!("UPDATE routes SET path = '/old%20/new' WHERE id = '{old}'");
    diesel::sql_query(changed)
        .execute(&mut connect(&program.database_path()))
        .unwrap();
    let serving = program.serve(&[]);
    let ops = program.create_client(&["--name", "ops", "--scope", "mintage:admin", "--alg", "HS256"]);
    let token = serving
        .send(&token_request(&ops, &[("scope", "mintage:admin")]))
        .access_token();
    for path in ["/a", "/b"] {
        let body = json!({ "path": path, "scope": "a" }).to_string();
        let added = serving.send(
            &Request::post("/admin/routes")
                .bearer(&token)
                .body("application/json", &body),
        );
        assert_eq!(added.status, 201, "{}", added.text());
    }
    let lines = lines(&serving, "route never matches");
    assert!(lines.len() == 1 && lines[0].contains(&old), "{lines:?}");
}
