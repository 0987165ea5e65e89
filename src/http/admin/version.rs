//! Versions of a client: `ETag`, and `If-Match`, which prevents lost updates (RFC 9110 §13.1.1).
//!
//! The version of a client is the time of its last update, which increases with every update.

use actix_web::http::header::{EntityTag, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, TryIntoHeaderValue};
use utoipa::IntoParams;

use super::error::bad_request;
use crate::http::error::ApiError;
use crate::oauth::client::Client;

/// The entity tag of a client.
pub fn etag(client: &Client) -> HeaderValue {
    tag(client).try_into_value().expect("quotes and digits")
}

fn tag(client: &Client) -> EntityTag {
    EntityTag::new_strong(client.updated_at.0.to_string())
}

/// The header, as the OpenAPI document describes it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the description of its member is read")]
pub struct IfMatchParameter {
    /// The expected version: the ETag of an earlier response
    #[param(rename = "If-Match", required = false)]
    if_match: String,
}

/// The header, as the OpenAPI document describes it.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "only the description of its member is read")]
pub struct IfNoneMatchParameter {
    /// `*`: the client must not exist
    #[param(rename = "If-None-Match", required = false)]
    if_none_match: String,
}

/// Whether the client must not exist: `If-None-Match: *`.
///
/// # Errors
/// 400 for any other value: a tag says for which version nothing shall happen, which no caller that
/// writes means.
pub fn must_be_new(headers: &HeaderMap) -> Result<bool, ApiError> {
    let mut given = headers.get_all(IF_NONE_MATCH);
    match (given.next(), given.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().trim_ascii() == b"*" => Ok(true),
        _ => Err(bad_request("If-None-Match must be *")),
    }
}

/// What `If-Match` requires of the current client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing: the header is absent.
    None,
    /// That it exists.
    Exists,
    /// That it has one of these versions.
    OneOf(Vec<EntityTag>),
}

impl Precondition {
    /// Reads the header. Several headers are one list.
    ///
    /// # Errors
    /// 400 for anything but `*` or a list of entity tags. Ignoring a malformed condition would do
    /// what the caller wanted to prevent.
    pub fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let headers: Vec<&[u8]> = headers.get_all(IF_MATCH).map(HeaderValue::as_bytes).collect();
        if headers.is_empty() {
            return Ok(Self::None);
        }
        let list = headers.join(&b", "[..]);
        parse(&String::from_utf8_lossy(&list)).ok_or_else(|| bad_request("If-Match must be * or a list of entity tags"))
    }

    /// For a resource without versions.
    ///
    /// # Errors
    /// 400 if the header is present, for the same reason.
    pub fn reject(headers: &HeaderMap) -> Result<(), ApiError> {
        match headers.contains_key(IF_MATCH) {
            true => Err(bad_request("If-Match cannot be used here: secrets have no version")),
            false => Ok(()),
        }
    }

    /// Whether a client is as required. The comparison is strong, so a weak tag never matches.
    pub fn matches(&self, client: &Client) -> bool {
        match self {
            Self::None | Self::Exists => true,
            Self::OneOf(tags) => tags.iter().any(|known| known.strong_eq(&tag(client))),
        }
    }
}

/// Parses `*` or `#entity-tag`, with empty elements, and with commas inside tags. actix-web's
/// `IfMatch` is not strict enough: it drops malformed tags and splits a tag at a comma. `None` for
/// anything else.
pub fn parse(list: &str) -> Option<Precondition> {
    if list.trim_ascii() == "*" {
        return Some(Precondition::Exists);
    }
    let mut quoted = false;
    let elements = list.split(|character| {
        quoted ^= character == '"';
        character == ',' && !quoted
    });
    let elements = elements.map(str::trim_ascii).filter(|element| !element.is_empty());
    let tags: Vec<EntityTag> = elements.map(|element| element.parse().ok()).collect::<Option<_>>()?;
    (!tags.is_empty()).then_some(Precondition::OneOf(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(list: &str) -> Option<Vec<String>> {
        match parse(list)? {
            Precondition::OneOf(tags) => Some(tags.iter().map(EntityTag::to_string).collect()),
            _ => None,
        }
    }

    #[test]
    fn a_list_of_tags_is_read() {
        assert_eq!(tags("\"1\"").unwrap(), ["\"1\""]);
        assert_eq!(tags("\"1\" , \"a,b\",\"\"").unwrap(), ["\"1\"", "\"a,b\"", "\"\""]);
        assert_eq!(tags(" ,, \"1\",, ").unwrap(), ["\"1\""]);
        assert_eq!(parse(" * "), Some(Precondition::Exists));
    }

    #[test]
    fn a_weak_tag_is_none_that_could_match() {
        let Some(Precondition::OneOf(tags)) = parse("W/\"1\", \"2\"") else {
            panic!("a list");
        };
        let matches = |tag: &str| {
            tags.iter()
                .any(|known| known.strong_eq(&EntityTag::new_strong(tag.into())))
        };
        assert!(!matches("1") && matches("2"));
    }

    #[test]
    fn what_is_no_list_of_tags_is_rejected() {
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
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
