//! PgBouncer in front of PostgreSQL: works in session mode, and is named in transaction mode.

use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use testkit::poll::until;
use testkit::postgres::{self, unprivileged_shell};
use testkit::{Program, port};

/// Ends with its standard input.
const SUPERVISOR: &str = r#"
file=$(mktemp) || exit
printf %s "$1" >"$file"
PATH=$PATH:/usr/sbin
pgbouncer -q "$file" &
cat >/dev/null
kill $!
rm -f "$file"
"#;

/// A database behind PgBouncer in this mode, and PgBouncer.
fn behind_pgbouncer(mode: &str) -> (Program, Program, Child) {
    let direct = postgres::empty().url;
    let (server, _) = direct.rsplit_once('/').unwrap();
    let (_, port_of_server) = server.rsplit_once(':').unwrap();
    let own = port::free();
    let configuration = format!(
        "[databases]\n* = host=127.0.0.1 port={port_of_server} user=postgres\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nlisten_port = {own}\nunix_socket_dir =\nauth_type = any\npool_mode = {mode}\n"
    );
    let pgbouncer = unprivileged_shell()
        .args(["-c", SUPERVISOR, "supervisor", &configuration])
        .current_dir("/")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    until("PgBouncer listens", Duration::from_secs(10), || {
        TcpStream::connect(("127.0.0.1", own)).is_ok()
    });
    let url = direct.replacen(&format!(":{port_of_server}/"), &format!(":{own}/"), 1);
    let on = |url: &str| testkit::program!().on(url, &[]);
    (on(&url), on(&direct), pgbouncer)
}

#[test]
fn a_pooler_that_shares_sessions_is_named_before_the_first_migration() {
    let (pooled, direct, _pgbouncer) = behind_pgbouncer("transaction");
    let outcome = pooled.run(&["migrate", "up"]);
    let line = outcome.failed(1);
    assert!(
        line.contains("PgBouncer") && line.contains("pool_mode = session"),
        "{line}"
    );
    let create = ["client", "create", "--create", "--name", "n", "--scope", "a"];
    let created = pooled.run(&create);
    assert!(created.failed(1).contains("pool_mode = session"), "{created:?}");
    let served = pooled.run(&["serve"]);
    assert_eq!(served.code, Some(1), "{served:?}");
    assert!(served.stderr.contains("pool_mode = session"), "{served:?}");
    let status = direct.run(&["migrate", "status"]);
    assert!(
        status.done().lines().all(|line| line.starts_with("pending ")),
        "{status:?}"
    );
}

#[test]
fn a_pooler_in_session_mode_works() {
    let (pooled, _, _pgbouncer) = behind_pgbouncer("session");
    pooled.run(&["migrate", "up"]).done();
    let mut server = pooled.serve(&[]);
    server.client("a", &[]);
    server.stop();
}
