//! Why a caller's credentials or a gateway's request is denied. For the log and the metrics; the
//! caller never learns the reason.

use strum::{EnumCount, IntoStaticStr, VariantArray};

/// Why credentials or a gateway's request was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Denial {
    /// No credentials, or an id without a secret or the reverse.
    NoCredentials,
    /// The `Authorization` header has a scheme other than Basic.
    WrongScheme,
    /// The Basic credentials are malformed.
    MalformedBasic,
    /// No client has this id.
    UnknownClient,
    /// The secret is none of the client's, or has expired.
    WrongSecret,
    /// The client is disabled.
    DisabledClient,
    /// The client may not use this authentication method.
    MethodNotAllowed,
    /// Too many authentications failed before. The credentials were not verified.
    TooManyFailures,
    /// The bearer token is not active or not for this server.
    InvalidToken,
    /// The bearer token lacks a scope.
    InsufficientScope,
    /// The request for forward-auth did not come from one of `server.trusted_proxies`.
    UntrustedPeer,
    /// A gateway's request is incomplete or ambiguous.
    AmbiguousRequest,
    /// No route allows the request.
    NoRoute,
}

impl Denial {
    /// Every denial, in declaration order.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("one for each variant");

    /// Whether it is not credentials that are denied, but the request that a gateway asks about.
    pub fn is_of_a_request(self) -> bool {
        matches!(self, Self::UntrustedPeer | Self::AmbiguousRequest | Self::NoRoute)
    }

    /// The name in the log and in the metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether this is a failed authentication, which is limited (docs/protocol.md#p17):
    /// credentials were presented, verified and found wrong.
    pub fn is_failed_authentication(self) -> bool {
        match self {
            Self::NoCredentials | Self::TooManyFailures | Self::InvalidToken | Self::InsufficientScope => false,
            // A gateway asks about another caller's request, not its own.
            Self::UntrustedPeer | Self::AmbiguousRequest | Self::NoRoute => false,
            Self::WrongScheme
            | Self::MalformedBasic
            | Self::UnknownClient
            | Self::WrongSecret
            | Self::DisabledClient
            | Self::MethodNotAllowed => true,
        }
    }

    /// Whether the presented id belongs to a client and may therefore be logged.
    pub fn names_a_client(self) -> bool {
        matches!(self, Self::WrongSecret | Self::DisabledClient | Self::MethodNotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_denials_is_in_declaration_order() {
        for (place, denial) in Denial::ALL.into_iter().enumerate() {
            assert_eq!(denial as usize, place, "{denial:?}");
        }
    }
}
