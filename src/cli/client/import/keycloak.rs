//! Keycloak's realm export: its clients with service accounts, whose secrets are in plain text.

use std::collections::HashMap;

use serde_json::Value;

use super::entry::{Entry, ForeignSecret, Machine, NotAccepted, Place};
use super::json::{Members, flag, number, object, text, texts};
use super::keycloak_mappers::{Mapped, mapped};
use crate::api::client_fields::ClientFields;
use crate::time::UnixMillis;

/// The attribute of a client that has the lifetime of its tokens, in seconds.
const LIFESPAN: &str = "access.token.lifespan";

/// Reads all clients of some documents. A document is a realm, a client, or a list of them.
pub fn entries(documents: &[Value]) -> Vec<Entry> {
    let mut entries = Vec::new();
    for document in documents {
        collect(document, &Scopes::new(), &mut entries);
    }
    entries
}

/// The client scopes of a realm by name.
type Scopes<'a> = HashMap<&'a str, &'a Value>;

fn collect(value: &Value, scopes: &Scopes, entries: &mut Vec<Entry>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, scopes, entries)),
        Value::Object(realm) if realm.contains_key("realm") || realm.contains_key("clients") => {
            let scopes = scopes_of(realm);
            let clients = realm.get("clients").and_then(Value::as_array);
            clients
                .into_iter()
                .flatten()
                .for_each(|client| collect(client, &scopes, entries));
        }
        client => entries.push(entry(entries.len() + 1, client, scopes)),
    }
}

fn scopes_of(realm: &Members) -> Scopes<'_> {
    let scopes = realm.get("clientScopes").and_then(Value::as_array);
    let scopes = scopes.into_iter().flatten();
    scopes
        .filter_map(|scope| Some((scope["name"].as_str()?, scope)))
        .collect()
}

/// Whether a client scope only adds claims and is not part of a token's `scope`.
fn is_hidden(scopes: &Scopes, name: &str) -> bool {
    scopes
        .get(name)
        .is_some_and(|scope| scope["attributes"]["include.in.token.scope"] == "false")
}

/// The audiences and claims that the mappers of a client and of its scopes add.
fn mapped_of(client: &Members, scopes: &Scopes, default: &[String], optional: &[String]) -> Mapped {
    let of_scopes = |names: &[String]| -> Vec<&Value> {
        let named = names.iter().filter_map(|name| scopes.get(name.as_str()));
        named.flat_map(|scope| mappers(scope.get("protocolMappers"))).collect()
    };
    let mut always: Vec<&Value> = mappers(client.get("protocolMappers")).collect();
    always.extend(of_scopes(default));
    mapped(&always, &of_scopes(optional))
}

fn mappers(holder: Option<&Value>) -> impl Iterator<Item = &Value> {
    holder.and_then(Value::as_array).into_iter().flatten()
}

fn entry(number: usize, client: &Value, scopes: &Scopes) -> Entry {
    let members = object(client).and_then(|members| Ok((text(members, "clientId")?.unwrap_or_default(), members)));
    let (id, machine) = match members {
        Ok((id, members)) => (id.to_owned(), machine(members, scopes)),
        Err(wrong) => (String::new(), Err(wrong.into())),
    };
    Entry {
        place: Place::Client(number),
        id,
        machine,
    }
}

