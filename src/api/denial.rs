//! The denials that one instance has counted, as the admin API shows them.

use serde::Serialize;
use utoipa::ToSchema;

/// The denials of one instance since its start.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Denials)]
pub struct DenialsDocument {
    /// When the counting began (RFC 3339).
    #[schema(format = DateTime)]
    pub since: String,
    /// By reason and caller, the most frequent first.
    pub items: Vec<DenialDocument>,
    /// Those of callers that there was no room to tell apart, by reason.
    pub others: Vec<OtherDenialsDocument>,
}

/// The denials of one caller for one reason.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Denial)]
pub struct DenialDocument {
    /// The reason, as in the log.
    pub reason: &'static str,
    /// The client; `null` if no client with the presented id exists or none was presented, and for
    /// `too_many_failures`, whose credentials are not looked up.
    pub client_id: Option<String>,
    /// The client IP of the last of them.
    pub client_ip: Option<String>,
    /// Their number.
    pub count: u64,
    /// When the last of them happened (RFC 3339).
    #[schema(format = DateTime)]
    pub last_at: String,
}

/// Denials for one reason.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OtherDenials)]
pub struct OtherDenialsDocument {
    /// The reason, as in the log.
    pub reason: &'static str,
    /// Their number.
    pub count: u64,
}
