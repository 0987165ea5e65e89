//! Decides whether a token is active: valid signature, issuer, audience, time and not-before;
//! client enabled; token not invalidated.
//!
//! The token's record is not consulted. Otherwise a new token would be inactive until its batch is
//! written, and a crash would invalidate valid tokens.

use super::claims::AccessTokenClaims;
use super::token_id::TokenId;
use crate::time::UnixMillis;

/// A token that was revoked or redeemed. Its id is kept until the token expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidatedToken {
    /// The token id. The id is invalidated and not the token's text, because an ECDSA signature can
    /// be altered into another valid one.
    pub jti: TokenId,
    /// The token's `exp`, in seconds since the epoch.
    pub expires_at: i64,
}

impl From<&AccessTokenClaims> for InvalidatedToken {
    fn from(claims: &AccessTokenClaims) -> Self {
        Self {
            jti: claims.jti,
            expires_at: claims.exp,
        }
    }
}

/// Whether a client is enabled, and which of its tokens are revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStatus {
    /// Whether the client is disabled. None of its tokens is active until it is enabled again.
    pub disabled: bool,
    /// Tokens issued before this moment are not active.
    pub not_before: Option<UnixMillis>,
}

/// Access to the revocations that are in effect.
pub trait RevocationCheck {
    /// Whether a token was revoked or redeemed.
    fn is_invalidated(&self, jti: &TokenId) -> bool;
    /// Whether the invalidations of tokens that expire at this second are still remembered. If not,
    /// such a token must not be reported as active.
    fn remembers(&self, expires_at: i64) -> bool;
    /// The status of a client. It includes the global not-before.
    fn client_status(&self, client_id: &str) -> ClientStatus;
}

/// Whether a token with a valid signature is active at `now`, for `audience` if one is given.
///
/// There is no leeway for time: the clock of the issuing server is also the one that validates.
pub fn is_active(
    claims: &AccessTokenClaims,
    issuer: &str,
    audience: Option<&str>,
    revocations: &impl RevocationCheck,
    now: UnixMillis,
) -> bool {
    let ours = *claims.iss == *issuer && audience.is_none_or(|audience| claims.aud.contains(audience));
    if !ours || now.seconds() >= claims.exp {
        return false;
    }
    let status = revocations.client_status(&claims.client_id);
    // Compare milliseconds: with seconds, a token issued later in the same second would also be
    // inactive.
    let in_time = status.not_before.is_none_or(|moment| claims.jti.issued_at() >= moment);
    in_time && !status.disabled && !revocations.is_invalidated(&claims.jti) && revocations.remembers(claims.exp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::claims::Audience;
    use crate::oauth::scope::Scope;

    const ISSUED: UnixMillis = UnixMillis(1_000_500);

    #[derive(Default)]
    struct FixedRevocations {
        invalidated: bool,
        forgetful: bool,
        status: ClientStatus,
    }

    impl RevocationCheck for FixedRevocations {
        fn is_invalidated(&self, _: &TokenId) -> bool {
            self.invalidated
        }

        fn remembers(&self, _: i64) -> bool {
            !self.forgetful
        }

        fn client_status(&self, _: &str) -> ClientStatus {
            self.status
        }
    }

    fn active(revocations: &FixedRevocations, issuer: &str, audience: Option<&str>, now: i64) -> bool {
        let claims = AccessTokenClaims {
            iss: "https://issuer".into(),
            sub: "demo".into(),
            aud: Audience::One("urn:a".into()),
            client_id: "demo".into(),
            scope: Scope::parse("x").unwrap(),
            iat: ISSUED.seconds(),
            exp: 1060,
            jti: TokenId::new(ISSUED, [0; 10]),
            one_time: false,
            secret_id: None,
            form: Default::default(),
        };
        is_active(&claims, issuer, audience, revocations, UnixMillis(now))
    }

    #[test]
    fn p33_issuer_audience_and_time_decide() {
        let nothing = FixedRevocations::default();
        assert!(active(&nothing, "https://issuer", None, 1_059_999));
        assert!(active(&nothing, "https://issuer", Some("urn:a"), 1_000_500));
        assert!(!active(&nothing, "https://other", None, 1_000_500));
        assert!(!active(&nothing, "https://issuer", Some("urn:b"), 1_000_500));
        assert!(!active(&nothing, "https://issuer", None, 1_060_000));
    }

    #[test]
    fn p33_a_revoked_token_is_not_active() {
        let is_active = |revocations: FixedRevocations| active(&revocations, "https://issuer", None, 1_001_000);
        let status = |disabled, not_before: Option<i64>| FixedRevocations {
            status: ClientStatus {
                disabled,
                not_before: not_before.map(UnixMillis),
            },
            ..FixedRevocations::default()
        };
        assert!(!is_active(FixedRevocations {
            invalidated: true,
            ..FixedRevocations::default()
        }));
        assert!(!is_active(FixedRevocations {
            forgetful: true,
            ..FixedRevocations::default()
        }));
        assert!(!is_active(status(true, None)));
        assert!(!is_active(status(false, Some(ISSUED.0 + 1))));
        assert!(
            is_active(status(false, Some(ISSUED.0))),
            "a token issued later in the same second stays active"
        );
    }
}
