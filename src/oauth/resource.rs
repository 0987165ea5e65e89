//! Audiences (RFC 7519 §4.1.3): any text without spaces. Resource indicators (RFC 8707 §2): those
//! audiences that are absolute URIs without a fragment.

use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::bounds::MAX_AUDIENCE;

/// Whether `text` may be stored as an audience: 1 to 512 printable ASCII characters without spaces
/// (docs/protocol.md#p107).
pub fn is_audience(text: &str) -> bool {
    text.len() <= MAX_AUDIENCE && is_stored_audience(text)
}

/// Whether `text` is an audience of any length, as earlier versions stored them. Without spaces,
/// because several are stored as one text.
pub fn is_stored_audience(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, 0x21..=0x7e))
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
        .pattern(Some("^[!-~]+$"))
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
    fn p107_an_audience_is_1_to_512_printable_characters_without_spaces() {
        for good in [
            "rabbitmq",
            "shop-api",
            "\"\\",
            "!~",
            "https://api.example",
            &"x".repeat(512),
        ] {
            assert!(is_audience(good), "{good}");
        }
        for bad in ["", " ", "a b", "tab\t", "é", "a\u{7f}", &"x".repeat(513)] {
            assert!(!is_audience(bad), "{bad:?}");
        }
        assert!(is_stored_audience(&"x".repeat(513)));
    }
}
