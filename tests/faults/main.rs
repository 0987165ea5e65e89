//! Injected faults. Each test checks a guarantee against records that it keeps outside the process
//! under test.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a running program takes is measured with the real clock"
)]

mod connections;
mod feed;
mod instances;
mod lost_commit;
mod memory;
mod outage;
mod pool;
mod records;
mod scene;
mod slow_clients;
mod sqlite;
mod start;
