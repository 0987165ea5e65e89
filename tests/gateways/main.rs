//! `/validate` as gateways use it: asked by hand, and by nginx and Caddy with the configurations of `docs/gateways.md`.
//!
//! nginx and Caddy are Debian's packages (`scripts/test` gets them). One that is missing is a failure, not a skip: these
//! tests are the reason to believe the document.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a running program takes is measured with the true clock"
)]

mod administration;
mod gateway;
mod http;
#[allow(dead_code, reason = "what only a browser needs is for another binary")]
mod server;
mod through_caddy;
mod through_nginx;
mod upstream;
mod validate;
