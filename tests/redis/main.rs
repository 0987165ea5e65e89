//! Several instances on one PostgreSQL, with a true Redis: what it makes quicker, and that it can do nothing else.
//!
//! "Cold" are instances that load no clients before they are ready, so that each one is a miss.

#![allow(
    clippy::disallowed_methods,
    reason = "how long running programs take is measured with the true clock"
)]

mod announcements;
mod clients;
mod failures;
mod faults;
mod site;
