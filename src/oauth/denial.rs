//! Why credentials or a gateway's request are denied; for the log and the metrics, never for the caller.

use strum::{EnumCount, IntoStaticStr, VariantArray};

/// Why credentials were denied; for the log, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Denial {
    /// There were none, or only half of them.
    NoCredentials,
    /// The Authorization header has another scheme.
    WrongScheme,
    /// The Basic credentials cannot be read.
    MalformedBasic,
    /// There is no such client.
    UnknownClient,
    /// None of the client's secrets, or one that has expired.
    WrongSecret,
    /// The client is disabled.
    DisabledClient,
    /// The client may not authenticate in this way.
    MethodNotAllowed,
    /// Too many had failed before: what was presented was not looked at.
    TooManyFailures,
    /// The bearer token is not active here.
    InvalidToken,
    /// The bearer token lacks a scope.
    InsufficientScope,
    /// Somebody asks about another's request who is not one of `server.trusted_proxies`.
    UntrustedPeer,
    /// A gateway asks about a request that is incomplete or could be read in two ways.
    AmbiguousRequest,
    /// No route allows the request.
    NoRoute,
}

impl Denial {
    /// All of them, in their order.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("one for each variant");

    /// Whether it is not credentials that are denied, but the request that a gateway asks about.
    pub fn is_of_a_request(self) -> bool {
        matches!(self, Self::UntrustedPeer | Self::AmbiguousRequest | Self::NoRoute)
    }

    /// The name, in the log and in the metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether it counts as a failed authentication (P17): credentials were presented, looked at and found wrong.
    pub fn counts(self) -> bool {
        match self {
            Self::NoCredentials | Self::TooManyFailures | Self::InvalidToken | Self::InsufficientScope => false,
            // What a gateway asks about is not who asks.
            Self::UntrustedPeer | Self::AmbiguousRequest | Self::NoRoute => false,
            Self::WrongScheme
            | Self::MalformedBasic
            | Self::UnknownClient
            | Self::WrongSecret
            | Self::DisabledClient
            | Self::MethodNotAllowed => true,
        }
    }

    /// Whether the id that was tried is a client's, and so may be shown.
    pub fn is_of_a_client(self) -> bool {
        matches!(self, Self::WrongSecret | Self::DisabledClient | Self::MethodNotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_denial_stands_at_its_place_in_the_list() {
        for (place, denial) in Denial::ALL.into_iter().enumerate() {
            assert_eq!(denial as usize, place, "{denial:?}");
        }
    }
}
