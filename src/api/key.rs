//! A signing key as the command line and the admin API show it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::keys::rotation::{self, KeyRecord};
use crate::time::UnixMillis;

/// A signing key without private parts; times are RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyDocument {
    kid: String,
    alg: &'static str,
    /// `next`, `active` or `retired`
    state: &'static str,
    /// Whether it is stored encrypted.
    encrypted: bool,
    #[schema(format = DateTime)]
    created_at: String,
    #[schema(format = DateTime)]
    activates_at: String,
    /// When it leaves the JWKS; `null` until a successor is published.
    #[schema(format = DateTime)]
    retires_at: Option<String>,
}

impl KeyDocument {
    /// The document of a key of `all` at `now`.
    pub fn new(key: &KeyRecord, all: &[KeyRecord], now: UnixMillis) -> Self {
        Self {
            kid: key.kid.clone(),
            alg: key.alg.name(),
            state: rotation::state(key, all, now).name(),
            encrypted: key.encrypted,
            created_at: key.created_at.to_string(),
            activates_at: key.activates_at.to_string(),
            retires_at: key.retires_at.map(|at| at.to_string()),
        }
    }
}
