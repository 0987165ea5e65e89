//! A signing key as the command line and the admin API show it.

use serde::Serialize;
use utoipa::ToSchema;

use super::page::Page;
use crate::keys::KeyRecord;
use crate::keys::rotation::{self, KeyState};
use crate::keys::trust::{Checked, UncheckedRow};
use crate::time::UnixMillis;

/// A signing key without private parts; times are RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyDocument {
    kid: String,
    alg: String,
    /// `next`, `active`, `retired`, or `rejected` if the row is not believed
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
            alg: key.alg.name().to_owned(),
            state: rotation::state(key, all, now).name(),
            encrypted: key.encrypted,
            created_at: key.created_at.to_string(),
            activates_at: key.activates_at.to_string(),
            retires_at: key.retires_at.map(|at| at.to_string()),
        }
    }

    /// The document of a row that is not believed, with what the row says.
    fn rejected(row: &UncheckedRow) -> Self {
        Self {
            kid: row.kid.clone(),
            alg: row.alg.clone(),
            state: KeyState::Rejected.name(),
            encrypted: row.encrypted,
            created_at: row.created_at.to_string(),
            activates_at: row.activates_at.to_string(),
            retires_at: row.retires_at.map(|at| at.to_string()),
        }
    }

    /// A page of `keys`, some of `all`, at `now`.
    pub fn page(keys: &[KeyRecord], all: &[KeyRecord], now: UnixMillis) -> Page<Self> {
        Page {
            items: keys.iter().map(|key| Self::new(key, all, now)).collect(),
            next_cursor: None,
        }
    }

    /// A page of all keys at `now`, then the rows that are not believed.
    pub fn page_of_all(checked: &Checked, now: UnixMillis) -> Page<Self> {
        let mut page = Self::page(&checked.believed, &checked.believed, now);
        page.items.extend(checked.rejected.iter().map(Self::rejected));
        page
    }
}
