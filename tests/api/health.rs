//! `/livez` and `/readyz`.

use std::time::Duration;

use serde_json::json;
use testkit::TestApp;
use testkit::app::Setup;
use testkit::http::Request;
use testkit::poll::until;
use testkit::sqlite::template;

const NO_DATABASE: &str = "the server is starting: the database cannot be reached";
const DATABASE_DOWN: &str = "the database does not answer";

fn ready(app: &TestApp) -> bool {
    app.send(Request::get("/readyz")).status == 200
}

#[track_caller]
fn assert_not_ready(app: &TestApp, reason: &str) {
    let answer = app.send(Request::get("/readyz"));
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json(), json!({"status": "unavailable", "reason": reason}));
    answer.assert_common_headers();
}

#[test]
fn a_running_server_is_live_and_ready() {
    let app = TestApp::shared();
    for (path, status) in [("/livez", "ok"), ("/readyz", "ready")] {
        let answer = app.send(Request::get(path));
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("application/json"))
        );
        assert_eq!(answer.json(), json!({"status": status}));
        answer.assert_common_headers();
    }
}

#[test]
fn without_a_database_the_server_is_live_but_not_ready() {
    let setup = Setup::new();
    let missing = setup.database_path().with_file_name("missing");
    let url = format!("sqlite:{}", missing.join("mintage.db").display());
    let app = setup.configured(|config| config.database.url = url).start_unready();
    assert_eq!(app.send(Request::get("/livez")).status, 200);
    until("an attempt to start has failed", Duration::from_secs(5), || {
        app.send(Request::get("/readyz")).json()["reason"] == NO_DATABASE
    });
    assert_not_ready(&app, NO_DATABASE);
    let keys = app.send(Request::get("/.well-known/jwks.json"));
    keys.assert_temporarily_unavailable();
    // Appears at once: the server would create its own database in an empty folder.
    let prepared = missing.with_file_name("prepared");
    std::fs::create_dir(&prepared).unwrap();
    std::fs::write(prepared.join("mintage.db"), template()).unwrap();
    std::fs::rename(prepared, missing).unwrap();
    app.wait_until_ready();
    assert!(ready(&app));
    assert_eq!(app.send(Request::get("/.well-known/jwks.json")).status, 200);
}

#[test]
fn readiness_follows_the_availability_of_the_database() {
    let app = TestApp::start();
    app.sql("ALTER TABLE changes RENAME TO changes_away");
    until("the server is not ready", Duration::from_secs(5), || !ready(&app));
    assert_not_ready(&app, DATABASE_DOWN);
    assert_eq!(app.send(Request::get("/livez")).status, 200);
    app.sql("ALTER TABLE changes_away RENAME TO changes");
    until(
        "the server is ready after the database is back",
        Duration::from_secs(10),
        || ready(&app),
    );
}

#[test]
fn startup_fails_if_the_schema_is_missing_and_auto_migrate_is_off() {
    let app = Setup::on_empty_database()
        .configured(|config| config.database.auto_migrate = false)
        .start_unready();
    let reason = app.why_it_ends().to_string();
    assert!(reason.contains("run `mintage migrate up`"), "{reason}");
}
