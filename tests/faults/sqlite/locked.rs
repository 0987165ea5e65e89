//! SQLite is locked by another process for a while: for writers, or for readers and writers.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::http::{Connection, Request, Response};
use testkit::load::{Load, received};
use testkit::token::{about_token, token_request};
use testkit::{Server, TestClient, eventually};

use super::site::{Lock, Operator, Site};
use super::strace::Tampering;

/// Which operations the lock blocks.
#[derive(Clone, Copy, PartialEq)]
enum Locked {
    /// In WAL mode, the holder of the write lock does not block readers.
    Writers,
    /// Every lock fails, as while another process recovers the database.
    ReadersAndWriters,
}

impl Locked {
    fn begin(self, site: &Site, server: &Server) -> Holder {
        match self {
            Self::Writers => Holder::Connection(site.lock()),
            Self::ReadersAndWriters => {
                // In WAL mode all locks are on this file.
                let locks = site.path("mintage.db-shm");
                Holder::Strace(Tampering::begin_on(site, server, "fcntl:error=EAGAIN", &locks))
            }
        }
    }
}

enum Holder {
    Connection(Lock),
    Strace(Tampering),
}

impl Holder {
    fn end(self) {
        match self {
            Self::Connection(lock) => drop(lock),
            Self::Strace(tampering) => tampering.end(),
        }
    }
}

/// The requests that are sent while the database is locked.
struct Locking<'a> {
    site: &'a Site,
    server: &'a Server,
    locked: Locked,
    operator: Operator<'a>,
    /// In the database and in no cache.
    uncached: TestClient,
    /// Cannot be revoked while the database is locked.
    token: String,
}

