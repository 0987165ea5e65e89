//! The configuration: one struct a section, every key with its default, unknown keys refused.
//!
//! It is put together in `load` (flag over environment over file over default), read by serde, and judged in
//! `validate`, so that what leaves this room can be relied on.

mod load;
mod proxies;
mod sections;
mod units;
mod validate;

pub use load::{ConfigError, Sources};
pub use proxies::TrustedProxies;
pub use sections::{
    Breaker, Cache, Config, Database, Durability, Janitor, Keys, Limits, Log, LogFormat, Pool, Redis, Server, Token,
    Writer, WriterMode,
};
pub use units::{ByteSize, Duration, SecretValue};
