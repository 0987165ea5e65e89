//! Members of a JSON entry. Errors name the member and never its value, which may be a secret.

use serde_json::{Map, Value};

/// An entry.
pub type Members = Map<String, Value>;

/// The members of an entry.
///
/// # Errors
/// When the entry is not an object.
pub fn object(entry: &Value) -> Result<&Members, String> {
    entry
        .as_object()
        .ok_or_else(|| "it is not a client: not a JSON object".to_owned())
}

/// A string; `None` when it is missing, `null` or empty.
///
/// # Errors
/// When the member has another type.
pub fn text<'a>(members: &'a Members, name: &str) -> Result<Option<&'a str>, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("{name} must be a string")),
    }
}

/// A list of strings; empty when it is missing or `null`. A string is also accepted, as in Hydra's
/// database: the list as JSON, or its items separated by `|`.
///
/// # Errors
/// When the member has another type.
pub fn texts(members: &Members, name: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("{name} must be a list of strings");
    match members.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) if text.starts_with('[') => serde_json::from_str(text).map_err(|_| wrong()),
        Some(Value::String(text)) => {
            let parts = text.split('|').filter(|part| !part.is_empty());
            Ok(parts.map(str::to_owned).collect())
        }
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect(),
        Some(_) => Err(wrong()),
    }
}

/// A boolean; `default` when it is missing or `null`.
///
/// # Errors
/// When the member has another type.
pub fn flag(members: &Members, name: &str, default: bool) -> Result<bool, String> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(format!("{name} must be true or false")),
    }
}

/// An integer, or a string that contains one; `None` when it is missing, `null` or empty.
///
/// # Errors
/// When the member is anything else.
pub fn number(members: &Members, name: &str) -> Result<Option<i64>, String> {
    let wrong = || format!("{name} must be a whole number");
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).map_err(|_| wrong()),
        Some(value) => value.as_i64().map(Some).ok_or_else(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(json: Value) -> Members {
        match json {
            Value::Object(members) => members,
            _ => panic!("not an object"),
        }
    }

    #[test]
    fn missing_null_and_empty_members_are_equivalent() {
        let members = members(serde_json::json!({"null": null, "empty": ""}));
        for name in ["missing", "null", "empty"] {
            assert_eq!(
                (text(&members, name), number(&members, name)),
                (Ok(None), Ok(None)),
                "{name}"
            );
            assert_eq!(texts(&members, name), Ok(vec![]), "{name}");
        }
        assert_eq!(
            (flag(&members, "missing", true), flag(&members, "null", false)),
            (Ok(true), Ok(false))
        );
    }

    #[test]
    fn lists_may_be_lists_or_strings() {
        let lists = serde_json::json!({
            "list": ["a", "b"], "bars": "a|b", "json": "[\"a\", \"b\"]", "numbers": [1], "broken": "[a",
        });
        let members = members(lists);
        for name in ["list", "bars", "json"] {
            assert_eq!(texts(&members, name), Ok(vec!["a".into(), "b".into()]), "{name}");
        }
        assert!(texts(&members, "numbers").is_err() && texts(&members, "broken").is_err());
    }

    #[test]
    fn g8_an_invalid_member_is_named_without_its_value() {
        let members = members(serde_json::json!({"a": 4711, "b": "4711x", "c": {"d": "4711"}}));
        for wrong in [
            text(&members, "a").unwrap_err(),
            texts(&members, "c").unwrap_err(),
            number(&members, "b").unwrap_err(),
            flag(&members, "b", true).unwrap_err(),
        ] {
            assert!(wrong.contains(" must be ") && !wrong.contains("4711"), "{wrong}");
        }
    }
}
