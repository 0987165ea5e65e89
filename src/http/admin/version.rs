//! Versions of a client: `ETag`, and `If-Match` against changes that would undo somebody else's (RFC 9110 §13.1.1).
//!
//! A client's version is the time of its last change, which rises with each.

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderValue, IF_MATCH};
use utoipa::IntoParams;

use super::page::bad_request;
use crate::http::error::ApiError;
use crate::oauth::client::Client;

/// The entity tag of a client.
pub fn etag(client: &Client) -> HeaderValue {
    HeaderValue::from_str(&tag(client)).expect("quotes and digits")
}

fn tag(client: &Client) -> String {
    format!("\"{}\"", client.updated_at.0)
}

/// What the document says of the header.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the description of its member is read")]
pub struct IfMatchParameter {
    /// The version that is meant: the ETag of an earlier answer
    #[param(rename = "If-Match", required = false)]
    if_match: String,
}

/// What `If-Match` asks of the client as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// That there is one.
    Exists,
    /// That it is one of these versions.
    OneOf(Vec<String>),
}

impl Precondition {
    /// Reads the header; several of them are one list.
    ///
    /// # Errors
    /// 400 for what is neither `*` nor a list of entity tags: to ignore it would be to do what the caller wanted to prevent.
    pub fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let headers: Vec<&[u8]> = request.headers().get_all(IF_MATCH).map(HeaderValue::as_bytes).collect();
        if headers.is_empty() {
            return Ok(Self::None);
        }
        let list = headers.join(&b", "[..]);
        parse(&list).ok_or_else(|| bad_request("If-Match must be * or a list of entity tags"))
    }

    /// For what has no version.
    ///
    /// # Errors
    /// 400 when there is the header, for the same reason.
    pub fn refuse(request: &HttpRequest) -> Result<(), ApiError> {
        match request.headers().contains_key(IF_MATCH) {
            true => Err(bad_request(
                "If-Match is for the client itself: secrets have no version",
            )),
            false => Ok(()),
        }
    }

    /// Whether a client is as asked. The comparison is the strong one, so a weak tag never matches.
    pub fn suits(&self, client: &Client) -> bool {
        match self {
            Self::None | Self::Exists => true,
            Self::OneOf(tags) => tags.contains(&tag(client)),
        }
    }
}

/// `*`, or `#entity-tag` with its empty elements; a comma may stand inside of a tag.
fn parse(list: &[u8]) -> Option<Precondition> {
    let mut rest = list.trim_ascii();
    if rest == b"*" {
        return Some(Precondition::Exists);
    }
    let mut tags = Vec::new();
    loop {
        while let Some(after) = rest.strip_prefix(b",") {
            rest = after.trim_ascii_start();
        }
        if rest.is_empty() {
            break;
        }
        let weak = rest.strip_prefix(b"W/");
        let opaque = weak.unwrap_or(rest).strip_prefix(b"\"")?;
        let end = opaque.iter().position(|byte| *byte == b'"')?;
        let (inside, after) = (&opaque[..end], opaque[end + 1..].trim_ascii_start());
        if !inside.iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)) {
            return None;
        }
        // Ours are digits: what is weak or no text is kept as one that none of ours can equal.
        match weak {
            Some(_) => tags.push(String::new()),
            None => tags.push(format!("\"{}\"", String::from_utf8_lossy(inside))),
        }
        if !after.is_empty() && !after.starts_with(b",") {
            return None;
        }
        rest = after;
    }
    (!tags.is_empty()).then_some(Precondition::OneOf(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &str) -> Option<Vec<String>> {
        match parse(list.as_bytes())? {
            Precondition::OneOf(tags) => Some(tags),
            _ => None,
        }
    }

    #[test]
    fn a_list_of_tags_is_read() {
        assert_eq!(tags("\"1\"").unwrap(), ["\"1\""]);
        assert_eq!(tags("\"1\" , \"a,b\",\"\"").unwrap(), ["\"1\"", "\"a,b\"", "\"\""]);
        assert_eq!(tags(" ,, \"1\",, ").unwrap(), ["\"1\""]);
        assert_eq!(parse(b" * "), Some(Precondition::Exists));
    }

    #[test]
    fn a_weak_tag_is_none_that_could_match() {
        assert_eq!(tags("W/\"1\", \"2\"").unwrap(), ["", "\"2\""]);
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        for bad in [
            "",
            ",",
            "1",
            "\"1",
            "1\"",
            "*, \"1\"",
            "\"1\" \"2\"",
            "w/\"1\"",
            "\"1 2\"",
            "**",
            "W/1",
        ] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
