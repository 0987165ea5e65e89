//! The actors, tested directly, without HTTP.
//!
//! Time is paused: it advances only when every task is idle, and then jumps to the next timer. So a
//! test that waits an hour takes no time, and the order of timers is the same in every run.

#[path = "actors/batch_writer.rs"]
mod batch_writer;
#[path = "actors/change_feed.rs"]
mod change_feed;
#[path = "actors/client_cache.rs"]
mod client_cache;
#[path = "actors/key_rotator.rs"]
mod key_rotator;
mod sample;
mod sqlite;

use std::time::Duration;

use mintage::clock::Clock;
use mintage::db::{Db, migrations};
use sqlite::Sqlite;
use tokio::time::Instant;

/// The time of one test, which advances only on request.
#[derive(Clone)]
struct Time {
    clock: Clock,
}

impl Time {
    /// Pauses the time of this test's runtime.
    fn paused() -> Self {
        tokio::time::pause();
        Self {
            clock: Clock::mock(sample::NOW),
        }
    }

    /// Advances the clock and the timers together; everything that becomes due runs in order.
    async fn passes(&self, millis: u64) {
        let began = Instant::now();
        for passed in 1..=millis {
            self.clock.advance(1);
            tokio::time::sleep_until(began + Duration::from_millis(passed)).await;
        }
    }
}

/// Whether about `millis` have passed; tokio rounds each timer up to a whole millisecond.
fn about(elapsed: Duration, millis: u64) -> bool {
    elapsed.abs_diff(Duration::from_millis(millis)) <= Duration::from_millis(2)
}

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
