//! `/validate` as gateways use it: called directly, and by nginx and Caddy with the configurations
//! of `docs/gateways.md`.
//!
//! nginx and Caddy are Debian's packages (`scripts/test` gets them). A missing one is a failure,
//! not a skip: these tests are the evidence for the document.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a running program takes is measured with the real clock"
)]

mod administration;
mod client_ip;
mod gateway;
mod public;
mod through_caddy;
mod through_nginx;
mod upstream;
mod validate;

use std::time::Duration;

use testkit::Server;

/// The maximum time for anything that is not measured.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A server with the given environment variables. The limit of failed authentications is the
/// default.
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
