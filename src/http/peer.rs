//! Who sent a request: the connection's peer or, where that is a trusted proxy, whom the proxy names (P43).
//!
//! A proxy appends the address it was called from to `X-Forwarded-For`, so the list is read from its end: the first
//! address that is no trusted proxy is the caller, and what stands before it is the caller's own invention.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::X_FORWARDED_FOR;

use crate::config::TrustedProxies;

/// The address that a request came from; `0.0.0.0` where the connection has none any more.
pub fn of(request: &HttpRequest, trusted: &TrustedProxies) -> IpAddr {
    let connected = request
        .peer_addr()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    let lists = request
        .headers()
        .get_all(X_FORWARDED_FOR)
        .map(|value| value.as_bytes())
        .collect::<Vec<_>>();
    caller(connected, &lists, trusted)
}

/// Several headers are one list, in the order in which they stand (RFC 9110 §5.3). Where that list cannot be read as far
/// as it counts, the connection is all that is known.
fn caller(connected: IpAddr, lists: &[&[u8]], trusted: &TrustedProxies) -> IpAddr {
    let connected = connected.to_canonical();
    if !trusted.contains(connected) {
        return connected;
    }
    let mut farthest = connected;
    let entries = lists.iter().rev().flat_map(|list| list.rsplit(|byte| *byte == b','));
    for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
        let Some(address) = address(entry) else {
            return connected;
        };
        if !trusted.contains(address) {
            return address;
        }
        farthest = address;
    }
    // Only proxies: the one that was there first is the caller.
    farthest
}

/// An address as proxies write it: bare, or with a port, or in brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare.parse::<IpAddr>().ok();
    address
        .or_else(|| text.parse::<SocketAddr>().ok().map(|peer| peer.ip()))
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caller_of(connected: &str, lists: &[&str]) -> String {
        let ranges = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"].map(str::to_owned);
        let trusted = TrustedProxies::try_from(ranges.to_vec()).unwrap();
        let lists: Vec<&[u8]> = lists.iter().map(|list| list.as_bytes()).collect();
        caller(connected.parse().unwrap(), &lists, &trusted).to_string()
    }

    #[test]
    fn p43_a_stranger_is_not_believed() {
        assert_eq!(caller_of("192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
        assert_eq!(caller_of("127.0.0.1", &["198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn p43_the_last_address_that_is_no_proxy_is_the_caller() {
        assert_eq!(
            caller_of("127.0.0.1", &["203.0.113.9, 198.51.100.7, 10.0.0.2"]),
            "198.51.100.7"
        );
        assert_eq!(caller_of("127.0.0.1", &["203.0.113.9", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            caller_of("127.0.0.1", &["198.51.100.7", "10.0.0.2,10.0.0.3"]),
            "198.51.100.7"
        );
        assert_eq!(caller_of("127.0.0.1", &["10.0.0.5, 10.0.0.2"]), "10.0.0.5");
        assert_eq!(caller_of("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(caller_of("127.0.0.1", &["", " , "]), "127.0.0.1");
    }

    #[test]
    fn p43_garbage_where_it_counts_leaves_the_connection() {
        for garbage in [
            "x",
            "unknown",
            "_hidden",
            "1.2.3",
            "1.2.3.4.5",
            "[::1",
            "é",
            "198.51.100.7;",
        ] {
            let list = format!("198.51.100.7, {garbage}, 10.0.0.2");
            assert_eq!(caller_of("127.0.0.1", &[&list]), "127.0.0.1", "{garbage}");
        }
        // Left of the caller's address stands what the caller sent: it cannot choose another bucket with it.
        assert_eq!(caller_of("127.0.0.1", &["garbage, 198.51.100.7"]), "198.51.100.7");
    }

    #[test]
    fn p43_ports_brackets_and_mapped_addresses_are_understood() {
        assert_eq!(caller_of("127.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(caller_of("127.0.0.1", &["[2001:db9::1]:80"]), "2001:db9::1");
        assert_eq!(caller_of("127.0.0.1", &["[2001:db9::1]"]), "2001:db9::1");
        assert_eq!(caller_of("::ffff:127.0.0.1", &["::ffff:198.51.100.7"]), "198.51.100.7");
        assert_eq!(caller_of("::ffff:192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    }

    proptest! {
        #[test]
        fn p43_nothing_that_the_caller_sends_hides_it(sent in "[ -~]{0,40}") {
            prop_assert_eq!(caller_of("127.0.0.1", &[&sent, "198.51.100.7"]), "198.51.100.7");
            prop_assert_eq!(caller_of("127.0.0.1", &[&format!("{sent},198.51.100.7,10.1.1.1")]), "198.51.100.7");
            prop_assert_eq!(caller_of("192.0.2.1", &[&sent]), "192.0.2.1");
        }
    }
}
