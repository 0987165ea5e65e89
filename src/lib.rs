#![forbid(unsafe_code)]
pub mod actors;
pub mod breaker;
pub mod clock;
pub mod config;
pub mod db;
pub mod keys;
pub mod oauth;
