//! Fills tables with more rows than requests could make in reasonable time: by SQL of its own, written by hand.

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};
use mintage::clock::Clock;
use mintage::config::Database;
use mintage::db::{Backend, Db, migrations};
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::secret_hash::SecretHash;
use mintage::time::UnixMillis;

/// A database with a schema, without rows.
pub fn migrate(url: &str) {
    let db = Db::open(&Database {
        url: url.to_owned(),
        ..Database::default()
    });
    db.run_here(migrations::up).expect("the schema is made");
}

/// The id and the secret of client number `number`.
pub fn credentials(number: u64) -> (String, String) {
    (
        format!("client{number:07}"),
        format!("secret{number:07}OfAClientOfTheBenchmark"),
    )
}

/// Makes `count` clients, as many rows in `clients` as in `secrets`.
pub fn clients(url: &str, count: u64) {
    eprintln!("filling: {count} clients");
    let mut database = Connected::to(url);
    let fields = "'bench', TRUE, 'orders:read orders:write', NULL, '', '', 'client_secret_basic client_secret_post', NULL, NULL, 0, 0";
    database.in_pieces(count, 500, |numbers| {
        let (mut clients, mut secrets) = (Vec::new(), Vec::new());
        for number in numbers {
            let (id, secret) = credentials(number);
            let hash = SecretHash::of(&ClientSecret::new(secret)).to_stored();
            clients.push(format!("('{id}', {fields})"));
            secrets.push(format!("('secret_of_{id}', '{id}', '{hash}', 0, NULL, NULL)"));
        }
        format!(
            "INSERT INTO clients VALUES {}; INSERT INTO secrets VALUES {};",
            clients.join(","),
            secrets.join(",")
        )
    });
    database.settle(url);
}

/// Takes `count` tokens back that have not expired.
pub fn revocations(url: &str, count: u64) {
    eprintln!("filling: {count} revocations");
    let now = Clock::System.now();
    let mut database = Connected::to(url);
    database.in_pieces(count, 1000, |numbers| {
        let rows: Vec<String> = numbers
            .map(|number| format!("('{}', {}, {})", token_id(now, number), now.seconds() + MONTH, now.0))
            .collect();
        format!("INSERT INTO revocations VALUES {};", rows.join(","))
    });
    database.settle(url);
}

/// Records `count` tokens, issued within the last hours and not expired.
pub fn tokens(url: &str, count: u64) {
    token_rows(url, count, 0, MONTH);
}

/// Records of tokens that were issued and ended long enough ago to be removed.
pub fn expired_tokens(url: &str, count: u64) {
    const DAY: i64 = 24 * 3600;
    token_rows(url, count, 3 * DAY, DAY);
}

/// Records of tokens that were issued `ago` and lived for `ttl`, in seconds.
fn token_rows(url: &str, count: u64, ago: i64, ttl: i64) {
    eprintln!("filling: {count} token records");
    let now = Clock::System.now();
    let mut database = Connected::to(url);
    database.in_pieces(count, 1000, |numbers| {
        let rows: Vec<String> = numbers
            .map(|number| {
                // In the order in which they would have come: the newest last, and none newer than now.
                let issued = UnixMillis(now.0 - ago * 1000 - ((count - number) / 1000) as i64 - 1000);
                let (id, _) = credentials(number % 1000);
                format!(
                    "('{}', '{id}', 'orders:read', 'http://127.0.0.1:8080', {}, {}, FALSE)",
                    token_id(issued, number),
                    now.seconds() - ago,
                    now.seconds() - ago + ttl
                )
            })
            .collect();
        format!("INSERT INTO tokens VALUES {};", rows.join(","))
    });
    database.settle(url);
}

/// Far enough for no row to expire while it is measured.
const MONTH: i64 = 30 * 24 * 3600;

/// Well-formed, unlike any other, and in the order of time and number.
fn token_id(issued: UnixMillis, number: u64) -> String {
    let millis = issued.0;
    format!(
        "{:08x}-{:04x}-7000-8000-{:012x}",
        millis >> 16,
        millis & 0xffff,
        number & 0xffff_ffff_ffff
    )
}

fn sqlite_path(url: &str) -> &str {
    url.trim_start_matches("sqlite:")
}

enum Connected {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Connected {
    fn to(url: &str) -> Self {
        match Backend::of_url(url) {
            Backend::Sqlite => {
                let mut conn = SqliteConnection::establish(sqlite_path(url)).expect("the database opens");
                // What is lost in a crash is filled again.
                conn.batch_execute("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000")
                    .expect("settings that SQLite knows");
                Self::Sqlite(conn)
            }
            Backend::Postgres => {
                let mut conn = PgConnection::establish(url).expect("the database answers");
                conn.batch_execute("SET synchronous_commit = off")
                    .expect("a setting that PostgreSQL knows");
                Self::Postgres(conn)
            }
        }
    }

    /// Runs a statement for each piece of `0..count`, many in a transaction.
    fn in_pieces(&mut self, count: u64, size: u64, statement: impl Fn(std::ops::Range<u64>) -> String) {
        const TRANSACTION: u64 = 100_000;
        let mut at = 0;
        while at < count {
            let end = (at + TRANSACTION).min(count);
            self.execute("BEGIN");
            while at < end {
                let next = (at + size).min(end);
                self.execute(&statement(at..next));
                at = next;
            }
            self.execute("COMMIT");
            if at % (10 * TRANSACTION) == 0 {
                eprintln!("filling: {at} of {count}");
            }
        }
    }

    /// What comes by itself after a while: the rows are on the disk, and PostgreSQL plans for a table of this size. Or
    /// the first commits that are measured would wait for it.
    fn settle(&mut self, url: &str) {
        match self {
            Self::Sqlite(_) => {
                self.execute("PRAGMA wal_checkpoint(TRUNCATE)");
                let file = std::fs::File::open(sqlite_path(url)).expect("the database is a file");
                file.sync_all().expect("the disk takes it");
            }
            Self::Postgres(_) => {
                self.execute("VACUUM ANALYZE");
                self.execute("CHECKPOINT");
            }
        }
    }

    fn execute(&mut self, statement: &str) {
        let done = match self {
            Self::Sqlite(conn) => conn.batch_execute(statement),
            Self::Postgres(conn) => conn.batch_execute(statement),
        };
        done.expect("the rows are well-formed");
    }
}
