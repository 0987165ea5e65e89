//! The JSON body of an operator's request. If it is malformed, the response names the member and
//! what it must be, or the place where the JSON breaks.
//!
//! The texts of serde are for Rust programmers, and may quote a value, which may be a secret. What
//! a member must be is therefore read from its schema in the OpenAPI document.

use std::cell::Cell;
use std::iter;

use serde::de::value::MapDeserializer;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::{Error, Value};
use utoipa::ToSchema;

use super::error::{malformed, quoted};
use crate::http::error::ApiError;

/// Reads the body.
///
/// # Errors
/// 400 for anything but the expected document.
pub fn parse<T: DeserializeOwned + ToSchema>(body: &[u8]) -> Result<T, ApiError> {
    if body.is_empty() {
        return Err(malformed("the body must be a JSON object, but it is empty"));
    }
    // serde would accept an array of the members in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(malformed(not_an_object(body)));
    }
    serde_json::from_slice(body).map_err(|error| malformed(explain::<T>(body, &error)))
}

/// What is wrong with a body that begins as an object. The document is read a second time, without
/// its types, so that only rejected bodies pay for the explanation.
fn explain<T: DeserializeOwned + ToSchema>(body: &[u8], error: &Error) -> String {
    let members = match members(body) {
        Ok(members) => members,
        Err(error) => return broken(body, &error),
    };
    let schema = BodySchema::of::<T>();
    for (index, (name, _)) in members.iter().enumerate() {
        if !schema.names().any(|known| known == name) {
            return schema.unknown(name);
        }
        if members[..index].iter().any(|(earlier, _)| earlier == name) {
            return format!("{name} is repeated");
        }
    }
    let current = Cell::new(None);
    let entries = members.iter().map(|(name, value)| {
        current.set(Some(name.as_str()));
        (name.as_str(), value.clone())
    });
    let end = iter::from_fn(|| {
        current.set(None);
        None
    });
    let read = T::deserialize(MapDeserializer::<_, Error>::new(entries.chain(end)));
    match (read, current.get()) {
        (Err(_), Some(name)) => format!("{name} must be {}", schema.rule(name)),
        (Err(_), None) => {
            let is_missing = |name: &&str| members.iter().all(|(given, _)| given != name);
            let missing = schema.required().find(is_missing);
            format!("{} must be given", missing.unwrap_or("a member"))
        }
        // Something that is lost when the value is read, such as a name that is repeated in it.
        (Ok(_), _) => format!("a member is malformed at {}", place(error)),
    }
}

/// The members in their order, repeated ones too.
fn members(body: &[u8]) -> Result<Vec<(String, Value)>, Error> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(String, Value)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let members = reader.deserialize_map(Members)?;
    reader.end()?;
    Ok(members)
}

fn not_an_object(body: &[u8]) -> String {
    match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Ok(_) => "the body must be a JSON object".to_owned(),
        Err(error) => broken(body, &error),
    }
}

/// Where a body breaks that is not JSON.
fn broken(body: &[u8], error: &Error) -> String {
    if let Err(error) = std::str::from_utf8(body) {
        let (before, _) = body.split_at(error.valid_up_to());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        return format!("the body is not UTF-8: it breaks at line {line}, column {column}");
    }
    let (text, place) = (error.to_string(), place(error));
    match () {
        () if text.starts_with("number out of range") => format!("a number is out of range at {place}"),
        () if text.starts_with("recursion limit") => format!("the body is nested too deeply at {place}"),
        () if error.is_eof() => format!("the body is not JSON: it ends too early, at {place}"),
        () => format!("the body is not JSON: it breaks at {place}"),
    }
}

