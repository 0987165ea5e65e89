//! The caller of a request: its address (P43), its request id (P26) and its Authorization header.
//!
//! A proxy of `server.client_ip_proxies` appends the address of its own caller to
//! `X-Forwarded-For`, so the list is read from its end: the first address that is none of these
//! proxies is the caller's. Everything before that may come from the caller itself, so it is
//! ignored, and so is the header of any other peer.

use std::cell::{Cell, OnceCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, X_FORWARDED_FOR};
use actix_web::{HttpMessage, HttpRequest};

use crate::config::TrustedProxies;
use crate::oauth::client_secret;
use crate::random::random_text;

/// The header of a request id, in requests and responses.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The caller of one request. A handler creates it first and passes it down instead of the request.
///
/// Address and request id are determined on first use. A request that succeeds needs no request id,
/// and the address only if it issues a token.
pub struct Caller<'r> {
    request: &'r HttpRequest,
    forwarded_for: &'r ForwardedFor,
    ids: &'r RequestIdSource,
    address: OnceCell<IpAddr>,
    request_id: OnceCell<HeaderValue>,
}

/// Address and request id of a caller, for work that goes on after the response.
pub struct DetachedCaller {
    /// The address.
    pub address: IpAddr,
    /// The request id of the response.
    pub request_id: HeaderValue,
}

/// The Authorization header of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization<'r> {
    /// There is none.
    None,
    /// The value of the only one.
    One(&'r [u8]),
    /// There are several.
    Repeated,
}

impl<'r> Caller<'r> {
    /// The caller of a request; `ids` generates its request id if the request has none.
    pub fn new(request: &'r HttpRequest, forwarded_for: &'r ForwardedFor, ids: &'r RequestIdSource) -> Self {
        Self {
            request,
            forwarded_for,
            ids,
            address: OnceCell::new(),
            request_id: OnceCell::new(),
        }
    }

    /// The address of the caller: of the connection or, if that is from one of
    /// `server.client_ip_proxies`, the one that the proxy names. `0.0.0.0` if the connection is
    /// gone.
    pub fn address(&self) -> IpAddr {
        *self.address.get_or_init(|| {
            let connected = self
                .request
                .peer_addr()
                .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
            // Nearly every caller, unless there is a proxy.
            if !self.forwarded_for.proxies.contains(connected) {
                return connected.to_canonical();
            }
            let lists = self
                .request
                .headers()
                .get_all(X_FORWARDED_FOR)
                .map(|value| value.as_bytes())
                .collect::<Vec<_>>();
            if lists.is_empty() {
                self.forwarded_for.note_missing(connected);
            }
            address_of(connected, &lists, &self.forwarded_for.proxies)
        })
    }

    /// The address, if there is one.
    pub fn known_address(&self) -> Option<IpAddr> {
        Some(self.address()).filter(|address| !address.is_unspecified())
    }

    /// Logs, once, that a gateway names the caller and is not believed. For requests that fail:
    /// there it matters that all callers behind the gateway count as one.
    pub fn hint_ignored_header(&self) {
        if let Some(peer) = self.request.peer_addr() {
            self.forwarded_for.note_ignored(peer.ip(), self.request.headers());
        }
    }

    /// The request id. The response will carry the same.
    pub fn request_id(&self) -> &HeaderValue {
        self.request_id.get_or_init(|| {
            let id = request_id(self.request, Some(self.ids));
            self.request.extensions_mut().insert(Generated(id.clone()));
            id
        })
    }

    /// Leaves a value for the middleware, as an extension of the request.
    pub fn mark<T: 'static>(&self, mark: T) {
        self.request.extensions_mut().insert(mark);
    }

    /// The request id as text.
    pub fn request_id_text(&self) -> &str {
        self.request_id().to_str().unwrap_or("-")
    }

    /// The Authorization header.
    pub fn authorization(&self) -> Authorization<'r> {
        let mut headers = self.request.headers().get_all(AUTHORIZATION);
        match (headers.next(), headers.next()) {
            (None, _) => Authorization::None,
            (Some(header), None) => Authorization::One(header.as_bytes()),
            (Some(_), Some(_)) => Authorization::Repeated,
        }
    }

    /// Address and request id, owned.
    pub fn detached(&self) -> DetachedCaller {
        DetachedCaller {
            address: self.address(),
            request_id: self.request_id().clone(),
        }
    }
}

/// Whose `X-Forwarded-For` is believed, and what was logged about the header.
pub struct ForwardedFor {
    /// `server.client_ip_proxies`.
    proxies: TrustedProxies,
    /// `server.trusted_proxies`, for a hint.
    gateways: TrustedProxies,
    ignored: AtomicBool,
    missing: AtomicBool,
}

impl ForwardedFor {
    /// Believes `proxies`.
    pub fn new(proxies: TrustedProxies, gateways: TrustedProxies) -> Self {
        Self {
            proxies,
            gateways,
            ignored: AtomicBool::new(false),
            missing: AtomicBool::new(false),
        }
    }

    /// Logs, once, that a proxy sends no header: all callers behind it share its address.
    fn note_missing(&self, connected: IpAddr) {
        if is_first(&self.missing) {
            log::warn!(peer:% = connected; "proxy sends no x-forwarded-for");
        }
    }

    /// Logs, once, that a gateway sends a header that is not believed, if no proxy is.
    fn note_ignored(&self, connected: IpAddr, headers: &HeaderMap) {
        let is_hint = self.proxies.is_empty() && !self.ignored.load(Ordering::Relaxed);
        if is_hint
            && self.gateways.contains(connected)
            && headers.contains_key(X_FORWARDED_FOR)
            && is_first(&self.ignored)
        {
            log::warn!(peer:% = connected; "x-forwarded-for ignored");
        }
    }
}

