//! Resource indicators (RFC 8707 §2): absolute URIs without a fragment.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

/// Maximum length of an audience's URI, in bytes.
pub const MAX_RESOURCE: usize = 1024;

/// Whether `text` is an absolute URI without a fragment, in the characters that RFC 3986 allows.
///
/// URIs are compared as text. Nothing is normalized, so each audience has one spelling.
pub fn is_absolute_uri(text: &str) -> bool {
    let in_charset = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte));
    in_charset && text.len() <= MAX_RESOURCE && url::Url::parse(text).is_ok()
}

/// The JSON schema of such a URI. Every valid URI matches it.
pub fn uri_schema() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(
            r"^[A-Za-z][A-Za-z0-9+.\-]*:[A-Za-z0-9\-._~:/?\[\]@!$&'()*+,;=%]*$",
        ))
        .max_length(Some(MAX_RESOURCE))
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
}
