#![forbid(unsafe_code)]
pub mod clock;
pub mod config;
pub mod keys;
pub mod oauth;
