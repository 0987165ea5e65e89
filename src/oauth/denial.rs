//! Why credentials or a gateway's request are denied; for the log and the metrics, never for the response.

use strum::{EnumCount, IntoStaticStr, VariantArray};

/// Why credentials or a request were denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Denial {
    /// There are no credentials, or an id or secret alone.
    NoCredentials,
    /// The Authorization header has another scheme.
    WrongScheme,
    /// The Basic credentials are malformed.
    MalformedBasic,
    /// There is no such client.
    UnknownClient,
    /// The secret is none of the client's, or has expired.
    WrongSecret,
    /// The client is disabled.
    DisabledClient,
    /// The client may not use this authentication method.
    MethodNotAllowed,
    /// Too many authentications had failed before; the credentials were not verified.
    TooManyFailures,
    /// The bearer token is not active.
    InvalidToken,
    /// The bearer token lacks a scope.
    InsufficientScope,
    /// The caller of `/validate` is not in `server.trusted_proxies`.
    UntrustedPeer,
    /// The original request of a gateway is incomplete or ambiguous.
    #[strum(serialize = "unclear_request")]
    AmbiguousRequest,
    /// No route allows the request.
    NoRoute,
}

impl Denial {
    /// All denials, in the order of their declaration.
    pub const ALL: [Self; Self::COUNT] = *Self::VARIANTS.first_chunk().expect("one for each variant");

    /// What is denied.
    pub fn what(self) -> &'static str {
        match self {
            Self::UntrustedPeer | Self::AmbiguousRequest | Self::NoRoute => "request",
            _ => "credentials",
        }
    }

    /// The name, in the log and in the metrics.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Whether this is a failed authentication (P17): credentials were presented, verified and wrong.
    pub fn is_failed_authentication(self) -> bool {
        match self {
            Self::NoCredentials | Self::TooManyFailures | Self::InvalidToken | Self::InsufficientScope => false,
            // The caller is the gateway, and its own credentials are not wrong.
            Self::UntrustedPeer | Self::AmbiguousRequest | Self::NoRoute => false,
            Self::WrongScheme
            | Self::MalformedBasic
            | Self::UnknownClient
            | Self::WrongSecret
            | Self::DisabledClient
            | Self::MethodNotAllowed => true,
        }
    }

    /// Whether the client id in the credentials is that of a client, so that the log may show it.
    pub fn names_a_client(self) -> bool {
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
