//! Proxies in front of databases, which do to connections what bad networks and failing servers do.

mod postgres;
mod redis;

pub use postgres::{Conduct, PostgresProxy};
pub use redis::RedisProxy;
