//! Tests of the HTTP API and the command line of a real server. Tests of the protocol begin with
//! the number of the rule in the specification (`p17_…`), tests of a guarantee with the number in
//! `docs/guarantees.md` (`g2_…`).
//!
//! `testkit::TestApp` starts a server in this process, `testkit::program!()` the real binary.

#![allow(
    clippy::disallowed_methods,
    reason = "tests that wait for a real server use real time"
)]

mod operator;

mod admin;
mod admin_audit;
mod admin_bodies;
mod admin_clients;
mod admin_credentials;
mod admin_declared;
mod admin_denials;
mod admin_instances;
mod admin_openapi;
mod admin_secrets;
mod admin_tokens;
mod audit_notes;
mod audit_verify;
mod authority;
mod bootstrap;
mod bounds;
mod cli;
mod client_auth;
mod client_labels;
mod command_line;
mod cors;
mod discovery;
mod emergencies;
mod environment;
mod feed;
mod fuzz;
mod health;
mod import;
mod import_keycloak;
mod import_update;
mod introspection;
mod introspection_by_token;
mod jwt;
mod key_trust;
mod keys;
mod life;
mod limits;
mod logs;
mod metadata;
mod metrics;
mod one_time;
mod prometheus;
mod raw_credentials;
mod records;
mod restore;
mod revocation;
mod start;
mod stats;
mod stop;
#[cfg(target_os = "linux")]
mod systemd;
mod token;
mod token_options;
mod weak_settings;
