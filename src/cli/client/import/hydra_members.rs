//! The members of Ory Hydra's clients beyond those that its other file reads: which become labels,
//! and which cannot be carried.

use serde_json::Value;

use super::json::{Members, text, texts};
use crate::oauth::labels::{GivenLabels, Labels};

/// The number of members that a warning names, and the characters of a name that it shows.
const MAX_NAMED: usize = 50;
const MAX_NAME_SHOWN: usize = 60;

/// Members that are read, and those with which Hydra manages its clients.
const WITHOUT_LOSS: [&str; 19] = [
    "client_id",
    "id",
    "client_name",
    "client_secret",
    "client_secret_expires_at",
    "grant_types",
    "scope",
    "audience",
    "token_endpoint_auth_method",
    "client_credentials_grant_access_token_lifespan",
    "owner",
    "metadata",
    "created_at",
    "updated_at",
    "pk",
    "pk_deprecated",
    "nid",
    "registration_access_token",
    "registration_access_token_signature",
];

/// Members with the value that Hydra gives them by itself.
const DEFAULTS: [(&str, &str); 4] = [
    ("response_types", "code"),
    ("subject_type", "public"),
    ("userinfo_signed_response_alg", "none"),
    ("access_token_strategy", "jwt"),
];

/// The labels of a client, and the names of the members that are left out.
pub struct Described {
    /// From `owner` and `metadata`.
    pub labels: Labels,
    left_out: Vec<String>,
}

/// Reads `owner` and `metadata`, and finds the members that are left out.
pub fn described(client: &Members) -> Described {
    let mut described = Described {
        labels: Labels::default(),
        left_out: Vec::new(),
    };
    match text(client, "owner") {
        Ok(None) => {}
        Ok(Some(owner)) => described.add("owner", "owner", owner),
        Err(_) => described.left_out.push("owner".to_owned()),
    }
    let metadata = client.get("metadata").filter(|value| !is_nothing(value));
    match metadata.map(|metadata| (metadata.as_object().cloned(), metadata.as_str())) {
        None => {}
        Some((Some(members), _)) => described.add_all(&members),
        // Hydra's database has it as JSON in a string.
        Some((None, Some(json))) => match serde_json::from_str(json) {
            Ok(Value::Object(members)) => described.add_all(&members),
            _ => described.left_out.push("metadata".to_owned()),
        },
        Some((None, None)) => described.left_out.push("metadata".to_owned()),
    }
    let grants = texts(client, "grant_types").unwrap_or_default();
    if grants.iter().any(|grant| grant != "client_credentials") {
        let name = "grant_types other than client_credentials";
        described.left_out.push(name.to_owned());
    }
    let lost = |(name, value): &(&String, &Value)| {
        let is_default = |(member, default): &(&str, &str)| member == name && is_only(value, default);
        !WITHOUT_LOSS.contains(&name.as_str())
            && *name != "registration_client_uri"
            && !is_nothing(value)
            && !DEFAULTS.iter().any(is_default)
    };
    let names = client.iter().filter(lost).map(|(name, _)| shown(name));
    described.left_out.extend(names);
    described
}

impl Described {
    fn add_all(&mut self, metadata: &Members) {
        for (key, value) in metadata {
            let name = format!("metadata.{}", shown(key));
            match value {
                Value::Null => {}
                Value::String(text) => self.add(&name, key, text),
                Value::Bool(_) | Value::Number(_) => self.add(&name, key, &value.to_string()),
                Value::Array(_) | Value::Object(_) => self.left_out.push(name),
            }
        }
    }

    /// Adds a label if all labels are then within the bounds, and none has this key.
    fn add(&mut self, name: &str, key: &str, value: &str) {
        let mut labels = self.labels.to_map();
        let is_new = labels
            .insert(key.to_owned(), value.to_owned())
            .is_none_or(|other| other == value);
        match Labels::of(labels) {
            Ok(labels) if is_new => self.labels = labels,
            _ => self.left_out.push(name.to_owned()),
        }
    }

    /// The labels as a member of a client.
    pub fn given(&self) -> GivenLabels {
        GivenLabels(Ok(self.labels.clone()))
    }

