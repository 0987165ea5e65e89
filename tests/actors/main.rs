//! The actors, tested directly, without HTTP.
//!
//! Time is paused: it advances only when every task is idle, and then jumps to the next timer. So a
//! test that waits an hour takes no time, and the order of timers is the same in every run.

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

/// Another handle to the database, with its own connections.
fn open(sqlite: &Sqlite) -> Db {
    Db::open(&sqlite.settings())
}
