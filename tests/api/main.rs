#![allow(
    clippy::disallowed_methods,
    reason = "a test that waits for a real server measures real time"
)]
//! The true server, asked over sockets: each promise of the protocol, named after its number.
//!
//! `app` starts a server in this process, `program` starts the real binary, `http` speaks to both byte by byte.

mod app;
mod http;
mod operator;
#[allow(dead_code, reason = "replicas are for another binary")]
#[path = "../postgres/mod.rs"]
mod postgres;
mod program;

mod admin;
mod admin_audit;
mod admin_clients;
mod admin_credentials;
mod admin_instances;
mod admin_openapi;
mod admin_secrets;
mod admin_tokens;
mod cli;
mod client_auth;
mod feed;
mod fuzz;
mod health;
mod introspection;
mod jwt;
mod keys;
mod life;
mod logs;
mod metadata;
mod metrics;
mod one_time;
mod ops;
mod records;
mod revocation;
mod stats;
mod stop;
#[cfg(target_os = "linux")]
mod systemd;
mod token;
