//! The peers whose headers are trusted: IP addresses and CIDR ranges.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// The value of `server.trusted_proxies` and `server.client_ip_proxies`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// No peer at all.
    pub const NONE: Self = Self(Vec::new());

    /// The ranges that have room for more than the proxies of one network: wider than /24, and for
    /// IPv6 wider than /64.
    pub(super) fn wide(&self) -> impl Iterator<Item = String> {
        let is_wide = |range: &&IpNet| match range {
            IpNet::V4(range) => range.prefix_len() < 24,
            IpNet::V6(range) => range.prefix_len() < 64,
        };
        self.0.iter().filter(is_wide).map(ToString::to_string)
    }

    /// Whether no peer is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a peer is trusted. An IPv4 address equals its IPv6-mapped form.
    pub fn contains(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|range| range.contains(&peer))
    }
}

/// The default of `server.trusted_proxies`: gateways on this machine.
impl Default for TrustedProxies {
    fn default() -> Self {
        Self(vec![
            IpAddr::from(std::net::Ipv4Addr::LOCALHOST).into(),
            IpAddr::from(std::net::Ipv6Addr::LOCALHOST).into(),
        ])
    }
}

impl TryFrom<Vec<String>> for TrustedProxies {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        let range = |text: &String| {
            let address = || {
                text.parse::<IpAddr>()
                    .map(|address| IpNet::from(address.to_canonical()))
            };
            let range = text
                .parse::<IpNet>()
                .or_else(|_| address())
                .map_err(|_| "must be addresses and ranges such as 10.0.0.0/24".to_owned())?;
            match range.prefix_len() {
                0 => Err("must not be a range of all addresses: name those of your proxies".to_owned()),
                _ => Ok(range),
            }
        };
        texts.iter().map(range).collect::<Result<_, _>>().map(Self)
    }
}

impl From<TrustedProxies> for Vec<String> {
    fn from(proxies: TrustedProxies) -> Vec<String> {
        let text = |range: IpNet| {
            if range.prefix_len() == range.max_prefix_len() {
                range.addr().to_string()
            } else {
                range.to_string()
            }
        };
        proxies.0.into_iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(texts: &[&str]) -> Result<TrustedProxies, String> {
        TrustedProxies::try_from(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn p43_addresses_and_ranges_are_trusted_and_nothing_else() {
        let trusted = proxies(&["10.0.0.0/8", "192.0.2.1", "2001:db8::/32"]).unwrap();
        for inside in ["10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1", "2001:db8::1"] {
            assert!(trusted.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.2", "127.0.0.1", "::1", "2001:db9::1"] {
            assert!(!trusted.contains(outside.parse().unwrap()), "{outside}");
        }
        assert!(TrustedProxies::default().contains("127.0.0.1".parse().unwrap()));
        assert!(TrustedProxies::default().contains("::1".parse().unwrap()));
    }

    #[test]
    fn p43_a_malformed_range_is_rejected() {
        for bad in ["", "localhost", "10.0.0.0/33", "10.0.0", "0.0.0.0/0", "::/0"] {
            assert!(proxies(&[bad]).is_err(), "{bad}");
        }
    }
}
