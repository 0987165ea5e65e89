//! Fills tables by SQL with more rows than requests could create in reasonable time.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::secret_hash::SecretHash;
use testkit::TestClient;

const HOUR: i64 = 3600;

/// Rows per statement, and per transaction.
const STATEMENT: u64 = 1000;
const TRANSACTION: u64 = 100_000;

/// Client number `number`.
pub fn client(number: u64) -> TestClient {
    TestClient {
        id: format!("client{number:07}"),
        secret: format!("secret{number:07}OfAClientOfTheBenchmark"),
    }
}

/// Creates `count` clients with one secret each.
pub fn clients(url: &str, count: u64) {
    let fields = "'bench', TRUE, 'orders:read orders:write', NULL, '', '', 'client_secret_basic client_secret_post', NULL, NULL, 0, 0";
    Database::open(url).insert(count, |numbers| {
        let (mut clients, mut secrets) = (Vec::new(), Vec::new());
        for TestClient { id, secret } in numbers.map(client) {
            let hash = SecretHash::of(&ClientSecret::new(secret)).to_stored();
            clients.push(format!("('{id}', {fields})"));
            secrets.push(format!("('secret_of_{id}', '{id}', '{hash}', 0)"));
        }
        let (clients, secrets) = (clients.join(","), secrets.join(","));
        format!(
            "INSERT INTO clients (client_id, name, enabled, scope, default_scope, audiences, serves, auth_methods, \
             ttl_seconds, alg, created_at_ms, updated_at_ms) VALUES {clients}; \
             INSERT INTO secrets (secret_id, client_id, hash, created_at_ms) VALUES {secrets};"
        )
    });
}

/// Records `count` tokens that were issued just now, with a lifetime of two hours.
pub fn tokens(url: &str, count: u64) {
    token_rows(url, count, 0, 2 * HOUR);
}

/// Records `count` tokens that expired long enough ago to be removed.
pub fn expired_tokens(url: &str, count: u64) {
    token_rows(url, count, 72 * HOUR, 24 * HOUR);
}

/// Records tokens that were issued `age` seconds ago, with a lifetime of `lifetime` seconds.
fn token_rows(url: &str, count: u64, age: i64, lifetime: i64) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is set")
        .as_secs() as i64;
    let issued = now - age;
    Database::open(url).insert(count, |numbers| {
        let rows = numbers.map(|number| {
            // In the order of issue, none newer than now.
            let millis = issued * 1000 - ((count - number) / 1000) as i64 - 1000;
            let jti = format!("{:08x}-{:04x}-7000-8000-{number:012x}", millis >> 16, millis & 0xffff);
            let TestClient { id, .. } = client(number % 1000);
            format!(
                "('{jti}', '{id}', 'orders:read', 'http://127.0.0.1:8080', {issued}, {}, FALSE)",
                issued + lifetime
            )
        });
        let rows = rows.collect::<Vec<_>>().join(",");
        format!("INSERT INTO tokens (jti, client_id, scope, audience, issued_at, expires_at, one_time) VALUES {rows};")
    });
}

enum Database {
    Sqlite(SqliteConnection, String),
    Postgres(PgConnection),
}

impl Database {
    /// Opens the database without waiting for the disk: after a crash, it is filled again.
    fn open(url: &str) -> Self {
        let mut database = match url.strip_prefix("sqlite:") {
            Some(path) => Self::Sqlite(
                SqliteConnection::establish(path).expect("the database opens"),
                path.to_owned(),
            ),
            None => Self::Postgres(PgConnection::establish(url).expect("the database answers")),
        };
        database.execute(match database {
            Self::Sqlite(..) => "PRAGMA synchronous = OFF; PRAGMA cache_size = -200000",
            Self::Postgres(_) => "SET synchronous_commit = off",
        });
        database
    }

    /// Runs a statement for each part of `0..count`, several per transaction.
    fn insert(&mut self, count: u64, statement: impl Fn(Range<u64>) -> String) {
        eprintln!("filling: {count} rows");
        for start in (0..count).step_by(TRANSACTION as usize) {
            let end = (start + TRANSACTION).min(count);
            self.execute("BEGIN");
            for at in (start..end).step_by(STATEMENT as usize) {
                self.execute(&statement(at..(at + STATEMENT).min(end)));
            }
            self.execute("COMMIT");
        }
        self.settle();
    }

    /// Does now what would happen in the background later: writes rows to the disk and analyzes the
    /// table. Otherwise, the first measured commits would wait for it.
    fn settle(&mut self) {
        if let Self::Sqlite(_, path) = self {
            let file = std::fs::File::open(path).expect("the database is a file");
            self.execute("PRAGMA wal_checkpoint(TRUNCATE)");
            return file.sync_all().expect("the disk accepts the data");
        }
        self.execute("VACUUM ANALYZE");
        self.execute("CHECKPOINT");
    }

    fn execute(&mut self, statement: &str) {
        let done = match self {
            Self::Sqlite(conn, _) => conn.batch_execute(statement),
            Self::Postgres(conn) => conn.batch_execute(statement),
        };
        done.expect("the statement is well-formed");
    }
}
