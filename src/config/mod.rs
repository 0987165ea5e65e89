//! The configuration: one struct per section, a default for every key, unknown keys rejected.
//!
//! `load` merges the sources (flag over environment over file over default), serde parses them, and
//! `validate` checks them. Other modules can therefore rely on every value.

mod bootstrap;
mod cors_origins;
mod database_url;
mod error;
mod kinds;
mod load;
mod locality;
mod origins;
mod permissions;
mod proxies;
mod sections;
mod shown;
mod units;
mod validate;
mod weakness;

pub use bootstrap::Bootstrap;
pub use cors_origins::CorsOrigins;
pub use database_url::{DatabaseUrl, MalformedUrl, variable};
pub use error::ConfigError;
pub use load::Sources;
pub use locality::is_loopback;
pub use permissions::{check_system_authorities, sqlite_path};
pub use proxies::TrustedProxies;
pub use sections::{
    Breaker, Cache, Config, Database, Durability, Janitor, Keys, Limits, Log, LogFormat, Pool, Redis, Server, Token,
    Writer, WriterMode,
};
pub use shown::shown;
pub use units::{ByteSize, Duration, SecretValue};
pub use validate::encryption_key_in;
pub use weakness::{Found, Weakness, listeners_beyond_loopback, password_on_command_line, weaknesses};
