//! Proxies in front of databases that simulate faults of networks and servers, and a server that
//! pretends to be one.

mod impostor;
mod postgres;
mod redis;

pub use impostor::{Demand, ImpostorPostgres, Received};
pub use postgres::{Conduct, PostgresProxy};
pub use redis::RedisProxy;
