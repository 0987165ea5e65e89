//! What the instances on one database agree on: how far the change log has been read, keys and routes.

pub mod cursor;
pub mod feed_lag;
pub mod freshness;
pub mod keys;
pub mod routes;
