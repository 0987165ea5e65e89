//! `mintage client list`: lists all clients, or those of a name or with labels.

use super::{Context, Failure, print, print_json, print_table};
use crate::api::client::ClientDocument;
use crate::api::client_search::ClientSearch;
use crate::api::page::Page;
use crate::db::client_search::{WALK, search};
use crate::oauth::client::Client;

/// The arguments of `client list`.
#[derive(clap::Args)]
pub struct List {
    /// Only clients whose name contains this text, without regard to the case of ASCII letters
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Only clients with this label, KEY=VALUE, or KEY for any value; repeatable: with all of them
    #[arg(long = "label", value_name = "LABEL")]
    labels: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, list: &List) -> Result<(), Failure> {
    const PAGE: usize = 500;
    let wanted = ClientSearch::new(list.name.as_deref(), list.labels.iter().map(String::as_str));
    let wanted = wanted.map_err(|rule| Failure::Usage(format!("--{rule}")))?;
    let all = context.with_database(|conn| {
        let mut all: Vec<Client> = Vec::new();
        let mut after = None;
        loop {
            let page = search(conn, &wanted, after.as_ref(), PAGE, WALK)?;
            all.extend(page.clients);
            after = page.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    })?;
    if list.json {
        print_json(&Page {
            items: all.iter().map(ClientDocument::from).collect(),
            next_cursor: None,
        });
    } else if all.is_empty() && !wanted.is_empty() {
        print("No client matches.");
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
