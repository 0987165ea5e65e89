//! What operators send with their requests: entity tags and cursors.

use std::fmt::{Debug, Display};

use actix_web::http::header::EntityTag;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mintage::http::parsers::{Precondition, decode_cursor, encode_cursor, parse_if_match};
use mintage::oauth::client::ClientId;
use mintage::oauth::token_id::TokenId;

/// `If-Match`: every tag of the list is read, and nothing else stands there.
pub fn if_match(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    tags_of_any_text(&text);
    let Some(precondition) = parse_if_match(&text) else {
        return;
    };
    match &precondition {
        Precondition::None => panic!("a header that is there asks for something"),
        Precondition::Exists => assert_eq!(text.trim_ascii(), "*"),
        Precondition::OneOf(tags) => {
            assert!(!tags.is_empty());
            let mut rest = &*text;
            for tag in tags.iter().map(ToString::to_string) {
                let (between, after) = rest.split_once(&tag).expect("a tag stands in the header");
                assert_separates(between);
                rest = after;
            }
            assert_separates(rest);
            let written: Vec<String> = tags.iter().map(ToString::to_string).collect();
            assert_eq!(
                parse_if_match(&written.join(", ")),
                Some(precondition),
                "the same when written again"
            );
        }
    }
}

/// Tags of whatever characters they may have are read as they are, in a list too.
fn tags_of_any_text(text: &str) {
    let opaque: String = text.chars().filter(|c| matches!(c, '!' | '#'..='~')).collect();
    let tags = vec![
        EntityTag::new_strong(opaque.clone()),
        EntityTag::new_weak(opaque.clone()),
    ];
    let header = format!("\"{opaque}\" ,, W/\"{opaque}\"");
    assert_eq!(parse_if_match(&header), Some(Precondition::OneOf(tags)), "{header}");
}

fn assert_separates(text: &str) {
    assert!(
        text.chars().all(|c| c == ',' || c.is_ascii_whitespace()),
        "{text:?} is ignored"
    );
}

/// A cursor: accepted by the one list that wrote it, exactly as it was written.
pub fn cursor(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        one_list_accepts(text);
    }
    one_list_accepts(&URL_SAFE_NO_PAD.encode(data));
}

fn one_list_accepts(text: &str) {
    let accepted = [
        accepts(text, "clients", ClientId::parse),
        accepts(text, "audit", |id| id.parse::<i64>().ok()),
        accepts(text, "tokens a", TokenId::parse),
        accepts(text, "tokens a b", TokenId::parse),
    ];
    let lists = accepted.iter().filter(|accepted| **accepted).count();
    assert!(lists <= 1, "{text:?} is a cursor of {lists} lists");
}

fn accepts<P: Display + Debug + PartialEq>(text: &str, list: &str, parse: impl Fn(&str) -> Option<P>) -> bool {
    if let Some(position) = parse(text) {
        let cursor = encode_cursor(list, &position);
        assert_eq!(
            decode_cursor(list, &cursor, &parse),
            Some(position),
            "a cursor of its own"
        );
    }
    let position = decode_cursor(list, text, &parse);
    if let Some(position) = &position {
        assert_eq!(encode_cursor(list, position), text, "written as it was read");
    }
    position.is_some()
}
