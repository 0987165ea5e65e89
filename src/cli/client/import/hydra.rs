//! Ory Hydra's clients: as printed by its API and command line, or as stored in its database, with
//! secret hashes.

use serde_json::Value;

use super::entry::{Entry, ForeignSecret, Machine, NotAccepted, Place};
use super::hydra_members::described;
use super::json::{Members, number, object, text, texts};
use crate::api::client_fields::ClientFields;
use crate::config::Duration;
use crate::oauth::password_hash::PasswordHash;
use crate::time::UnixMillis;

const LIFESPAN: &str = "client_credentials_grant_access_token_lifespan";

/// Reads all clients of some documents. A document is a client, a list of clients, or an object
/// with a list in `items` or `clients`.
pub fn entries(documents: &[Value]) -> Vec<Entry> {
    let mut clients = Vec::new();
    for document in documents {
        collect(document, &mut clients);
    }
    (1..)
        .zip(clients)
        .map(|(number, client)| entry(number, client))
        .collect()
}

fn collect<'a>(value: &'a Value, clients: &mut Vec<&'a Value>) {
    let list = match value {
        Value::Array(list) => Some(list),
        Value::Object(members) => members
            .get("items")
            .or_else(|| members.get("clients"))
            .and_then(Value::as_array),
        _ => None,
    };
    match list {
        Some(list) => list.iter().for_each(|item| collect(item, clients)),
        None => clients.push(value),
    }
}

fn entry(number: usize, client: &Value) -> Entry {
    let id = |members: &Members| -> Result<String, NotAccepted> {
        // Before the database adopted the API's name, the column was `id`.
        let id = text(members, "client_id")?.or(text(members, "id")?);
        Ok(id.unwrap_or_default().to_owned())
    };
    let members = object(client).map_err(NotAccepted::from);
    let (id, machine) = match members.and_then(|members| Ok((id(members)?, members))) {
        Ok((id, members)) => (id, machine(members)),
        Err(wrong) => (String::new(), Err(wrong)),
    };
    Entry {
        place: Place::Client(number),
        id,
        machine,
    }
}

fn machine(client: &Members) -> Result<Machine, NotAccepted> {
    if !texts(client, "grant_types")?
        .iter()
        .any(|grant| grant == "client_credentials")
    {
        return Err(NotAccepted::Skipped("it does not use the client_credentials grant"));
    }
    let method = text(client, "token_endpoint_auth_method")?.unwrap_or("client_secret_basic");
    match method {
        "client_secret_basic" | "client_secret_post" => {}
        "none" => return Err(NotAccepted::Skipped("it is a public client, without a secret")),
        _ => return Err("it does not authenticate with a secret".into()),
    }
    let described = described(client);
    let fields = ClientFields {
        name: text(client, "client_name")?.map(str::to_owned),
        // Empty is no scope; a document without the member says nothing.
        scope: client
            .contains_key("scope")
            .then_some(text(client, "scope")?.unwrap_or_default().to_owned()),
        audiences: client.contains_key("audience").then_some(texts(client, "audience")?),
        auth_methods: Some(vec![method.to_owned()]),
        // Without a value, it is the default; a document without the member says nothing.
        ttl_seconds: client.contains_key(LIFESPAN).then_some(ttl(client)?),
        labels: (!described.labels.is_empty()).then(|| Some(described.given())),
        ..ClientFields::default()
    };
    Ok(Machine {
        fields,
        update: None,
        secrets: vec![secret(client)?],
        warnings: described.warning().into_iter().collect(),
    })
}

fn secret(client: &Members) -> Result<ForeignSecret, NotAccepted> {
    let Some(secret) = text(client, "client_secret")? else {
        return Err("it has no client_secret: Hydra's API omits it, its database has it (docs/import.md)".into());
    };
    // 0 means that the secret does not expire.
    let expires_at = number(client, "client_secret_expires_at")?.filter(|seconds| *seconds != 0);
    let expires_at = expires_at.map(UnixMillis::from_seconds);
    match PasswordHash::looks_like_one(secret) {
        true => ForeignSecret::hashed(secret, expires_at),
        false => ForeignSecret::plain(secret, expires_at),
    }
}

