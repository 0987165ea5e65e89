//! The actors, driven directly, without HTTP.
//!
//! Time is paused: it moves only when everything has come to rest, and then at once to the next timer. So a test that
//! waits an hour takes no time, and what is due at the same moment is due in every run.

mod batch_writer;
mod change_feed;
mod client_cache;
mod key_rotator;

use mintage::db::{Db, migrations};
use testkit::sqlite::Sqlite;

/// A database with the schema.
fn migrated() -> Sqlite {
    let sqlite = Sqlite::empty();
    open(&sqlite).run_here(migrations::up).unwrap();
    sqlite
}

/// Another handle to a database, with connections of its own.
fn open(sqlite: &Sqlite) -> Db {
    Db::open(&sqlite.settings())
}
