//! The unit that an address is counted by.

use std::net::IpAddr;

/// An IPv4 address, or the /64 network of an IPv6 address, because a single host is assigned a /64
/// and can choose its addresses from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// An IPv4 address.
    V4(u32),
    /// The first half of an IPv6 address.
    V6(u64),
}

impl Network {
    /// The network of an address.
    pub fn of(peer: IpAddr) -> Self {
        match peer.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }

    /// The same as bytes; different networks have different bytes.
    pub fn to_bytes(self) -> [u8; 9] {
        let (family, number) = match self {
            Self::V4(address) => (4, u64::from(address)),
            Self::V6(prefix) => (6, prefix),
        };
        let mut bytes = [family; 9];
        bytes[1..].copy_from_slice(&number.to_be_bytes());
        bytes
    }
}
