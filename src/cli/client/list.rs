//! `mintage client list`: lists all clients.

use super::{Context, Failure, print, print_json, print_table};
use crate::api::client::ClientDocument;
use crate::api::page::Page;
use crate::db::clients;
use crate::oauth::client::Client;

pub fn run(context: &Context, json: bool) -> Result<(), Failure> {
    const PAGE: i64 = 500;
    let all = context.with_database(|conn| {
        let mut all: Vec<Client> = Vec::new();
        loop {
            let page = clients::list(conn, all.last().map(|last| last.id.as_str()), PAGE)?;
            let ended = (page.len() as i64) < PAGE;
            all.extend(page);
            if ended {
                return Ok(all);
            }
        }
    })?;
    if json {
        print_json(&Page {
            items: all.iter().map(ClientDocument::from).collect(),
            next_cursor: None,
        });
    } else if all.is_empty() {
        print("No clients yet: create one with `mintage client create --name NAME --scope SCOPE`.");
    } else {
        let row = |client: &Client| {
            let status = if client.enabled { "enabled" } else { "disabled" };
            [
                client.id.to_string(),
                status.to_owned(),
                client.name.clone(),
                client.scope.to_string(),
            ]
        };
        let rows: Vec<_> = all.iter().map(row).collect();
        print_table(["Client id", "Status", "Name", "Scope"], &rows);
    }
    Ok(())
}
