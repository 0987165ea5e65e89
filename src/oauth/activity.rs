//! Is this token active? Signature ∧ issuer ∧ audience ∧ time ∧ not-before ∧ client enabled ∧ not revoked.
//!
//! The token's record is not asked for: if it were, a fresh token would be inactive until its batch is written, and a
//! crash would kill valid tokens.

use super::claims::AccessTokenClaims;
use super::token_id::TokenId;
use crate::time::UnixMillis;

/// A token that must not be called active again, and when that can be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Its id: what is taken back is the id and not the text, because an ECDSA signature has a valid twin.
    pub jti: TokenId,
    /// The token's `exp`, in seconds since the epoch.
    pub expires_at: i64,
}

impl From<&AccessTokenClaims> for Spent {
    fn from(claims: &AccessTokenClaims) -> Self {
        Self {
            jti: claims.jti,
            expires_at: claims.exp,
        }
    }
}

/// How a client stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStanding {
    /// It is disabled: none of its tokens is active until it is enabled again.
    pub disabled: bool,
    /// What was issued to it before this moment is not active.
    pub not_before: Option<UnixMillis>,
}

/// What has been taken back, as whoever holds it tells it.
pub trait Denials {
    /// Whether a token was revoked, or redeemed.
    fn is_spent(&self, jti: &TokenId) -> bool;
    /// Whether it still knows of every token that ends at this second, and not merely once did.
    fn remembers(&self, expires_at: i64) -> bool;
    /// How a client stands; the moment that counts for all clients is part of it.
    fn standing(&self, client_id: &str) -> ClientStanding;
}

/// Whether a token with a valid signature of ours is active at `now`, for one audience if it is named.
///
/// The time leeway is 0: the clock that issued the token is the one that judges it.
pub fn is_active(
    claims: &AccessTokenClaims,
    issuer: &str,
    audience: Option<&str>,
    denials: &impl Denials,
    now: UnixMillis,
) -> bool {
    let ours = *claims.iss == *issuer && audience.is_none_or(|audience| claims.aud.contains(audience));
    if !ours || now.seconds() >= claims.exp {
        return false;
    }
    let standing = denials.standing(&claims.client_id);
    // The id carries the millisecond of issue: judged by seconds, a token issued later in the same second would die too.
    let in_time = standing
        .not_before
        .is_none_or(|moment| claims.jti.issued_at() >= moment);
    in_time && !standing.disabled && !denials.is_spent(&claims.jti) && denials.remembers(claims.exp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::claims::Audience;
    use crate::oauth::scope::Scope;

    const ISSUED: UnixMillis = UnixMillis(1_000_500);

    #[derive(Default)]
    struct Said {
        spent: bool,
        forgetful: bool,
        standing: ClientStanding,
    }

    impl Denials for Said {
        fn is_spent(&self, _: &TokenId) -> bool {
            self.spent
        }

        fn remembers(&self, _: i64) -> bool {
            !self.forgetful
        }

        fn standing(&self, _: &str) -> ClientStanding {
            self.standing
        }
    }

    fn active(denials: &Said, issuer: &str, audience: Option<&str>, now: i64) -> bool {
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
        is_active(&claims, issuer, audience, denials, UnixMillis(now))
    }

    #[test]
    fn p33_issuer_audience_and_time_are_judged() {
        let nothing = Said::default();
        assert!(active(&nothing, "https://issuer", None, 1_059_999));
        assert!(active(&nothing, "https://issuer", Some("urn:a"), 1_000_500));
        assert!(!active(&nothing, "https://other", None, 1_000_500));
        assert!(!active(&nothing, "https://issuer", Some("urn:b"), 1_000_500));
        assert!(!active(&nothing, "https://issuer", None, 1_060_000));
    }

    #[test]
    fn p33_what_was_taken_back_is_not_active() {
        let judged = |said: Said| active(&said, "https://issuer", None, 1_001_000);
        let standing = |disabled, not_before: Option<i64>| Said {
            standing: ClientStanding {
                disabled,
                not_before: not_before.map(UnixMillis),
            },
            ..Said::default()
        };
        assert!(!judged(Said {
            spent: true,
            ..Said::default()
        }));
        assert!(!judged(Said {
            forgetful: true,
            ..Said::default()
        }));
        assert!(!judged(standing(true, None)));
        assert!(!judged(standing(false, Some(ISSUED.0 + 1))));
        assert!(
            judged(standing(false, Some(ISSUED.0))),
            "a later token of the same second lives"
        );
    }
}
