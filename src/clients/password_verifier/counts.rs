//! [`PasswordVerifierCounts`]: what the verifier of password hashes counts.

/// The verifier's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordVerifierCounts {
    /// Password hashes verified, whatever the result.
    pub verified: u64,
    /// Password hashes replaced by a digest.
    pub replaced: u64,
    /// Requests rejected because too many verifications waited, or because theirs took too long.
    pub busy: u64,
    /// Verifications running now.
    pub running: u64,
    /// Verifications waiting now.
    pub waiting: u64,
}
