//! Mintage: a machine-to-machine OAuth 2.0 token server.
//!
//! # Allowed dependencies
//! A module may use the modules listed behind it and no others. Names point only down the list.
//! `tests/repository/architecture.rs` reads this list and fails on every other dependency.
//!
//! ```text
//! main        → cli process
//! cli         → server logging systemd db api keys gateway config metrics oauth
//! server      → http admin actors clients records revocation cluster readiness peers systemd db keys gateway throttle metrics config oauth
//! http        → admin actors clients records revocation cluster readiness peers api keys gateway throttle metrics config oauth
//! admin       → actors revocation cluster db api keys gateway oauth
//! actors      → clients records revocation cluster peers db api keys gateway metrics config oauth
//! readiness   → cluster
//! clients     → cluster peers db oauth
//! records     → db config
//! revocation  → db oauth
//! cluster     → db api keys gateway oauth
//! peers       → throttle oauth
//! db          → api keys gateway metrics config oauth
//! logging     → config
//! systemd     →
//! process     →
//! api         → keys gateway oauth
//! keys        → oauth
//! gateway     → oauth
//! throttle    → oauth
//! metrics     → oauth
//! config      → oauth
//! oauth       →
//! unavailable →
//! snapshot    → mutex
//! breaker     →
//! aead        →
//! backoff     → random
//! clock       → time
//! encoding    →
//! mutex       →
//! random      →
//! time        →
//! ```
//! Every module may also use those from `unavailable` on, which depend only on what is listed
//! behind them.
//!
//! # The request flow of one warm `POST /token`
//! The handler in [`http`] (`token`) parses the form, looks the client up in the worker's
//! [`actors::client_cache`], verifies the secret ([`oauth::stored_secret`]), decides what to grant
//! ([`oauth::grant`]) and signs the token ([`keys`]). It puts the record into the worker's queue
//! ([`records::queue`]) for the [`actors::batch_writer`], and responds. The flow passes one
//! mailbox, on its own thread, and makes no database call.
//!
//! # Errors, by layer
//! - [`oauth::error::OAuthError`]: the error response of the protocol.
//! - [`db::DbError`]: a failed database operation.
//! - [`admin::OperationError`]: a failed operator action.
//! - [`unavailable::Unavailable`]: the answer cannot be obtained now.
//! - [`server::ServerError`]: the server cannot start or did not stop cleanly.
//! - [`cli::Failure`]: what a command reports to its user.

#![forbid(unsafe_code)]
// Here and not in Cargo.toml: lints there would also apply to tests and benchmarks, whose helpers
// may unwrap.
#![warn(clippy::unwrap_used, missing_docs)]

pub mod actors;
pub mod admin;
pub mod aead;
pub mod api;
pub mod backoff;
pub mod breaker;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod db;
pub mod encoding;
pub mod gateway;
pub mod http;
pub mod keys;
pub mod logging;
pub mod metrics;
pub mod mutex;
pub mod oauth;
pub mod peers;
pub mod process;
pub mod random;
pub mod readiness;
pub mod records;
pub mod revocation;
pub mod server;
pub mod snapshot;
pub mod systemd;
pub mod throttle;
pub mod time;
pub mod unavailable;
