//! PostgreSQL gets no password, and its rows are not believed, before it has proved who it is, unless
//! the URL has neither a remote host nor a password.

use testkit::postgres;
use testkit::program::Outcome;
use testkit::proxy::{Demand, ImpostorPostgres, Received};

const PASSWORD: &str = "hunter2-hunter2";

/// Runs a command on an impostor: what the command printed, and what the impostor was told. The
/// port stands for `PORT` in the URL.
fn meet(demand: Demand, url: &str) -> (Outcome, Received) {
    let impostor = ImpostorPostgres::start(demand);
    let url = url.replace("PORT", &impostor.port().to_string());
    let program = testkit::program!().with("MINTAGE_DATABASE_URL", &url);
    let outcome = program.run(&["client", "list"]);
    (outcome, impostor.received())
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Runs all cases at once, because each fails for 5 s.
fn each<T: Copy + Send + Sync>(cases: &[T], check: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| check(*case));
        }
    });
}

#[test]
fn a_remote_server_without_tls_is_not_even_told_the_user() {
    let url = "postgres://m:hunter2-hunter2@/m?host=db.example&hostaddr=127.0.0.1&port=PORT";
    each(&[Demand::Password, Demand::Md5, Demand::Nothing], |demand| {
        let (outcome, received) = meet(demand, url);
        let line = outcome.failed(1);
        assert!(
            line.contains("server does not support SSL") && line.contains("docs/postgresql.md"),
            "{line}"
        );
        // Nothing but requests for TLS.
        assert!(received.connections > 0 && received.answers.is_empty(), "{received:?}");
        assert!(
            received
                .all
                .chunks(8)
                .all(|request| request == [0, 0, 0, 8, 4, 210, 22, 47]),
            "{received:?}"
        );
    });
}

#[test]
fn a_remote_server_with_tls_must_have_a_certificate_of_that_name() {
    let program = testkit::program!();
    let impostor = ImpostorPostgres::with_certificate("other.example", &program.path(""));
    let connect = |host: &str| {
        let parameters = format!(
            "hostaddr=127.0.0.1&port={}&sslrootcert=certificate.pem",
            impostor.port()
        );
        let url = format!("postgres://m:hunter2-hunter2@/m?host={host}&{parameters}");
        program.run_with(&[("MINTAGE_DATABASE_URL", &url)], &["client", "list"])
    };
    let outcome = connect("db.example");
    let line = outcome.failed(1);
    assert!(
        line.contains("does not match host name") && !line.contains(PASSWORD),
        "{line}"
    );
    // Nothing but requests for TLS before it, and nothing within it.
    let received = impostor.received();
    assert!(received.connections > 0 && received.answers.is_empty(), "{received:?}");
    // A server of that name is told the user.
    connect("other.example").failed(1);
    assert!(contains(&impostor.received().answers, "user\0m\0"));
    assert!(!contains(&impostor.received().all, PASSWORD));
}

#[test]
fn a_remote_server_with_tls_is_not_used_without_an_authority() {
    let url = "postgres://m:hunter2-hunter2@/m?host=db.example&hostaddr=127.0.0.1&port=PORT";
    let program = testkit::program!();
    let impostor = ImpostorPostgres::start(Demand::Tls);
    let url = url.replace("PORT", &impostor.port().to_string());
    // An authority is needed before anything is sent.
    program.write("no-authority.pem", "");
    let outcome = program.run_with(
        &[("MINTAGE_DATABASE_URL", &url), ("SSL_CERT_FILE", "no-authority.pem")],
        &["client", "list"],
    );
    let line = outcome.failed(1);
    assert!(line.contains("certificate") && !line.contains(PASSWORD), "{line}");
    assert!(!contains(&impostor.received().all, PASSWORD));
}

#[test]
fn no_password_is_sent_in_clear_even_to_this_machine() {
    each(&[Demand::Password, Demand::Md5], |demand| {
        let (outcome, received) = meet(demand, "postgres://m:hunter2-hunter2@127.0.0.1:PORT/m");
        let line = outcome.failed(1);
        assert!(
            line.contains("authentication method requirement") && line.contains("docs/postgresql.md"),
            "{line}"
        );
        assert!(received.connections > 0, "{line}");
        assert_eq!(received.answers, Vec::<u8>::new(), "{demand:?}");
    });
}

#[test]
fn a_password_of_the_environment_is_not_sent_in_clear() {
    each(&[Demand::Password, Demand::Md5], |demand| {
        let impostor = ImpostorPostgres::start(demand);
        let url = format!("postgres://m@127.0.0.1:{}/m", impostor.port());
        let environment = [
            ("MINTAGE_DATABASE_URL", url.as_str()),
            ("PGPASSWORD", PASSWORD),
            ("PGREQUIREAUTH", "password,md5"),
        ];
        testkit::program!()
            .run_with(&environment, &["client", "list"])
            .failed(1);
        let received = impostor.received();
        assert!(received.connections > 0, "{demand:?}");
        assert_eq!(received.answers, Vec::<u8>::new(), "{demand:?}");
    });
}

#[test]
fn a_server_that_does_not_ask_for_the_password_is_not_believed() {
    let (outcome, received) = meet(Demand::Nothing, "postgres://m:hunter2-hunter2@127.0.0.1:PORT/m");
    let line = outcome.failed(1);
    assert!(line.contains("authentication method requirement"), "{line}");
    assert!(received.connections > 0 && received.answers.is_empty(), "{received:?}");
}

#[test]
fn a_server_that_needs_no_password_is_used_without_one() {
    let settings = postgres::empty();
    assert!(!settings.url.contains(":@") && !settings.url.contains("password"));
    let program = testkit::program!().with("MINTAGE_DATABASE_URL", &settings.url);
    program.run(&["migrate", "up"]).done();
}

#[test]
fn a_weaker_method_that_the_url_names_is_used_and_reported() {
    let url = "postgres://m:hunter2-hunter2@/m?host=db.example&hostaddr=127.0.0.1&port=PORT&sslmode=disable&require_auth=password";
    let (_, received) = meet(Demand::Password, url);
    assert!(contains(&received.answers, PASSWORD), "{received:?}");
    let checked = testkit::program!()
        .with("MINTAGE_DATABASE_URL", url)
        .run(&["config", "check"]);
    let named = |key: &str| checked.stderr.lines().filter(|line| line.contains(key)).count();
    assert_eq!(
        (
            checked.code,
            named("(sslmode=disable)"),
            named("(require_auth=password)")
        ),
        (Some(0), 1, 1),
        "{checked:?}"
    );
}

#[test]
fn g8_a_parameter_that_libpq_rejects_is_not_quoted() {
    for (url, told) in [
        ("postgres://localhost/m?sslmode=hunter2-hunter2", "value of sslmode"),
        (
            "postgres://localhost/m?require_auth=hunter2-hunter2",
            "value of require_auth",
        ),
        ("postgres://localhost/m?keepalives_idle=hunter2-hunter2", "malformed"),
    ] {
        let line = testkit::program!()
            .with("MINTAGE_DATABASE_URL", url)
            .run(&["client", "list"]);
        assert!(
            line.failed(1).contains(told) && !line.stderr.contains(PASSWORD),
            "{line:?}"
        );
    }
    let environment = [
        ("MINTAGE_DATABASE_URL", "postgres://localhost/m"),
        ("PGCHANNELBINDING", PASSWORD),
    ];
    let line = testkit::program!().run_with(&environment, &["client", "list"]);
    assert!(
        line.failed(1).contains("malformed") && !line.stderr.contains(PASSWORD),
        "{line:?}"
    );
}