fn machine(client: &Members, scopes: &Scopes) -> Result<Machine, NotAccepted> {
    if text(client, "protocol")?.is_some_and(|protocol| protocol != "openid-connect") {
        return Err(NotAccepted::Skipped("it is not an OAuth client"));
    }
    if flag(client, "publicClient", false)? || flag(client, "bearerOnly", false)? {
        return Err(NotAccepted::Skipped(
            "it is a public or bearer-only client, without a secret",
        ));
    }
    if !flag(client, "serviceAccountsEnabled", false)? {
        return Err(NotAccepted::Skipped("it has no service account"));
    }
    if text(client, "clientAuthenticatorType")?.is_some_and(|kind| kind != "client-secret") {
        return Err("it does not authenticate with a secret".into());
    }
    let empty = Members::new();
    let attributes = client.get("attributes").and_then(Value::as_object).unwrap_or(&empty);
    let shown = |mut names: Vec<String>| {
        names.retain(|name| !is_hidden(scopes, name));
        names
    };
    let default = texts(client, "defaultClientScopes")?;
    let optional = texts(client, "optionalClientScopes")?;
    let mut mapped = mapped_of(client, scopes, &default, &optional);
    let has_scopes = default
        .iter()
        .chain(&optional)
        .all(|name| scopes.contains_key(name.as_str()));
    if !has_scopes {
        mapped.warnings.push(
            "the file does not have all of its client scopes, so their audiences and claims are not imported: \
             export the realm"
                .to_owned(),
        );
    }
    let (default, optional) = (shown(default), shown(optional));
    let lifespan = number(attributes, LIFESPAN)?.filter(|ttl| *ttl != -1);
    let fields = ClientFields {
        name: text(client, "name")?.map(str::to_owned),
        enabled: client.contains_key("enabled").then_some(flag(client, "enabled", true)?),
        scope: Some([default.as_slice(), &optional].concat().join(" ")),
        default_scope: Some(Some(default.join(" "))),
        // -1 stands for the realm's setting.
        ttl_seconds: attributes.contains_key(LIFESPAN).then_some(lifespan),
        audiences: Some(mapped.audiences),
        default_audience: mapped.default_audience.map(Some),
        claims: Some(mapped.claims),
        ..ClientFields::default()
    };
    // What a whole file does not have was removed there. Of another file no one knows.
    let has_lists = ["defaultClientScopes", "optionalClientScopes"]
        .iter()
        .all(|name| client.contains_key(*name));
    let update = (!has_lists || !has_scopes).then(|| ClientFields {
        scope: fields.scope.clone().filter(|_| has_lists),
        default_scope: fields.default_scope.clone().filter(|_| has_lists),
        audiences: None,
        default_audience: None,
        claims: None,
        ..fields.clone()
    });
    Ok(Machine {
        fields,
        update,
        secrets: secrets(client, attributes)?,
        warnings: mapped.warnings,
    })
}

/// The secret, and the previous one while both are valid.
fn secrets(client: &Members, attributes: &Members) -> Result<Vec<ForeignSecret>, NotAccepted> {
    let Some(secret) = text(client, "secret")? else {
        return Err("it has no secret".into());
    };
    check(secret)?;
    let end = |name| -> Result<Option<UnixMillis>, NotAccepted> {
        let seconds = number(attributes, name)?.filter(|seconds| *seconds != 0);
        Ok(seconds.map(UnixMillis::from_seconds))
    };
    let mut secrets = vec![ForeignSecret::plain(secret, end("client.secret.expiration.time")?)?];
    let rotated = text(attributes, "client.secret.rotated")?;
    if let (Some(rotated), Some(end)) = (rotated, end("client.secret.rotated.expiration.time")?) {
        check(rotated)?;
        secrets.push(ForeignSecret::plain(rotated, Some(end))?);
    }
    Ok(secrets)
}

