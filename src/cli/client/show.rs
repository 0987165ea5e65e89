//! `mintage client show`: shows one client.

use super::named::Named;
use super::{Context, Failure, print, print_json};
use crate::api::client::ClientDocument;
use crate::db::clients;
use crate::oauth::client::Client;

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
        ("secrets", client.secrets.len().to_string()),
        ("created_at", client.created_at.to_string()),
        ("updated_at", client.updated_at.to_string()),
    ];
    for (name, value) in rows {
        print(&format!("{name:23} {value}"));
    }
}
