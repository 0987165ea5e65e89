//! A secret as the command line and the admin API show it, without its value.

use serde::Serialize;
use utoipa::ToSchema;

use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

/// Id and times of a secret; times are RFC 3339.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Secret)]
pub struct SecretDocument {
    secret_id: String,
    #[schema(format = DateTime)]
    created_at: String,
    /// `null`: valid until revoked.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    /// To the minute, written within 15 s; `null`: never.
    #[schema(format = DateTime)]
    last_used_at: Option<String>,
}

impl From<&StoredSecret> for SecretDocument {
    fn from(secret: &StoredSecret) -> Self {
        let time = |moment: Option<UnixMillis>| moment.map(|moment| moment.to_string());
        Self {
            secret_id: secret.id.to_string(),
            created_at: secret.created_at.to_string(),
            expires_at: time(secret.expires_at),
            last_used_at: time(secret.last_used.moment()),
        }
    }
}

impl SecretDocument {
    /// For a list: the id, and when it was created, expires and was last used.
    pub fn columns(&self) -> [String; 4] {
        let or_never = |time: &Option<String>| time.clone().unwrap_or_else(|| "never".into());
        [
            self.secret_id.clone(),
            self.created_at.clone(),
            or_never(&self.expires_at),
            or_never(&self.last_used_at),
        ]
    }
}
