//! Proxies in front of databases that simulate faults of networks and servers.

mod postgres;
mod redis;

pub use postgres::{Conduct, PostgresProxy};
pub use redis::RedisProxy;