fn place(error: &Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// The schema of a body, as in the OpenAPI document.
struct BodySchema {
    /// The schema of the body itself.
    body: Value,
    /// The schemas that it refers to, by name.
    definitions: Vec<(String, Value)>,
}

impl BodySchema {
    fn of<T: ToSchema>() -> Self {
        let mut definitions = Vec::new();
        T::schemas(&mut definitions);
        let definitions = definitions.into_iter();
        Self {
            body: serde_json::to_value(T::schema()).unwrap_or_default(),
            definitions: definitions
                .map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default()))
                .collect(),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let properties = self.body["properties"].as_object().into_iter().flatten();
        properties.map(|(name, _)| name.as_str())
    }

    fn required(&self) -> impl Iterator<Item = &str> {
        let required = self.body["required"].as_array().into_iter().flatten();
        required.filter_map(Value::as_str)
    }

    fn unknown(&self, name: &str) -> String {
        // Only a client ever had this member.
        if name == "serves" && self.names().any(|known| known == "introspection_audiences") {
            return "`serves` is now `introspection_audiences`".to_owned();
        }
        let known: Vec<&str> = self.names().collect();
        format!(
            "{} is not a member: it must be one of {}",
            quoted(name),
            known.join(", ")
        )
    }

    /// What a member must be, as the end of a sentence.
    fn rule(&self, name: &str) -> String {
        self.rule_of(&self.body["properties"][name])
    }

    fn rule_of(&self, schema: &Value) -> String {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next();
            let definition = self.definitions.iter().find(|(known, _)| Some(known.as_str()) == name);
            return definition.map_or_else(|| "of its type".to_owned(), |(_, schema)| self.rule_of(schema));
        }
        if let Some(alternatives) = schema["oneOf"].as_array() {
            return or(alternatives.iter().map(|schema| self.rule_of(schema)));
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        or(types.iter().map(|name| self.rule_of_type(name, schema)))
    }

    fn rule_of_type(&self, name: &str, schema: &Value) -> String {
        match name {
            "string" => rule_of_string(schema),
            "integer" => format!("a whole number{}", range(schema, "minimum", "maximum", "from", "")),
            "number" => format!("a number{}", range(schema, "minimum", "maximum", "from", "")),
            "boolean" => "true or false".to_owned(),
            "array" => {
                let bound = range(schema, "minItems", "maxItems", "of", " items");
                format!("an array{bound}, each {}", self.rule_of(&schema["items"]))
            }
            "object" => "a JSON object".to_owned(),
            other => other.to_owned(),
        }
    }
}

/// The rules of which one applies, `null` as the last.
fn or(rules: impl Iterator<Item = String>) -> String {
    let (nulls, mut rules): (Vec<String>, Vec<String>) = rules.partition(|rule| rule == "null");
    rules.extend(nulls);
    rules.join(", or ")
}

fn rule_of_string(schema: &Value) -> String {
    let values = schema["enum"].as_array().into_iter().flatten();
    let mut values: Vec<String> = values.filter_map(Value::as_str).map(str::to_owned).collect();
    if values.is_empty() {
        values = alternatives(schema["pattern"].as_str().unwrap_or_default()).unwrap_or_default();
    }
    match values.is_empty() {
        true => format!(
            "a string{}",
            range(schema, "minLength", "maxLength", "of", " characters")
        ),
        false => format!("one of {}", values.join(", ")),
    }
}

/// The texts that a pattern such as `^(scope|scp)$` lists.
fn alternatives(pattern: &str) -> Option<Vec<String>> {
    let list = pattern.strip_prefix("^(")?.strip_suffix(")$")?.replace("\\+", "+");
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"|_+-".contains(&byte);
    let is_list = list.bytes().all(is_plain);
    is_list.then(|| list.split('|').map(str::to_owned).collect())
}

