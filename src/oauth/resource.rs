//! Resource indicators (RFC 8707 §2): absolute URIs without a fragment.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::bounds::MAX_AUDIENCE;

/// Whether `text` may be stored as an audience: an absolute URI that a token has room for.
pub fn is_audience(text: &str) -> bool {
    text.len() <= MAX_AUDIENCE && is_absolute_uri(text)
}

/// Whether `text` is an absolute URI without a fragment, in the characters that RFC 3986 allows.
///
/// URIs are compared as text. Nothing is normalized, so each audience has one spelling.
pub fn is_absolute_uri(text: &str) -> bool {
    let in_charset = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte));
    in_charset && url::Url::parse(text).is_ok()
}

/// The JSON schema of an audience. Every valid one matches it.
pub fn audience_schema() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(
            r"^[A-Za-z][A-Za-z0-9+.\-]*:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*$",
        ))
        .max_length(Some(MAX_AUDIENCE))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p21_a_resource_is_an_absolute_uri_without_fragment() {
        for good in [
            "https://api.example.com",
            "https://api.example.com/v1?x=1",
            "urn:example:orders",
        ] {
            assert!(is_absolute_uri(good), "{good}");
        }
        for bad in [
            "",
            "orders",
            "/orders",
            "https://a/#f",
            "https://a/#",
            "https://a b",
            "https://é",
            "https://",
        ] {
            assert!(!is_absolute_uri(bad), "{bad}");
        }
    }

    #[test]
    fn p21_an_audience_has_at_most_512_bytes() {
        let of_length = |length: usize| format!("urn:{}", "x".repeat(length - 4));
        assert!(is_audience(&of_length(512)));
        assert!(!is_audience(&of_length(513)) && is_absolute_uri(&of_length(513)));
    }
}
