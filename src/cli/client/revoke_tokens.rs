//! `mintage client revoke-tokens`: revokes all tokens issued to a client so far.

use serde::Serialize;

use super::named::Named;
use super::{Context, Failure, print, print_json};
use crate::db::transactions;

pub fn run(context: &Context, named: &Named) -> Result<(), Failure> {
    let id = named.parse()?;
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
