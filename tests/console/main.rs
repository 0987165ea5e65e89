//! `/console` in a true Chromium: what an operator does with it, and what it must never do.
//!
//! Chromium is Debian's package (`scripts/test` gets it). One that is missing is a failure, not a skip. With
//! `CONSOLE_SCREENSHOTS=FOLDER` the pages are written there as pictures, to be judged by eye.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a page takes is measured with the true clock"
)]

mod browser;
mod page;

mod files;
mod looks;
mod managing;
mod signing_in;
mod watching;

use std::time::Duration;

use testkit::Server;

/// How long anything may take here that is not measured; the browser shares the machine with other tests.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server with these variables in its environment. Failed authentications are limited as by default.
fn start_with(environment: &[(&str, &str)]) -> Server {
    testkit::program!()
        .with_database()
        .without("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE")
        .with_all(environment)
        .serve(&[])
}

/// A server with the defaults.
fn start() -> Server {
    start_with(&[])
}
