//! Mintage: a machine-to-machine OAuth 2.0 token server.
//!
//! # Allowed dependencies
//! A module may use what is listed behind it and nothing else, and a name only ever points down the list.
//! `tests/architecture.rs` reads this list and fails on whatever it does not allow.
//!
//! ```text
//! main        → cli
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
//! api         → keys gateway oauth
//! keys        → oauth
//! gateway     → oauth
//! throttle    → oauth
//! metrics     → oauth
//! config      → oauth
//! oauth       →
//! unavailable →
//! snapshot    →
//! breaker     →
//! aead        →
//! backoff     → random
//! clock       → time
//! encoding    →
//! random      →
//! time        →
//! ```
//! Every module may use those from `unavailable` on, which know nothing of ours but what stands behind them.
//!
//! # The request flow of one warm `POST /token`
//! [`http`] (`token`) reads the form, asks the worker's [`actors::client_cache`] who the client is, compares the
//! secret ([`oauth::stored_secret`]), decides what it gets ([`oauth::grant`]), signs it ([`keys`]), leaves the record in
//! the worker's queue ([`records::queue`]) of the [`actors::batch_writer`], and answers. One mailbox, on its own thread; no
//! database call.
//!
//! # Errors, by layer
//! [`oauth::error::OAuthError`] is what the protocol says, [`db::DbError`] what the database did,
//! [`unavailable::Unavailable`] that an answer cannot be had now, [`server::ServerError`] that the server cannot run,
//! [`cli::Failure`] what a command tells its user.

#![forbid(unsafe_code)]
// Here and not in Cargo.toml, whose lints hold for tests and benchmarks as well: helpers of theirs may unwrap.
#![warn(clippy::unwrap_used, missing_docs)]

pub mod actors;
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
pub mod oauth;
pub mod peers;
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
