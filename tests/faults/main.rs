//! Faults, made on purpose: each test checks a promise with records of its own, kept outside the process under test.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a running program takes is measured with the true clock"
)]

mod feed;
mod instances;
mod lost_commit;
mod outage;
mod pool;
mod records;
mod scene;
mod slow_clients;
mod sqlite;
mod start;
