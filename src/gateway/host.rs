//! Host names as the forward-auth policy compares them: case-insensitively and without the port.
//!
//! The port is ignored. A client chooses the port in its `Host` header, and it does not influence
//! which upstream receives the request. A rule by port could be bypassed by sending another one.

use std::fmt;
use std::io::Write;
use std::net::Ipv6Addr;

/// Maximum length of a name, in characters (RFC 1035 §2.3.4).
pub const MAX_HOST: usize = 253;

const MAX_LABEL: usize = 63;

/// The host of a rule: a name or an IP address, in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host(Box<str>);

/// The text is not a host or is ambiguous: an empty label, user information, a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedHost;

/// A buffer for the normal form of a host, so that comparing one allocates nothing.
pub type HostBuffer = [u8; MAX_HOST];

impl Host {
    /// Parses the host of a rule. `None` if it is malformed or has a port, because ports are
    /// ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let (_, port) = split_port(text).ok()?;
        let mut buffer = [0; MAX_HOST];
        let host = normal_host(text, &mut buffer).ok()?;
        port.is_none().then(|| Self(host.into()))
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The normal form of a `Host` header: lower case, without the port.
///
/// A trailing dot is rejected, because some parsers treat the name with the dot as the same host
/// and others as another one.
///
/// # Errors
/// [`MalformedHost`] for anything but letters, digits, `-`, `_` and dots between labels, or an IPv6
/// address in brackets.
pub fn normal_host<'b>(text: &str, buffer: &'b mut HostBuffer) -> Result<&'b str, MalformedHost> {
    let (name, _) = split_port(text)?;
    let length = match name.strip_prefix('[') {
        Some(bracketed) => {
            let address: Ipv6Addr = bracketed
                .strip_suffix(']')
                .and_then(|address| address.parse().ok())
                .ok_or(MalformedHost)?;
            let mut rest = &mut buffer[..];
            write!(rest, "[{address}]").map_err(|_| MalformedHost)?;
            MAX_HOST - rest.len()
        }
        None => {
            let label = |label: &str| {
                (1..=MAX_LABEL).contains(&label.len())
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            };
            if name.len() > MAX_HOST || !name.split('.').all(label) {
                return Err(MalformedHost);
            }
            let target = &mut buffer[..name.len()];
            target.copy_from_slice(name.as_bytes());
            target.make_ascii_lowercase();
            name.len()
        }
    };
    std::str::from_utf8(&buffer[..length]).map_err(|_| MalformedHost)
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), MalformedHost> {
    let after_address = text.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = text[after_address..].find(':') else {
        return Ok((text, None));
    };
    let (name, port) = text.split_at(after_address + colon);
    let digits = &port[1..];
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(MalformedHost);
    }
    let port = digits.parse().map_err(|_| MalformedHost)?;
    Ok((name, Some(port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normal(text: &str) -> Result<String, MalformedHost> {
        normal_host(text, &mut [0; MAX_HOST]).map(str::to_owned)
    }

    #[test]
    fn p44_hosts_are_compared_without_case_and_port() {
        for text in ["api.example", "API.Example", "api.example:443", "Api.example:8080"] {
            assert_eq!(normal(text).as_deref(), Ok("api.example"), "{text}");
        }
        for text in ["[::1]", "[0:0::1]:80", "[0:0:0:0:0:0:0:1]"] {
            assert_eq!(normal(text).as_deref(), Ok("[::1]"), "{text}");
        }
        assert_eq!(normal("10.0.0.1:80").as_deref(), Ok("10.0.0.1"));
    }

    #[test]
    fn p44_a_malformed_host_is_rejected() {
        let long = format!("{}.example", "a".repeat(64));
        let longer = vec!["abcdefg"; 33].join(".");
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a b",
            "a,b",
            "a, b",
            "u@a",
            "a/b",
            "a:",
            "a:b",
            "a:+1",
            "a:65536",
            "a:1:2",
            ":80",
            "é",
            "%61",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[fe80::1%25eth0]",
            "x[::1]",
            "[]",
            &long,
            &longer,
        ] {
            assert_eq!(normal(bad), Err(MalformedHost), "{bad:?}");
        }
    }

    #[test]
    fn the_host_of_a_rule_has_no_port() {
        assert_eq!(Host::parse("API.example").unwrap().as_str(), "api.example");
        for bad in ["", "api.example:443", "*", "*.example", "https://api.example"] {
            assert_eq!(Host::parse(bad), None, "{bad:?}");
        }
    }
}
