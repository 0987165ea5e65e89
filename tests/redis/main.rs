//! Several instances on one PostgreSQL, with a real Redis: what it speeds up, and that it affects
//! nothing else.
//!
//! A "cold" instance loads no clients before it is ready, so the first request of each is a miss.

#![allow(
    clippy::disallowed_methods,
    reason = "how long running programs take is measured with the real clock"
)]

mod announcements;
mod auth_failures;
mod clients;
mod faults;
mod site;
