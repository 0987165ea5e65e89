//! SQLite is locked by somebody else for a while: for those who write, as another process does it, or for everybody.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::http::{Connection, Request, Response};
use testkit::load::{Load, received};
use testkit::token::{about_token, token_request};
use testkit::{Server, TestClient, eventually};

use super::site::{Lock, Operator, Site};
use super::strace::Tampering;

/// Who finds it locked.
#[derive(Clone, Copy, PartialEq)]
enum Locked {
    /// In WAL mode, whoever holds the lock does not keep others from reading.
    Writers,
    /// Every lock is refused, as while another process recovers the database.
    Everybody,
}

impl Locked {
    fn begin(self, site: &Site, server: &Server) -> Holder {
        match self {
            Self::Writers => Holder::Connection(site.lock()),
            Self::Everybody => {
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

/// Those who ask while it is locked.
struct Locking<'a> {
    site: &'a Site,
    server: &'a Server,
    locked: Locked,
    operator: Operator<'a>,
    /// In the database and in no cache.
    stranger: TestClient,
    /// To be taken back, which is not possible.
    token: String,
}

impl Locking<'_> {
    fn ask_in_vain(&self, length: Duration) {
        let unknown = TestClient {
            id: "nobody".into(),
            secret: "none".into(),
        };
        let began = Instant::now();
        let mut ready = true;
        while began.elapsed() < length {
            let revoke = about_token("/revoke", &self.site.client, &self.token);
            self.server.send(&revoke).assert_unavailable();
            let route = Request::post("/admin/routes").json(&json!({"path": "/x", "scope": "orders:read"}));
            self.operator.ask(route).assert_unavailable();
            self.assert_not_refused(&self.server.send(&token_request(&self.stranger, &[])), 200);
            self.assert_not_refused(&self.server.send(&token_request(&unknown, &[])), 401);
            assert_eq!(self.server.send(&Request::get("/livez")).status, 200);
            let readiness = self.server.send(&Request::get("/readyz"));
            if readiness.status == 503 {
                readiness.assert_unavailable();
                ready = false;
            }
            if self.locked == Locked::Everybody {
                assert!(!ready || began.elapsed() < Duration::from_secs(5), "still ready");
                assert_eq!(readiness.status == 200, ready, "ready again while it is locked");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// That it is a 503; or, where the database can be read, what it says.
    #[track_caller]
    fn assert_not_refused(&self, answer: &Response, truth: u16) {
        if self.locked == Locked::Everybody || answer.status != truth {
            answer.assert_unavailable();
        }
    }
}

fn locked_for(length: Duration, locked: Locked) {
    let site = Site::new(&[
        ("MINTAGE_DATABASE__QUERY_TIMEOUT", "500ms"),
        // Or the stranger would be in the cache.
        ("MINTAGE_CACHE__WARM", "0"),
    ]);
    let stranger = site.new_client();
    let server = site.start();
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 4, Duration::from_millis(2));
    eventually("both workers know the client", Duration::from_secs(10), || {
        (load.issued() > 50).then_some(())
    });
    let locking = Locking {
        site: &site,
        server: &server,
        locked,
        operator: site.operator(&server),
        stranger,
        token: site.token(&server),
    };
    let issued = load.issued();
    let holder = locked.begin(&site, &server);
    locking.ask_in_vain(length);
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
    assert_eq!(server.send(&token_request(&locking.stranger, &[])).status, 200);
    site.assert_intact();
}

const SHORT: Duration = Duration::from_millis(4500);
const LONG: Duration = Duration::from_secs(10);

#[test]
fn g7_sqlite_locked_for_writers() {
    locked_for(SHORT, Locked::Writers);
}

#[test]
fn g7_sqlite_locked_for_everybody() {
    // Longer than it may take until the server is not ready.
    locked_for(Duration::from_millis(5500), Locked::Everybody);
}

#[test]
#[ignore = "takes half a minute: scripts/test --soak"]
fn soak_g7_sqlite_locked_for_ten_seconds() {
    locked_for(LONG, Locked::Writers);
    locked_for(LONG, Locked::Everybody);
}

/// Resident memory of a server, in KiB.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_full_queue_refuses_counts_and_does_not_grow() {
    let site = Site::new(&[
        ("MINTAGE_WRITER__MAX_PENDING", "500"),
        ("MINTAGE_WRITER__MAX_BATCH", "100"),
        ("MINTAGE_DATABASE__QUERY_TIMEOUT", "500ms"),
    ]);
    let server = site.start();
    let operator = site.operator(&server);
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 4, Duration::from_millis(1));
    eventually("tokens are issued", Duration::from_secs(10), || {
        (load.issued() > 20).then_some(())
    });
    let lock = site.lock();
    let mut connection = Connection::open(server.address);
    let request = site.token_request(&[]);
    let mut found_full = 0;
    eventually("the queue is full", Duration::from_secs(10), || {
        found_full = u64::from(connection.ask(&request).status == 503);
        (found_full > 0).then_some(())
    });
    let before = memory(&server);
    for _ in 0..5000 {
        connection.ask(&request).assert_unavailable();
    }
    assert_eq!(operator.writer("pending"), 500);
    let grown = memory(&server).saturating_sub(before);
    assert!(grown < 4096, "by {grown} KiB");
    let receipts = load.stop();
    drop(lock);
    operator.wait_until_all_is_written(Duration::from_secs(15));
    site.assert_all_recorded(&receipts);
    let refused = receipts.iter().filter(|receipt| receipt.status == 503);
    assert!(refused.clone().all(|receipt| receipt.retry_after));
    assert_eq!(
        operator.writer("rejected_total"),
        refused.count() as u64 + found_full + 5000
    );
    assert_eq!(connection.ask(&request).status, 200);
}
