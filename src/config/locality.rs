//! Which hosts are this machine.

use std::net::IpAddr;

/// Whether a host is loopback: 127.0.0.0/8, ::1, their mapped forms, or `localhost`. IPv6 addresses
/// are written without brackets.
pub fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>().map(|address| address.to_canonical());
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_certain_hosts_are_this_machine() {
        for local in ["localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert!(is_loopback(local), "{local}");
        }
        for remote in [
            "",
            "db",
            "localhost.",
            "LOCALHOST.example",
            "0.0.0.0",
            "::",
            "10.0.0.1",
            "127.1",
            "[::1]",
        ] {
            assert!(!is_loopback(remote), "{remote}");
        }
    }
}
