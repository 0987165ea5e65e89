//! `mintage client list`: lists all clients.

use super::{Context, Failure, print, print_json};
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
        for client in &all {
            let state = if client.enabled { "enabled" } else { "disabled" };
            print(&format!(
                "{:24} {state:9} {:24} {}",
                client.id.as_str(),
                client.name,
                client.scope
            ));
        }
    }
    Ok(())
}