    /// What an operator should know.
    pub fn warning(&self) -> Option<String> {
        let more = match self.left_out.len().saturating_sub(MAX_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let named: Vec<&str> = self.left_out.iter().take(MAX_NAMED).map(String::as_str).collect();
        (!named.is_empty()).then(|| format!("these members are not imported: {}{more}", named.join(", ")))
    }
}

/// Whether a value says no more than that there is none. The database has lists and objects as JSON
/// in a string.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.as_str(), "" | "{}" | "[]" | "null"),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Whether a value is this text, or a list of it alone, also as JSON in a string.
fn is_only(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string == text || *string == format!("[\"{text}\"]"),
        Value::Array(items) => items.len() == 1 && items[0] == text,
        _ => false,
    }
}

/// A name as it is shown: quoted unless it is a word, so that control characters have no effect on
/// the terminal.
fn shown(name: &str) -> String {
    let is_word = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
        (1..=MAX_NAME_SHOWN).contains(&name.len()) && name.bytes().all(allowed)
    };
    match is_word(name) {
        true => name.to_owned(),
        false => format!("{:?}", name.chars().take(MAX_NAME_SHOWN).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(client: Value) -> Described {
        described(client.as_object().unwrap())
    }

    #[test]
    fn owner_and_metadata_become_labels() {
        let metadata = json!({"team": "x", "tier": 2, "critical": true, "note": null});
        for metadata in [metadata.clone(), Value::String(metadata.to_string())] {
            let found = of(json!({"owner": "anna", "metadata": metadata}));
            let expected = r#"{"critical":"true","owner":"anna","team":"x","tier":"2"}"#;
            assert_eq!(found.labels.object().as_deref(), Some(expected));
            assert_eq!(found.warning(), None);
        }
    }

    #[test]
    fn metadata_that_cannot_be_a_label_is_named() {
        let metadata = json!({
            "team": "x", "limits": {"rate": 5}, "tags": ["a"], "a key\u{7}": "x", "long": "x".repeat(257), "owner": "bert",
        });
        let found = of(json!({"owner": "anna", "metadata": metadata}));
        assert_eq!(found.labels.object().as_deref(), Some(r#"{"owner":"anna","team":"x"}"#));
        let warning = found.warning().unwrap();
        let expected = "these members are not imported: metadata.\"a key\\u{7}\", metadata.limits, metadata.long, \
                        metadata.owner, metadata.tags";
        assert_eq!(warning, expected);
        for metadata in [json!(["a"]), json!("{"), json!(7)] {
            let warning = of(json!({"metadata": metadata})).warning().unwrap();
            assert_eq!(warning, "these members are not imported: metadata");
        }
    }

    #[test]
    fn every_member_that_is_left_out_is_named() {
        let found = of(json!({
            "grant_types": ["client_credentials", "refresh_token"], "redirect_uris": ["https://a.example/cb"],
            "contacts": ["a@b.example"], "jwks": {"keys": [{}]}, "skip_consent": true, "access_token_strategy": "opaque",
            "response_types": ["code", "token"], "refresh_token_grant_access_token_lifespan": "1h0m0s", "own": 1,
        }));
        let expected = "these members are not imported: grant_types other than client_credentials, \
                        access_token_strategy, contacts, jwks, own, redirect_uris, \
                        refresh_token_grant_access_token_lifespan, response_types, skip_consent";
        assert_eq!(found.warning().unwrap(), expected);
    }

    #[test]
    fn members_with_hydras_defaults_are_not_named() {
        let api = json!({
            "client_id": "a", "grant_types": ["client_credentials"], "response_types": ["code"], "redirect_uris": null,
            "contacts": [], "jwks": {}, "metadata": {}, "owner": "", "skip_consent": false, "subject_type": "public",
            "userinfo_signed_response_alg": "none", "client_secret_expires_at": 0, "created_at": "2023-01-01T00:00:00Z",
            "registration_access_token": "ory_at_x", "registration_client_uri": "https://hydra.example/",
            "jwt_bearer_grant_access_token_lifespan": null, "access_token_strategy": "",
        });
        let row = json!({
            "id": "a", "grant_types": "[\"client_credentials\"]", "response_types": "[\"code\"]", "redirect_uris": "[]",
            "jwks": "null", "metadata": "{}", "pk": "5294a18e", "nid": "x", "pk_deprecated": 3, "owner": "",
        });
        for client in [api, row] {
            let found = of(client);
            assert_eq!((found.warning(), found.labels.is_empty()), (None, true));
        }
    }
}
