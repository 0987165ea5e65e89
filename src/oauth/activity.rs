//! Is this token active? Signature ∧ issuer ∧ audience ∧ time ∧ not-before ∧ client enabled ∧ not revoked.
//!
//! The token's record is not asked for: if it were, a fresh token would be inactive until its batch is written, and a
//! crash would kill valid tokens.

use super::claims::AccessTokenClaims;
use super::token_id::TokenId;
use crate::time::UnixMillis;

/// A token that was revoked or redeemed: it must not be called active again. And when that can be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidatedToken {
    /// Its id: what is revoked is the id and not the text, because an ECDSA signature has a valid twin.
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
    /// It is disabled: none of its tokens is active until it is enabled again.
    pub disabled: bool,
    /// What was issued to it before this moment is not active.
    pub not_before: Option<UnixMillis>,
}

/// What has been revoked; implemented by the set that holds it.
pub trait RevocationCheck {
    /// Whether a token was revoked, or redeemed.
    fn is_invalidated(&self, jti: &TokenId) -> bool;
    /// Whether it still knows of every token that ends at this second, and not merely once did.
    fn remembers(&self, expires_at: i64) -> bool;
    /// The status of a client; the global not-before is part of it.
    fn client_status(&self, client_id: &str) -> ClientStatus;
}

/// Whether a token with a valid signature of ours is active at `now`, for one audience if it is named.
///
/// The time leeway is 0: the clock that issued the token is the one that it is checked by.
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
    // The id carries the millisecond of issue: compared by seconds, a token issued later in the same second would die too.
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
    struct Said {
        invalidated: bool,
        forgetful: bool,
        status: ClientStatus,
    }

    impl RevocationCheck for Said {
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

    fn active(revocations: &Said, issuer: &str, audience: Option<&str>, now: i64) -> bool {
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
        };
        is_active(&claims, issuer, audience, revocations, UnixMillis(now))
    }

    #[test]
    fn p33_issuer_audience_and_time_decide() {
        let nothing = Said::default();
        assert!(active(&nothing, "https://issuer", None, 1_059_999));
        assert!(active(&nothing, "https://issuer", Some("urn:a"), 1_000_500));
        assert!(!active(&nothing, "https://other", None, 1_000_500));
        assert!(!active(&nothing, "https://issuer", Some("urn:b"), 1_000_500));
        assert!(!active(&nothing, "https://issuer", None, 1_060_000));
    }

    #[test]
    fn p33_what_was_revoked_is_not_active() {
        let is_active = |said: Said| active(&said, "https://issuer", None, 1_001_000);
        let status = |disabled, not_before: Option<i64>| Said {
            status: ClientStatus {
                disabled,
                not_before: not_before.map(UnixMillis),
            },
            ..Said::default()
        };
        assert!(!is_active(Said {
            invalidated: true,
            ..Said::default()
        }));
        assert!(!is_active(Said {
            forgetful: true,
            ..Said::default()
        }));
        assert!(!is_active(status(true, None)));
        assert!(!is_active(status(false, Some(ISSUED.0 + 1))));
        assert!(
            is_active(status(false, Some(ISSUED.0))),
            "a later token of the same second lives"
        );
    }
}
