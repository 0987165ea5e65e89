//! Isolated SQLite databases, empty or migrated and with signing keys.

use std::path::Path;
use std::sync::OnceLock;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use mintage::clock::Clock;
use mintage::config;
use mintage::db::{self, Db, migrations};
use mintage::keys::SigningKey;
use mintage::time::UnixMillis;

use crate::folder;

/// A database in a new folder, removed when it is dropped.
pub struct Sqlite {
    folder: tempfile::TempDir,
}

impl Sqlite {
    /// A database whose file does not exist yet.
    pub fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().expect("the temporary folder can be written"),
        }
    }

    /// The settings to connect to it.
    pub fn settings(&self) -> config::Database {
        let mut settings = config::Database {
            url: format!("sqlite:{}", self.folder.path().join("mintage.db").display()),
            ..Default::default()
        };
        (settings.pool.max_size, settings.pool.min_idle) = (4, 1);
        settings
    }
}

/// The database that most tests start with, created once: migrated, with a key for each algorithm.
pub fn template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = folder::temporary();
        let (working, finished) = (folder.path().join("working.db"), folder.path().join("finished.db"));
        let mut database = config::Database {
            url: format!("sqlite:{}", working.display()),
            query_timeout: config::Duration::seconds(10),
            ..Default::default()
        };
        (database.pool.max_size, database.pool.min_idle) = (1, 0);
        Db::open(&database)
            .run_here(|conn| {
                migrations::up(conn)?;
                // An hour old, so that the keys are active but not due for rotation.
                let created_at = UnixMillis(Clock::System.now().0 - 3_600_000);
                db::signing_keys::complete(conn, created_at, None, |alg| {
                    Ok(SigningKey::generate(alg, created_at, None).unwrap())
                })?;
                // A single file without a WAL.
                Ok(diesel::sql_query(format!("VACUUM INTO '{}'", finished.display())).execute(conn)?)
            })
            .unwrap();
        std::fs::read(finished).unwrap()
    })
}

/// A separate connection.
pub fn connect(database: &Path) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    conn
}

diesel::table! {
    tokens (jti) {
        jti -> Text,
        client_id -> Text,
        scope -> Text,
        audience -> Text,
        issued_at -> BigInt,
        expires_at -> BigInt,
        one_time -> Bool,
        secret_id -> Nullable<Text>,
        client_ip -> Nullable<Text>,
    }
}

/// A token record, read without the code under test.
#[derive(Debug, PartialEq, Queryable)]
pub struct TokenRow {
    pub jti: String,
    pub client_id: String,
    pub scope: String,
    pub audience: String,
    pub issued_at: i64,
    pub expires_at: i64,
    pub one_time: bool,
    pub secret_id: Option<String>,
    pub client_ip: Option<String>,
}

/// The token records of a client, oldest first.
pub fn recorded(database: &Path, client_id: &str) -> Vec<TokenRow> {
    tokens::table
        .filter(tokens::client_id.eq(client_id))
        .order(tokens::jti)
        .load(&mut connect(database))
        .unwrap()
}

diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        private_key -> Binary,
    }
}

/// Every signing key as it is stored: its kid and its bytes.
pub fn private_keys(database: &Path) -> Vec<(String, Vec<u8>)> {
    let columns = (signing_keys::kid, signing_keys::private_key);
    signing_keys::table
        .select(columns)
        .load(&mut connect(database))
        .unwrap()
}
