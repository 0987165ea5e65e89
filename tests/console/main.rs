//! `/console` in a real Chromium: what an operator does with it, and what it must never do.
//!
//! Chromium is Debian's package (`scripts/test` installs it). If it is missing, the tests fail;
//! they are not skipped. With `CONSOLE_SCREENSHOTS=FOLDER`, screenshots of the pages are written
//! there for visual review.

#![allow(
    clippy::disallowed_methods,
    reason = "timeouts of pages are measured with the real clock"
)]

mod browser;
mod page;

mod appearance;
mod duties;
mod files;
mod managing;
mod signing_in;
mod watching;

use std::time::Duration;

use testkit::Server;

/// The timeout of waits whose duration is not measured; the browser shares the machine with other
/// tests.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server with these variables in its environment. The limit of failed authentications is the
/// default.
fn start_with(environment: &[(&str, &str)]) -> Server {
    testkit::program!()
        .with_database()
        .without("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE")
        .with_all(environment)
        .serve(&[])
}

/// A server with the default configuration.
fn start() -> Server {
    start_with(&[])
}
