//! The state shared by all instances of one database: the position in the change log, keys and
//! routes.

pub mod cursor;
pub mod feed_lag;
pub mod freshness;
pub mod keys;
pub mod routes;