/// Rejects placeholders for a secret.
fn check(secret: &str) -> Result<(), NotAccepted> {
    if secret.bytes().all(|byte| byte == b'*') {
        return Err("its secret is masked: export with `kc.sh export`, the admin console leaves secrets out".into());
    }
    if secret.starts_with("${") {
        return Err("its secret is a placeholder for one in a vault or the environment".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn client() -> Value {
        json!({
            "id": "5294a18e-e784-4e39-a927-ce816c91c83e", "clientId": "orders", "name": "Orders", "enabled": false,
            "clientAuthenticatorType": "client-secret", "secret": "IIykoV67FWfyBw84t1DEKcEKiUruGt89",
            "serviceAccountsEnabled": true, "publicClient": false, "bearerOnly": false, "protocol": "openid-connect",
            "attributes": {"access.token.lifespan": "300", "client.secret.creation.time": "1699364741"},
            "defaultClientScopes": ["web-origins", "orders:read"], "optionalClientScopes": ["orders:write", "phone"],
        })
    }

    fn realm(clients: Value) -> Value {
        json!({
            "realm": "shop", "clients": clients, "clientScopes": [
                {"name": "web-origins", "attributes": {"include.in.token.scope": "false"}},
                {"name": "phone", "attributes": {"include.in.token.scope": "true"}},
                {"name": "orders:read", "attributes": {}}, {"name": "orders:write", "attributes": {}}
            ],
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

    #[test]
    fn a_client_is_read_with_all_that_mintage_knows() {
        let entry = one(realm(json!([client()])));
        let machine = entry.machine.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let fields = machine.fields;
        assert_eq!((entry.id.as_str(), fields.name.as_deref()), ("orders", Some("Orders")));
        assert_eq!((fields.enabled, fields.ttl_seconds), (Some(false), Some(Some(300))));
        assert_eq!(fields.scope.as_deref(), Some("orders:read orders:write phone"));
        assert_eq!(fields.default_scope, Some(Some("orders:read".into())));
        assert_eq!(machine.secrets.len(), 1);
    }

    #[test]
    fn mappers_of_the_client_and_of_its_scopes_are_carried_or_named() {
        let mapper = |kind: &str, config: Value| json!({"name": kind, "protocolMapper": kind, "config": config});
        let audience = |name: &str| {
            mapper(
                "oidc-audience-mapper",
                json!({"included.custom.audience": name, "access.token.claim": "true"}),
            )
        };
        let claim = json!({
            "claim.name": "tenant", "claim.value": "t1", "jsonType.label": "String", "access.token.claim": "true",
        });
        let mut realm = realm(json!([with(
            "protocolMappers",
            json!([
                audience("orders-api"),
                mapper("oidc-address-mapper", json!({"access.token.claim": "true"}))
            ])
        )]));
        realm["clientScopes"][0]["protocolMappers"] = json!([mapper("oidc-hardcoded-claim-mapper", claim)]);
        realm["clientScopes"][1]["protocolMappers"] = json!([audience("phone-api")]);
        let machine = one(realm).machine.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let fields = machine.fields;
        assert_eq!(
            fields.audiences,
            Some(vec!["orders-api".to_owned(), "phone-api".to_owned()])
        );
        assert_eq!(fields.default_audience, Some(Some("orders-api".to_owned())));
        let claims = fields.claims.flatten().unwrap().0.unwrap().unwrap();
        assert_eq!(claims.object(), r#"{"tenant":"t1"}"#);
        let [of_audiences, of_mappers] = machine.warnings.as_slice() else {
            panic!("{:?}", machine.warnings);
        };
        assert!(of_audiences.starts_with("Keycloak added its audiences by itself"));
        assert_eq!(
            of_mappers,
            r#"these mappers are not imported: "oidc-address-mapper" ("oidc-address-mapper")"#
        );
    }

    #[test]
    fn a_client_whose_scopes_the_file_does_not_have_is_reported() {
        let warnings = |document: Value| {
            let machine = one(document).machine.unwrap_or_else(|wrong| panic!("{wrong:?}"));
            machine.warnings
        };
        assert_eq!(warnings(realm(json!([client()]))), [""; 0]);
        let [warning] = &warnings(client())[..] else {
            panic!("{:?}", warnings(client()));
        };
        assert!(
            warning.starts_with("the file does not have all of its client scopes"),
            "{warning}"
        );
    }

    #[test]
    fn documents_may_be_realms_lists_and_clients_without_a_realm() {
        let other = with("clientId", json!("other"));
        for (documents, count) in [
            (vec![realm(json!([client(), other]))], 2),
            (vec![json!([realm(json!([client()])), realm(json!([other]))])], 2),
            (vec![json!([client(), other])], 2),
            (vec![json!({"realm": "empty"})], 0),
        ] {
            let found = entries(&documents);
            assert_eq!(found.len(), count);
            assert!(
                (1..)
                    .zip(found)
                    .all(|(number, entry)| entry.place == Place::Client(number))
            );
        }
    }

    #[test]
    fn the_previous_secret_keeps_its_expiry() {
        let attributes = json!({
            "client.secret.expiration.time": "1900000001", "client.secret.rotated": "the one before",
            "client.secret.rotated.expiration.time": "1900000000",
        });
        let machine = one(with("attributes", attributes)).machine.ok().unwrap();
        let ends: Vec<_> = machine.secrets.iter().map(|secret| secret.expires_at).collect();
        assert_eq!(
            ends,
            [Some(UnixMillis(1_900_000_001_000)), Some(UnixMillis(1_900_000_000_000))]
        );
    }

    #[test]
    fn clients_without_a_service_account_are_skipped() {
        for client in [
            with("publicClient", json!(true)),
            with("bearerOnly", json!(true)),
            with("serviceAccountsEnabled", json!(false)),
            with("protocol", json!("saml")),
        ] {
            let not_accepted = one(client).machine.err();
            assert!(
                matches!(not_accepted, Some(NotAccepted::Skipped(_))),
                "{not_accepted:?}"
            );
        }
    }

    #[test]
    fn invalid_clients_are_rejected() {
        for (client, reason) in [
            (with("secret", json!("**********")), "masked"),
            (with("secret", json!("${vault.orders}")), "placeholder"),
            (with("secret", json!(null)), "no secret"),
            (with("clientAuthenticatorType", json!("client-jwt")), "with a secret"),
            (with("defaultClientScopes", json!(4711)), "defaultClientScopes must be"),
            (json!(["hunter2"]), "not a client"),
        ] {
            match one(client).machine.err() {
                Some(NotAccepted::Rejected(text)) => assert!(text.contains(reason), "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
