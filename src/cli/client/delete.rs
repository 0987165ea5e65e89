//! `mintage client delete`: deletes a client and its secrets.

use serde::Serialize;

use super::named::Named;
use super::{Context, Failure, confirm, print, print_json};
use crate::db::transactions;

#[derive(clap::Args)]
pub struct Delete {
    #[command(flatten)]
    named: Named,
    /// Do not ask; only a person at a terminal is asked
    #[arg(long)]
    yes: bool,
}

pub fn run(context: &Context, Delete { named, yes }: &Delete) -> Result<(), Failure> {
    let id = named.parse()?;
    confirm(&format!("Delete client {id} and its secrets?"), *yes)?;
    let now = context.clock.now();
    if !context.with_database(|conn| transactions::delete_client(conn, &context.principal(), &id, now))? {
        return Err(named.missing());
    }
    #[derive(Serialize)]
    struct Deleted<'a> {
        client_id: &'a str,
        deleted: bool,
    }
    match named.json {
        true => print_json(&Deleted {
            client_id: id.as_str(),
            deleted: true,
        }),
        false => print(&format!("client {id} deleted")),
    }
    Ok(())
}
