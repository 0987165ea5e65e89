//! `mintage client show`: shows one client.

use super::named::Named;
use super::{Context, Failure, print, print_json};
use crate::api::client::ClientDocument;
use crate::db::clients;
use crate::oauth::client::Client;
use crate::oauth::custom_claims::CustomClaims;

pub fn run(context: &Context, named: &Named) -> Result<(), Failure> {
    let id = named.parse()?;
    let client = context
        .with_database(|conn| clients::find(conn, &id))?
        .ok_or_else(|| named.missing())?;
    show_client(&client, named.json);
    Ok(())
}

pub fn show_client(client: &Client, json: bool) {
    if json {
        return print_json(&ClientDocument::from(client));
    }
    let or_default = |text: Option<String>| text.unwrap_or_else(|| "(as configured)".into());
    let methods: Vec<&str> = client.auth_methods.iter().map(|method| method.name()).collect();
    let options = &client.token;
    let rows = [
        ("client_id", client.id.to_string()),
        ("name", client.name.clone()),
        ("enabled", client.enabled.to_string()),
        ("scope", client.scope.to_string()),
        ("default_scope", client.default_scope.to_string()),
        ("audiences", client.audiences.join(" ")),
        ("introspection_audiences", client.introspection_audiences.join(" ")),
        ("auth_methods", methods.join(" ")),
        ("ttl", or_default(client.ttl_seconds.map(|ttl| format!("{ttl}s")))),
        ("alg", or_default(client.alg.map(|alg| alg.to_string()))),
        (
            "default_audience",
            or_default(options.default_audience.as_ref().map(ToString::to_string)),
        ),
        (
            "claims",
            options.claims.as_ref().map_or(String::new(), CustomClaims::object),
        ),
        (
            "scope_claim",
            or_default(options.scope_claim.map(|claim| claim.name().to_owned())),
        ),
        ("typ", or_default(options.typ.map(|typ| typ.name().to_owned()))),
        (
            "labels",
            client
                .labels
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(" "),
        ),
        ("secrets", client.secrets.len().to_string()),
        ("created_at", client.created_at.to_string()),
        ("updated_at", client.updated_at.to_string()),
    ];
    for (name, value) in rows {
        print(&format!("{name:23} {value}"));
    }
}