/// The bounds in a schema, such as ` from 1 to 500`; nothing if there is no upper bound.
fn range(schema: &Value, min: &str, max: &str, from: &str, unit: &str) -> String {
    match (schema[min].as_i64(), schema[max].as_i64()) {
        (Some(min), Some(max)) => format!(" {from} {min} to {max}{unit}"),
        (None, Some(max)) => format!(" {from} at most {max}{unit}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::api::client_fields::ClientFields;
    use crate::gateway::route::NewRoute;

    /// A body with every kind of member.
    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its parsing is tested")]
    struct Body {
        name: String,
        #[schema(minimum = 1, maximum = 86_400)]
        seconds: Option<i64>,
        #[serde(default)]
        flag: bool,
        #[schema(pattern = "^(at\\+jwt|JWT)$")]
        typ: Option<String>,
        #[schema(max_items = 3)]
        list: Option<Vec<String>>,
        one: Option<Kind>,
    }

    #[derive(Debug, Deserialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        First,
        Second,
    }

    fn detail_of<T: DeserializeOwned + ToSchema>(body: &[u8]) -> String {
        match parse::<T>(body) {
            Err(ApiError::Malformed(detail)) => detail.into(),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("{} is read", String::from_utf8_lossy(body)),
        }
    }

    #[test]
    fn a_member_of_another_type_is_named_with_what_it_must_be() {
        for (body, detail) in [
            (
                r#"{"name":"x","seconds":"600"}"#,
                "seconds must be a whole number from 1 to 86400, or null",
            ),
            (
                r#"{"name":"x","seconds":1.5}"#,
                "seconds must be a whole number from 1 to 86400, or null",
            ),
            (
                r#"{"name":"x","seconds":99999999999999999999}"#,
                "seconds must be a whole number from 1 to 86400, or null",
            ),
            (r#"{"seconds":1,"name":null}"#, "name must be a string"),
            (r#"{"flag":null,"name":"x"}"#, "flag must be true or false"),
            (r#"{"typ":{},"name":"x"}"#, "typ must be one of at+jwt, JWT, or null"),
            (
                r#"{"list":["a",5],"name":"x"}"#,
                "list must be an array of at most 3 items, each a string, or null",
            ),
            (
                r#"{"one":"third","name":"x"}"#,
                "one must be one of first, second, or null",
            ),
            (r#"{"seconds":1}"#, "name must be given"),
            (r#"{"name":"x","name":"y"}"#, "name is repeated"),
        ] {
            assert_eq!(detail_of::<Body>(body.as_bytes()), detail, "{body}");
        }
    }

    #[test]
    fn an_unknown_member_is_escaped_and_bounded() {
        let known = "is not a member: it must be one of flag, list, name, one, seconds, typ";
        assert_eq!(
            detail_of::<Body>(br#"{"name":"x","desc":"b"}"#),
            format!("`desc` {known}")
        );
        let odd = "{\"a\\n\u{202e}`\":1}";
        assert_eq!(
            detail_of::<Body>(odd.as_bytes()),
            format!("`a\\n\\u{{202e}}\\u{{60}}` {known}")
        );
        let long = format!("{{\"{}\":1}}", "x".repeat(5000));
        assert_eq!(
            detail_of::<Body>(long.as_bytes()),
            format!("`{}...` {known}", "x".repeat(64))
        );
        assert_eq!(
            detail_of::<ClientFields>(br#"{"serves":[]}"#),
            "`serves` is now `introspection_audiences`"
        );
        assert!(detail_of::<NewRoute>(br#"{"serves":[]}"#).starts_with("`serves` is not a member"));
    }

    #[test]
    fn json_that_breaks_is_reported_with_line_and_column() {
        let deep = format!("{{\"name\":{}", "[".repeat(5000));
        for (body, detail) in [
            ("", "the body must be a JSON object, but it is empty"),
            ("[1]", "the body must be a JSON object"),
            ("null", "the body must be a JSON object"),
            ("{bad", "the body is not JSON: it breaks at line 1, column 2"),
            (
                "{\n \"name\": \"x\"\n \"seconds\": 1}",
                "the body is not JSON: it breaks at line 3, column 2",
            ),
            (
                "{\"name\":",
                "the body is not JSON: it ends too early, at line 1, column 8",
            ),
            (
                "{\"name\":\"x\"} {}",
                "the body is not JSON: it breaks at line 1, column 14",
            ),
            ("{\"seconds\":1e999}", "a number is out of range at line 1, column 16"),
            ("\u{feff}{}", "the body is not JSON: it breaks at line 1, column 1"),
            ("x", "the body is not JSON: it breaks at line 1, column 1"),
            (&deep, "the body is nested too deeply at line 1, column 135"),
        ] {
            assert_eq!(detail_of::<Body>(body.as_bytes()), detail, "{body:.40}");
        }
        assert_eq!(
            detail_of::<Body>(b"{\"name\":\n\"\xff\"}"),
            "the body is not UTF-8: it breaks at line 2, column 2"
        );
    }

    #[test]
    fn g8_no_value_is_repeated() {
        for body in [
            r#"{"name":"x","seconds":"hunter2"}"#,
            r#"{"name":"x","typ":["hunter2"]}"#,
            r#"{"name":"x","one":"hunter2"}"#,
            r#"{"name":"x","list":"hunter2"}"#,
            r#"{"name":"hunter2" "x"}"#,
            r#"{"name":["hunter2"]}"#,
        ] {
            let detail = detail_of::<Body>(body.as_bytes());
            assert!(!detail.contains("hunter2"), "{detail}");
        }
    }
}
