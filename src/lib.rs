#![forbid(unsafe_code)]
pub mod actors;
pub mod app;
pub mod breaker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod http;
pub mod keys;
pub mod logging;
pub mod oauth;
pub mod shutdown;
mod startup;
