//! Read replicas: which database a read uses. The primary and its streaming replica are real.

use std::net::TcpListener;
use std::time::Duration;

use diesel::{Connection, PgConnection, RunQueryDsl};
use mintage::config;
use mintage::db::{Conn, Db, DbError, changes, clients, migrations};
use mintage::time::UnixMillis;
use testkit::poll::until;
use testkit::replica::{Pair, pair};
use testkit::sample::{NOW, client, id};

/// A primary with a schema and the client `billing`, and a replica that has both.
struct Replicated {
    pair: Pair,
    db: Db,
    runtime: tokio::runtime::Runtime,
}

impl Replicated {
    fn new() -> Self {
        let pair = pair();
        let mut settings = pair.settings();
        settings.query_timeout = config::Duration::seconds(20);
        let replicated = Self {
            db: Db::open(&settings),
            pair,
            runtime: runtime(),
        };
        let db = &replicated.db;
        db.run_here(migrations::up).unwrap();
        db.run_here(|conn| clients::insert(conn, &client("billing"))).unwrap();
        replicated.record_last_change();
        replicated.wait_until_replicated();
        replicated
    }

    /// The name of the client, as read by a worker.
    fn name(&self) -> String {
        name(&self.runtime, &self.db).unwrap()
    }

    fn rename(&self, name: &str) {
        let mut renamed = client("billing");
        (renamed.name, renamed.updated_at) = (name.to_owned(), UnixMillis(NOW.0 + 1));
        self.db.run_here(|conn| clients::replace(conn, &renamed)).unwrap();
    }

    /// As the change feed does.
    fn record_last_change(&self) {
        self.db.knows_change(self.db.run_here(changes::last).unwrap());
    }

    fn wait_until_replicated(&self) {
        until("the replica has caught up", Duration::from_secs(30), || {
            let before = reads(&self.db);
            name(&self.runtime, &self.db).is_ok() && reads(&self.db).0 > before.0
        });
    }

    fn on_replica(&self, statement: &str) {
        let url = &self.pair.settings().replica_urls[0];
        let mut replica = PgConnection::establish(url).unwrap();
        diesel::sql_query(statement).execute(&mut replica).unwrap();
    }

    /// The same primary, with another replica.
    fn with_replica(&self, url: String, connection_timeout: config::Duration) -> Db {
        let mut settings = self.pair.settings();
        settings.replica_urls = vec![url];
        settings.query_timeout = config::Duration::seconds(4);
        settings.pool.connection_timeout = connection_timeout;
        settings.breaker.window = 4;
        Db::open(&settings)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().build().unwrap()
}

fn name(runtime: &tokio::runtime::Runtime, db: &Db) -> Result<String, DbError> {
    let read = db.read(|conn: &mut Conn| clients::find(conn, &id("billing")));
    runtime
        .block_on(read)
        .map(|client| client.map_or_else(String::new, |client| client.name))
}

/// The number of reads that a replica answered, and that fell back to the primary.
fn reads(db: &Db) -> (u64, u64) {
    let stats = serde_json::to_value(db.stats()).unwrap();
    let count = |name: &str| stats[name].as_u64().unwrap();
    (count("replica_reads_total"), count("replica_fallbacks_total"))
}

#[test]
fn a_client_is_read_from_the_replica() {
    let replicated = Replicated::new();
    let (answered, fallbacks) = reads(&replicated.db);
    assert_eq!(replicated.name(), "the client billing");
    assert_eq!(reads(&replicated.db), (answered + 1, fallbacks));
}

#[test]
fn a_replica_behind_the_change_log_is_skipped() {
    let replicated = Replicated::new();
    replicated.on_replica("SELECT pg_wal_replay_pause()");
    replicated.rename("new");
    assert_eq!(
        replicated.name(),
        "the client billing",
        "no change is known on this instance"
    );
    replicated.record_last_change();
    let (answered, fallbacks) = reads(&replicated.db);
    assert_eq!(replicated.name(), "new");
    assert_eq!(reads(&replicated.db), (answered, fallbacks + 1));
    replicated.on_replica("SELECT pg_wal_replay_resume()");
    replicated.wait_until_replicated();
    assert_eq!(replicated.name(), "new");
}

#[test]
fn an_instance_reads_its_own_writes() {
    let replicated = Replicated::new();
    replicated.on_replica("SELECT pg_wal_replay_pause()");
    replicated.rename("new");
    replicated.runtime.block_on(replicated.db.catch_up()).unwrap();
    assert_eq!(replicated.name(), "new");
}

#[test]
fn a_replica_that_is_gone_is_no_outage_and_is_soon_skipped() {
    let replicated = Replicated::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let db = replicated.with_replica(
        format!("postgres://postgres@{closed}/postgres"),
        config::Duration::millis(300),
    );
    for _ in 0..6 {
        assert_eq!(name(&replicated.runtime, &db).unwrap(), "the client billing");
    }
    let (answered, fallbacks) = reads(&db);
    assert_eq!(answered, 0);
    assert!((1..6).contains(&fallbacks), "its breaker opens: {fallbacks}");
}

#[test]
fn a_hanging_replica_leaves_the_primary_enough_time() {
    let replicated = Replicated::new();
    // The kernel accepts connections, and nothing answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let db = replicated.with_replica(
        format!("postgres://postgres@{address}/postgres"),
        config::Duration::seconds(5),
    );
    assert_eq!(name(&replicated.runtime, &db).unwrap(), "the client billing");
    assert_eq!(reads(&db), (0, 1));
}
