//! The documents and messages name the bounds of `oauth/bounds.rs`.

use mintage::config::Config;
use mintage::oauth::bounds::{
    MAX_ADMIN_DOCUMENT, MAX_AUDIENCE, MAX_AUDIENCES, MAX_AUDIENCES_BYTES, MAX_CUSTOM_CLAIMS, MAX_CUSTOM_CLAIMS_DEPTH,
    MAX_FORM, MAX_ISSUED_TOKEN, MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_LABELS, MAX_LABELS_BYTES, MAX_NAME, MAX_RESOURCES,
    MAX_SCOPE, MAX_SCOPE_TOKENS, MAX_SECRET, MAX_TOKEN,
};

const PROTOCOL: &str = include_str!("../../docs/protocol.md");
const ADMIN: &str = include_str!("../../docs/admin.md");
const IMPORT: &str = include_str!("../../docs/import.md");
const EXAMPLE: &str = include_str!("../../mintage.example.toml");
const CLIENT_FIELDS: &str = include_str!("../../src/api/client_fields.rs");
const LABELS: &str = include_str!("../../src/oauth/labels.rs");
const ROUTE: &str = include_str!("../../src/gateway/route.rs");

/// A number as the documents write it: `4,000`.
fn written(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

#[track_caller]
fn assert_row(document: &str, beginning: &str, words: &[String]) {
    let row = document.lines().find(|line| line.contains(beginning));
    let row = row.unwrap_or_else(|| panic!("no line begins with {beginning}"));
    for word in words {
        assert!(row.contains(word.as_str()), "{word:?} is not in {row}");
    }
}

#[test]
fn the_documents_name_the_bounds_of_the_code() {
    let audiences = [
        format!("at most {MAX_AUDIENCES}"),
        format!("each at most {MAX_AUDIENCE} bytes"),
        format!("together at most {}", written(MAX_AUDIENCES_BYTES)),
    ];
    let scope = format!("{} bytes", written(MAX_SCOPE));
    let admin_body = format!("{} KiB", MAX_ADMIN_DOCUMENT >> 10);
    assert_row(PROTOCOL, "id=\"p6\"", std::slice::from_ref(&admin_body));
    let token = format!("{} bytes", written(MAX_ISSUED_TOKEN));
    let most = [
        format!("{MAX_AUDIENCE} bytes"),
        format!("at most {MAX_RESOURCES}"),
        token,
    ];
    assert_row(PROTOCOL, "id=\"p21\"", &most);
    assert_row(
        PROTOCOL,
        "id=\"p51\"",
        &[format!("longer than {} KiB", MAX_TOKEN >> 10)],
    );
    assert_row(ADMIN, "| `name` |", &[format!("1 to {MAX_NAME} characters")]);
    assert_row(
        ADMIN,
        "| `scope` |",
        &[format!("at most {MAX_SCOPE_TOKENS}"), scope.clone()],
    );
    assert_row(ADMIN, "| `audiences` |", &audiences);
    let claims = [
        format!("at most {} bytes", written(MAX_CUSTOM_CLAIMS)),
        format!("{MAX_CUSTOM_CLAIMS_DEPTH} levels"),
    ];
    assert_row(ADMIN, "| `claims` |", &claims);
    assert_row(PROTOCOL, "id=\"p108\"", &claims);
    let labels = [
        format!("at most {MAX_LABELS}"),
        format!("1 to {MAX_LABEL_KEY} letters"),
        format!("at most {MAX_LABEL_VALUE} characters"),
        format!("{} bytes", written(MAX_LABELS_BYTES)),
    ];
    assert_row(ADMIN, "| `labels` |", &labels);
    assert_row(
        ADMIN,
        "| `default_audience` |",
        &[format!("1 to {MAX_AUDIENCE} printable")],
    );
    assert_row(ADMIN, "| 408, 413 |", &[admin_body]);
    assert_row(IMPORT, "| `scope` |", &[scope]);
    assert_row(IMPORT, "| `secret` |", &[format!("{} bytes", written(MAX_SECRET))]);
    assert_row(IMPORT, "| `audiences`, ", &audiences);
    assert_eq!(Config::default().server.max_body.0, MAX_FORM);
    let kib = format!("{}KiB", MAX_FORM >> 10);
    assert!(EXAMPLE.contains(&format!("max_body = \"{kib}\"")) && EXAMPLE.contains(&format!("At least {kib}")));
}

/// Texts and schemas are literals.
#[test]
fn the_messages_and_schemas_name_the_bounds_of_the_code() {
    let scope = format!("at most {MAX_SCOPE} bytes");
    let scope_schema = format!("max_length = {MAX_SCOPE})");
    let audience = format!("at most {MAX_AUDIENCE} bytes");
    for (source, words, times) in [
        (CLIENT_FIELDS, &scope, 1),
        (CLIENT_FIELDS, &scope_schema, 2),
        (CLIENT_FIELDS, &audience, 1),
        (CLIENT_FIELDS, &format!("together at most {MAX_AUDIENCES_BYTES}"), 1),
        (CLIENT_FIELDS, &format!("max_length = {MAX_NAME})"), 1),
        (CLIENT_FIELDS, &format!("{{1,{MAX_LABEL_KEY}}}$"), 1),
        (LABELS, &format!("at most {MAX_LABELS} texts"), 1),
        (LABELS, &format!("1 to {MAX_LABEL_KEY} letters"), 1),
        (LABELS, &format!("at most {MAX_LABEL_VALUE} characters"), 1),
        (LABELS, &format!("at most {MAX_LABELS_BYTES} bytes"), 1),
        (ROUTE, &scope, 1),
        (ROUTE, &scope_schema, 1),
        (ROUTE, &audience, 1),
        (ROUTE, &format!("max_length = {MAX_AUDIENCE})"), 1),
    ] {
        assert_eq!(source.matches(words.as_str()).count(), times, "{words}");
    }
}
