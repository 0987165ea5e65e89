//! `/console` in a true Chromium: what an operator does with it, and what it must never do.
//!
//! Chromium is Debian's package (`scripts/test` gets it). One that is missing is a failure, not a skip. With
//! `CONSOLE_SCREENSHOTS=FOLDER` the pages are written there as pictures, to be judged by eye.

#![allow(
    clippy::disallowed_methods,
    reason = "how long a page takes is measured with the true clock"
)]

mod browser;
#[allow(dead_code, reason = "what only gateways ask is for another binary")]
#[path = "../gateways/http.rs"]
mod http;
mod page;
#[allow(dead_code, reason = "what only gateways ask is for another binary")]
#[path = "../gateways/server.rs"]
mod server;

mod files;
mod looks;
mod managing;
mod signing_in;
mod watching;
