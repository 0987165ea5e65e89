#![forbid(unsafe_code)]
#![warn(missing_docs)]
//! Mintage: a machine-to-machine OAuth 2.0 token server.
//!
//! # The map
//! Arrows run down only; `tests/architecture.rs` fails on one that runs up.
//!
//! ```text
//! main → cli → { app, startup, logging, shutdown, systemd, db, keys }
//! app → { http, actors, startup, siblings, db, keys, shutdown, systemd, listener, breaker }
//! startup → { actors, siblings, db, keys, oauth }
//! http → { actors, siblings, keys, oauth }        (http/admin and http/health also: db)
//! actors → { siblings, db, keys, oauth }
//! siblings → { breaker, oauth }
//! db → { breaker, keys, oauth }
//! keys → oauth
//! oauth → nothing
//! ```
//! `config`, `clock` and `metrics` are leaves that anybody may use.
//!
//! # The walk of one warm `POST /token`
//! [`http`] (`token`) reads the form, asks the worker's [`actors::client_cache`] who the client is, compares the
//! secret ([`oauth::stored_secret`]), decides what it gets ([`oauth::grant`]), signs it ([`keys`]), leaves the record in the
//! worker's lane of the [`actors::batch_writer`], and answers. One mailbox, on its own thread; no database call.
//!
//! # Errors, by layer
//! [`oauth::error::OAuthError`] is what the protocol says, [`db::DbError`] what the database did,
//! [`unavailable::Unavailable`] that an answer cannot be had now, [`app::AppError`] that the server cannot run,
//! [`cli::Failure`] what a command tells its user.

pub mod actors;
pub mod aead;
pub mod api;
pub mod app;
pub mod backoff;
pub mod breaker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod encoding;
pub mod gateway;
pub mod http;
pub mod keys;
mod listener;
pub mod logging;
pub mod metrics;
pub mod oauth;
pub mod random;
pub mod shutdown;
pub mod siblings;
pub mod snapshot;
mod startup;
pub mod systemd;
pub mod time;
pub mod unavailable;
