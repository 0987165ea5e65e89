//! `mintage client update`: changes the given fields of a client.

use super::fields::{Rest, usage};
use super::named::Named;
use super::show::show_client;
use super::{Context, Failure, print};
use crate::api::client_fields::ClientFields;
use crate::db::clients::Changed;
use crate::db::transactions;
use crate::oauth::client::Client;

/// The arguments of `client update`.
#[derive(clap::Args)]
pub struct Update {
    /// The client's id
    id: String,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    /// All scopes that it may ask for, separated by spaces
    #[arg(long)]
    scope: Option<String>,
    /// What it gets when it asks for no scope; `auto`: all but those that begin with mintage:
    #[arg(long)]
    default_scope: Option<String>,
    #[command(flatten)]
    rest: Rest,
    /// It may name no audience as resource any more
    #[arg(long, conflicts_with = "audiences")]
    no_audiences: bool,
    /// It may introspect no audience's tokens any more
    #[arg(long, conflicts_with = "serves")]
    no_serves: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Update {
    fn fields(&self) -> Result<ClientFields, Failure> {
        let mut fields = ClientFields {
            name: self.name.clone(),
            scope: self.scope.clone(),
            default_scope: self.default_scope.clone().map(|text| (text != "auto").then_some(text)),
            ..self.rest.fields()?
        };
        if self.no_audiences {
            fields.audiences = Some(Vec::new());
        }
        if self.no_serves {
            fields.serves = Some(Vec::new());
        }
        Ok(fields)
    }
}

pub fn run(context: &Context, update: &Update) -> Result<(), Failure> {
    let named = Named {
        id: update.id.clone(),
        json: update.json,
    };
    let fields = update.fields()?;
    if fields == ClientFields::default() {
        return Err(Failure::Usage(
            "say what to change, see `mintage client update --help`".into(),
        ));
    }
    let client = change(context, &named, &fields)?;
    match update.json {
        true => show_client(&client, true),
        false => print(&format!("client {} is changed", client.id)),
    }
    Ok(())
}

pub fn change(context: &Context, named: &Named, fields: &ClientFields) -> Result<Client, Failure> {
    let (id, now) = (named.parse()?, context.clock.now());
    let changed = context.with_database(|conn| {
        transactions::change_client(conn, &context.principal(), &id, now, |client| {
            fields.applied_to(client, now)
        })
    })?;
    match changed {
        Changed::Done { after, .. } => Ok(*after),
        Changed::Missing => Err(named.missing()),
        Changed::Refused(malformed) => Err(usage(malformed)),
    }
}
