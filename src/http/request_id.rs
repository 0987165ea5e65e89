//! Request ids: one on every answer (P26), the caller's own if it sent a well-formed one.

use std::cell::Cell;

use actix_web::HttpMessage;
use actix_web::HttpRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::random::random_text;

/// The header, in requests and answers.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

const MAX_LENGTH: usize = 64;

/// 60 random bits, so that the ids of workers, instances and restarts do not meet.
const PREFIX_LENGTH: usize = 10;

/// Makes ids: a random prefix for each worker and a number, so that making one costs no randomness.
pub struct RequestIdSource {
    prefix: [u8; PREFIX_LENGTH],
    next: Cell<u64>,
}

impl RequestIdSource {
    /// With a prefix of its own.
    pub fn new() -> Self {
        Self {
            prefix: random_text(PREFIX_LENGTH)
                .as_bytes()
                .try_into()
                .expect("it is as long as was asked"),
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

/// The id was made already, because a log line needed it.
struct Made(HeaderValue);

/// The id of a request: the caller's, the one already made, or a new one.
pub fn of(request: &HttpRequest, ids: Option<&RequestIdSource>) -> HeaderValue {
    if let Some(sent) = well_formed(request.headers()) {
        return sent.clone();
    }
    if let Some(made) = request.extensions().get::<Made>() {
        return made.0.clone();
    }
    match ids {
        Some(ids) => ids.next(),
        None => HeaderValue::from_static("-"),
    }
}

/// The id of a request, kept so that its answer carries the same: for log lines.
pub fn keep(request: &HttpRequest, ids: &RequestIdSource) -> String {
    let id = of(request, Some(ids));
    request.extensions_mut().insert(Made(id.clone()));
    id.to_str().unwrap_or("-").to_owned()
}

/// 1 to 64 of `[A-Za-z0-9._-]`; another one could break a log line or a header.
fn well_formed(headers: &HeaderMap) -> Option<&HeaderValue> {
    let sent = headers.get(&HEADER)?;
    let bytes = sent.as_bytes();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    ((1..=MAX_LENGTH).contains(&bytes.len()) && bytes.iter().all(allowed)).then_some(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p26_ids_differ_and_are_well_formed() {
        let source = RequestIdSource::new();
        let (a, b) = (source.next(), source.next());
        assert_ne!(a, b);
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, a.clone());
        assert_eq!(well_formed(&headers), Some(&a));
    }

    #[test]
    fn p26_an_id_of_another_form_is_not_kept() {
        for bad in ["", "a b", "a\"b", "é", &"x".repeat(65)] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(bad.as_bytes()).unwrap());
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
}