/// The lifetime of tokens in seconds: `"1h0m0s"` in the API, nanoseconds in the database.
fn ttl(client: &Members) -> Result<Option<i64>, NotAccepted> {
    if let Some(Value::Number(_)) = client.get(LIFESPAN) {
        return Ok(number(client, LIFESPAN)?.map(|nanoseconds| nanoseconds / 1_000_000_000));
    }
    let Some(text) = text(client, LIFESPAN)? else {
        return Ok(None);
    };
    let time: Duration = text
        .parse()
        .map_err(|_| format!("{LIFESPAN} must be a time, such as 1h0m0s"))?;
    Ok(Some(time.as_seconds()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PBKDF2: &str =
        "$pbkdf2-sha256$i=25000,l=32$c2FsdHNhbHRzYWx0c2FsdA$c2FsdHNhbHRzYWx0c2FsdHNhbHRzYWx0c2FsdHNhbHQ";

    fn client() -> Value {
        json!({
            "client_id": "orders", "client_name": "Orders", "grant_types": ["client_credentials", "refresh_token"],
            "scope": "a b", "audience": ["https://orders.example", "shop-api"], "client_secret": PBKDF2,
            "client_secret_expires_at": 0, "token_endpoint_auth_method": "client_secret_post",
            "client_credentials_grant_access_token_lifespan": "1h30m0s", "metadata": {"team": "x"}, "redirect_uris": null,
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut client = client();
        client[name] = value;
        client
    }

    fn one(client: Value) -> Entry {
        entries(&[client]).remove(0)
    }

    fn not_accepted(client: Value) -> NotAccepted {
        one(client).machine.err().unwrap()
    }

    #[test]
    fn a_client_is_read_with_all_supported_members() {
        let entry = one(client());
        let machine = entry.machine.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let fields = machine.fields;
        assert_eq!((entry.id.as_str(), fields.name.as_deref()), ("orders", Some("Orders")));
        assert_eq!(
            (fields.scope.as_deref(), fields.ttl_seconds),
            (Some("a b"), Some(Some(5400)))
        );
        assert_eq!(
            fields.audiences,
            Some(vec!["https://orders.example".to_owned(), "shop-api".to_owned()])
        );
        assert_eq!(fields.auth_methods, Some(vec!["client_secret_post".to_owned()]));
        assert!(machine.secrets[0].expires_at.is_none());
        let labels = fields.labels.flatten().unwrap().0.unwrap();
        assert_eq!(labels.object().as_deref(), Some(r#"{"team":"x"}"#));
        let warning = "these members are not imported: grant_types other than client_credentials";
        assert_eq!(machine.warnings, [warning]);
    }

    #[test]
    fn clients_may_be_single_in_lists_or_database_rows() {
        let mut row = with("id", json!("orders"));
        row.as_object_mut().unwrap().remove("client_id");
        row["grant_types"] = json!("client_credentials|refresh_token");
        row["client_credentials_grant_access_token_lifespan"] = json!(5_400_000_000_000_i64);
        for documents in [
            vec![client()],
            vec![json!([client()])],
            vec![json!({"items": [client()]})],
            vec![json!({"clients": [client()]})],
            vec![row],
        ] {
            let entry = entries(&documents).remove(0);
            assert_eq!(entry.id, "orders");
            assert_eq!(
                entry.machine.ok().unwrap().fields.ttl_seconds,
                Some(Some(5400)),
                "{documents:?}"
            );
        }
        assert_eq!(entries(&[client(), client()]).len(), 2);
    }

    #[test]
    fn clients_without_the_client_credentials_grant_are_skipped() {
        for client in [
            with("grant_types", json!(["authorization_code"])),
            with("grant_types", json!(null)),
            with("token_endpoint_auth_method", json!("none")),
        ] {
            assert!(matches!(not_accepted(client), NotAccepted::Skipped(_)));
        }
    }

    #[test]
    fn invalid_clients_are_rejected() {
        for (client, reason) in [
            (with("client_secret", json!(null)), "no client_secret"),
            (with("client_secret", json!("$1$abc$def")), "neither"),
            (with("client_secret", json!("$2b$31$")), "malformed"),
            (with("client_secret", json!(4711)), "client_secret must be a string"),
            (
                with("token_endpoint_auth_method", json!("private_key_jwt")),
                "with a secret",
            ),
            (
                with("client_credentials_grant_access_token_lifespan", json!("soon")),
                "must be a time",
            ),
            (json!("hunter2"), "not a client"),
        ] {
            match not_accepted(client) {
                NotAccepted::Rejected(text) => assert!(text.contains(reason), "{text}"),
                passed_over => panic!("{passed_over:?}"),
            }
        }
    }
}
