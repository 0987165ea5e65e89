//! `mintage client revoke-tokens`: revokes all tokens issued to a client so far.

use serde::Serialize;

use super::named::Named;
use super::{Context, Failure, confirm, print, print_json};
use crate::db::transactions;

#[derive(clap::Args)]
pub struct RevokeTokens {
    #[command(flatten)]
    named: Named,
    /// Do not ask; only a person at a terminal is asked
    #[arg(long)]
    yes: bool,
}

pub fn run(context: &Context, RevokeTokens { named, yes }: &RevokeTokens) -> Result<(), Failure> {
    let id = named.parse()?;
    confirm(&format!("Revoke all tokens issued to client {id} so far?"), *yes)?;
    let now = context.clock.now();
    let revoked =
        context.with_database(|conn| transactions::revoke_client_tokens(conn, &context.principal(), &id, now))?;
    let not_before = revoked.ok_or_else(|| named.missing())?;
    #[derive(Serialize)]
    struct Revoked<'a> {
        client_id: &'a str,
        not_before: String,
    }
    match named.json {
        true => print_json(&Revoked {
            client_id: id.as_str(),
            not_before: not_before.to_string(),
        }),
        false => print(&format!("tokens issued to client {id} before {not_before} are revoked")),
    }
    Ok(())
}