/// Whether this is the first call for a flag.
fn is_first(flag: &AtomicBool) -> bool {
    !flag.load(Ordering::Relaxed) && !flag.swap(true, Ordering::Relaxed)
}

/// Several headers are one list, in the order in which they are sent (RFC 9110 §5.3). If an entry
/// is malformed before the caller's address is found, the address of the connection is used.
fn address_of(connected: IpAddr, lists: &[&[u8]], trusted: &TrustedProxies) -> IpAddr {
    let connected = connected.to_canonical();
    if !trusted.contains(connected) {
        return connected;
    }
    let mut farthest = connected;
    let entries = lists.iter().rev().flat_map(|list| list.rsplit(|byte| *byte == b','));
    for entry in entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty()) {
        let Some(address) = parse_address(entry) else {
            return connected;
        };
        if !trusted.contains(address) {
            return address;
        }
        farthest = address;
    }
    // All addresses are those of proxies: the request comes from the first one.
    farthest
}

/// An address as proxies write it: bare, with a port, or in brackets.
fn parse_address(entry: &[u8]) -> Option<IpAddr> {
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

const MAX_REQUEST_ID: usize = 64;

/// 60 random bits, so that ids of workers, instances and restarts do not collide.
const PREFIX_LENGTH: usize = 10;

/// Generates request ids for one worker: a random prefix and a number, so that an id costs no
/// randomness.
pub struct RequestIdSource {
    prefix: [u8; PREFIX_LENGTH],
    next: Cell<u64>,
}

impl RequestIdSource {
    /// A source with a new prefix.
    pub fn new() -> Self {
        Self {
            prefix: random_text(PREFIX_LENGTH)
                .as_bytes()
                .try_into()
                .expect("the text has the requested length"),
            next: Cell::new(0),
        }
    }

    fn next(&self) -> HeaderValue {
        const MAX_ID: usize = PREFIX_LENGTH + 1 + 20;
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let mut text = [b'-'; MAX_ID];
        text[..PREFIX_LENGTH].copy_from_slice(&self.prefix);
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number);
        let end = PREFIX_LENGTH + 1 + digits.len();
        text[PREFIX_LENGTH + 1..end].copy_from_slice(digits.as_bytes());
        HeaderValue::from_bytes(&text[..end]).expect("letters, digits and a hyphen make a header value")
    }
}

impl Default for RequestIdSource {
    fn default() -> Self {
        Self::new()
    }
}

/// The request id that a log line already carries, in the extensions of the request.
struct Generated(HeaderValue);

/// The id of a request: a well-formed one that the caller sent, the one that a log line carries, or
/// a new one.
pub fn request_id(request: &HttpRequest, ids: Option<&RequestIdSource>) -> HeaderValue {
    if let Some(sent) = well_formed(request.headers()) {
        return sent.clone();
    }
    if let Some(generated) = request.extensions().get::<Generated>() {
        return generated.0.clone();
    }
    match ids {
        Some(ids) => ids.next(),
        None => HeaderValue::from_static("-"),
    }
}

/// How the base64url of `{"` begins, and so every JWT.
const JWT_BEGINNING: &[u8] = b"eyJ";

/// 1 to 64 characters of `[A-Za-z0-9._-]`: no other can break a log line or a header. An id is
/// logged, so one that has the form of a secret or of a token is not kept.
fn well_formed(headers: &HeaderMap) -> Option<&HeaderValue> {
    let sent = headers.get(&REQUEST_ID)?;
    let bytes = sent.as_bytes();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    let prefix = client_secret::PREFIX.as_bytes();
    let has_secret = || bytes.starts_with(JWT_BEGINNING) || bytes.windows(prefix.len()).any(|part| part == prefix);
    let is_kept = (1..=MAX_REQUEST_ID).contains(&bytes.len()) && bytes.iter().all(allowed) && !has_secret();
    is_kept.then_some(sent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caller_of(connected: &str, lists: &[&str]) -> String {
        let ranges = ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"].map(str::to_owned);
        let trusted = TrustedProxies::try_from(ranges.to_vec()).unwrap();
        let lists: Vec<&[u8]> = lists.iter().map(|list| list.as_bytes()).collect();
        address_of(connected.parse().unwrap(), &lists, &trusted).to_string()
    }

    #[test]
    fn p43_x_forwarded_for_is_trusted_from_proxies_only() {
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
        // What the caller itself sent is left of its address, so it cannot choose another bucket.
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

    #[test]
    fn p26_ids_differ_and_are_well_formed() {
        let source = RequestIdSource::new();
        let (a, b) = (source.next(), source.next());
        assert_ne!(a, b);
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, a.clone());
        assert_eq!(well_formed(&headers), Some(&a));
    }

    #[test]
    fn p26_an_id_of_another_form_is_not_kept() {
        // The last three have the form of a secret or of a token.
        for bad in [
            "",
            "a b",
            "a\"b",
            "é",
            &"x".repeat(65),
            &format!("mtgcs{}", "x".repeat(49)),
            "secret.mtgcs-x",
            "eyJhbGciOiJIUzI1NiJ9.e30.x",
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_bytes(bad.as_bytes()).unwrap());
            assert_eq!(well_formed(&headers), None, "{bad}");
        }
    }

    #[test]
    fn numbers_are_written_in_full() {
        let source = RequestIdSource::new();
        for number in [0, 9, 10, 123_456, u64::MAX] {
            source.next.set(number);
            let id = source.next();
            assert_eq!(id.to_str().unwrap()[PREFIX_LENGTH..], format!("-{number}"));
        }
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