impl Locking<'_> {
    fn assert_unavailable_for(&self, length: Duration) {
        let unknown = TestClient {
            id: "unknown".into(),
            secret: "none".into(),
        };
        let began = Instant::now();
        let mut ready = true;
        while began.elapsed() < length {
            let revoke = about_token("/revoke", &self.site.client, &self.token);
            self.server.send(&revoke).assert_unavailable();
            let route = Request::post("/admin/routes").json(&json!({"path": "/x", "scope": "orders:read"}));
            self.operator.ask(route).assert_unavailable();
            self.assert_unavailable_or(&self.server.send(&token_request(&self.uncached, &[])), 200);
            self.assert_unavailable_or(&self.server.send(&token_request(&unknown, &[])), 401);
            assert_eq!(self.server.send(&Request::get("/livez")).status, 200);
            let readiness = self.server.send(&Request::get("/readyz"));
            if readiness.status == 503 {
                readiness.assert_unavailable();
                ready = false;
            }
            if self.locked == Locked::ReadersAndWriters {
                assert!(!ready || began.elapsed() < Duration::from_secs(5), "still ready");
                assert_eq!(readiness.status == 200, ready, "ready again while it is locked");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asserts 503 or, where the database can be read, `status`.
    #[track_caller]
    fn assert_unavailable_or(&self, answer: &Response, status: u16) {
        if self.locked == Locked::ReadersAndWriters || answer.status != status {
            answer.assert_unavailable();
        }
    }
}

fn locked_for(length: Duration, locked: Locked) {
    let site = Site::new(&[
        ("MINTAGE_DATABASE__QUERY_TIMEOUT", "500ms"),
        // Otherwise, the uncached client would be in the cache.
        ("MINTAGE_CACHE__WARM", "0"),
    ]);
    let uncached = site.new_client();
    let server = site.start();
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 4, Duration::from_millis(2));
    eventually(
        "the workers of all connections have cached the client",
        Duration::from_secs(10),
        || (load.serving() == 4).then_some(()),
    );
    let locking = Locking {
        site: &site,
        server: &server,
        locked,
        operator: site.operator(&server),
        uncached,
        token: site.token(&server),
    };
    let issued = load.issued();
    let holder = locked.begin(&site, &server);
    locking.assert_unavailable_for(length);
    assert!(load.issued() > issued + 100, "tokens are issued meanwhile");
    holder.end();

    let ended = Instant::now();
    eventually("ready again", Duration::from_secs(10), || {
        (server.send(&Request::get("/readyz")).status == 200).then_some(())
    });
    let receipts = load.stop();
    let left = Duration::from_secs(15).saturating_sub(ended.elapsed());
    locking.operator.wait_until_all_is_written(left);
    site.assert_all_recorded(&receipts);
    assert!(receipts.iter().all(|receipt| receipt.status == 200));
    assert!(received(&receipts).len() > 100);
    assert!(locking.operator.writer("flush_failures_total") > 0);
    eventually("the token can be revoked", Duration::from_secs(10), || {
        (site.revoke(&server, &locking.token).status == 200).then_some(())
    });
    site.assert_inactive(&server, &locking.token);
    assert_eq!(server.send(&token_request(&locking.uncached, &[])).status, 200);
    site.assert_intact();
}

const SHORT: Duration = Duration::from_millis(4500);
const LONG: Duration = Duration::from_secs(10);

#[test]
fn g7_sqlite_locked_for_writers_loses_no_token_of_a_cached_client() {
    locked_for(SHORT, Locked::Writers);
}

#[test]
fn g7_sqlite_locked_for_readers_and_writers_loses_no_token_of_a_cached_client() {
    // Longer than the server may take to become unready.
    locked_for(Duration::from_millis(5500), Locked::ReadersAndWriters);
}

#[test]
#[ignore = "takes half a minute: scripts/test --soak"]
fn soak_g7_sqlite_locked_for_ten_seconds_loses_no_token_of_a_cached_client() {
    locked_for(LONG, Locked::Writers);
    locked_for(LONG, Locked::ReadersAndWriters);
}

#[test]
fn a_full_queue_rejects_requests_counts_them_and_does_not_grow() {
    let site = Site::new(&[
        ("MINTAGE_WRITER__MAX_PENDING", "500"),
        ("MINTAGE_WRITER__MAX_BATCH", "100"),
        ("MINTAGE_DATABASE__QUERY_TIMEOUT", "500ms"),
    ]);
    let server = site.start();
    let operator = site.operator(&server);
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 4, Duration::from_millis(1));
    let mut connection = Connection::open(server.address);
    let request = site.token_request(&[]);
    connection.ask(&request).access_token();
    // Then every worker knows the client: none rejects it because it cannot look it up.
    eventually("every connection has served", Duration::from_secs(10), || {
        (load.serving() == 4).then_some(())
    });
    let lock = site.lock();
    let mut found_full = 0;
    eventually("the queue is full", Duration::from_secs(10), || {
        found_full = u64::from(connection.ask(&request).status == 503);
        (found_full > 0).then_some(())
    });
    let before = server.resident_memory_kib();
    for _ in 0..5000 {
        connection.ask(&request).assert_unavailable();
    }
    assert_eq!(operator.writer("pending"), 500);
    let grown = server.resident_memory_kib().saturating_sub(before);
    assert!(grown < 4096, "by {grown} KiB");
    let receipts = load.stop();
    drop(lock);
    operator.wait_until_all_is_written(Duration::from_secs(15));
    site.assert_all_recorded(&receipts);
    let rejected = receipts.iter().filter(|receipt| receipt.status == 503);
    assert!(rejected.clone().all(|receipt| receipt.retry_after));
    assert_eq!(
        operator.writer("rejected_total"),
        rejected.count() as u64 + found_full + 5000
    );
    assert_eq!(connection.ask(&request).status, 200);
}

/// A change fails then, and its event with it. A denied call has happened, so its event waits.
#[test]
fn an_audit_event_of_a_denied_call_waits_for_a_locked_database() {
    let site = Site::new(&[]);
    let server = site.start();
    let lock = site.lock();
    let garbage = Request::get("/admin/keys").bearer("garbage");
    assert_eq!(server.send(&garbage).status, 401);
    server.wait_for_log("audit events delayed");
    drop(lock);
    eventually("the event is written", Duration::from_secs(20), || {
        let lines = mintage::config::Database {
            url: format!("sqlite:{}", site.path("mintage.db").display()),
            ..Default::default()
        };
        let lines = mintage::db::Db::open(&lines).run_here(|conn| mintage::db::audit::since(conn, None, 10));
        lines.unwrap().into_iter().find(|line| line.action == "admin.denied")
    });
    assert_eq!(site.logs().matches("audit events delayed").count(), 1);
}
