//! `mintage client update`: changes the given fields of a client.

use super::fields::{Rest, usage};
use super::label_changes::LabelChanges;
use super::named::Named;
use super::show::show_client;
use super::{Context, Failure, print};
use crate::api::client_fields::ClientFields;
use crate::db::clients::Changed;
use crate::db::transactions;
use crate::oauth::client::Client;
use crate::oauth::duty::RESERVED_PREFIX;

/// The arguments of `client update`.
#[derive(clap::Args)]
pub struct Update {
    /// Client id
    id: String,
    /// Display name
    #[arg(long)]
    name: Option<String>,
    /// Scopes that the client may request, space-separated
    #[arg(long)]
    scope: Option<String>,
    /// Scopes of a token request without scope; `auto`: all except those that begin with mintage:
    #[arg(long)]
    default_scope: Option<String>,
    #[command(flatten)]
    rest: Rest,
    /// Remove all audiences
    #[arg(long, conflicts_with = "audiences")]
    no_audiences: bool,
    /// Remove all introspection audiences
    #[arg(long, conflicts_with = "introspection_audiences")]
    no_introspection_audiences: bool,
    /// Use the default audience of the server
    #[arg(long, conflicts_with = "default_audience")]
    no_default_audience: bool,
    /// Remove all custom claims
    #[arg(long, conflicts_with = "claims")]
    no_claims: bool,
    /// Key of a label to remove; repeatable
    #[arg(long = "remove-label", value_name = "KEY")]
    remove_labels: Vec<String>,
    /// Print JSON
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
        if self.no_introspection_audiences {
            fields.introspection_audiences = Some(Vec::new());
        }
        if self.no_default_audience {
            fields.default_audience = Some(None);
        }
        if self.no_claims {
            fields.claims = Some(None);
        }
        Ok(fields)
    }

    fn label_changes(&self) -> Result<LabelChanges, Failure> {
        LabelChanges::new(self.rest.labels()?, self.remove_labels.clone())
    }
}

pub fn run(context: &Context, update: &Update) -> Result<(), Failure> {
    let named = Named {
        id: update.id.clone(),
        json: update.json,
    };
    let (fields, labels) = (update.fields()?, update.label_changes()?);
    if fields == ClientFields::default() && labels.is_empty() {
        return Err(Failure::Usage(
            "nothing to change: see `mintage client update --help`".into(),
        ));
    }
    let Change { before, after } = change(context, &named, &fields, &labels)?;
    if update.json {
        show_client(&after, true);
        return Ok(());
    }
    print(&format!("client {} updated", after.id));
    // At the admin API, an old token has no more rights than its client now.
    if !after.scope.covers(&before.scope.without_prefix(RESERVED_PREFIX)) {
        print(&format!(
            "Tokens issued before keep the old scope until they expire: `mintage client revoke-tokens {}` ends them.",
            after.id
        ));
    }
    Ok(())
}

/// A client before and after a change.
pub struct Change {
    pub before: Client,
    pub after: Client,
}

pub fn change(
    context: &Context,
    named: &Named,
    fields: &ClientFields,
    labels: &LabelChanges,
) -> Result<Change, Failure> {
    let (id, now) = (named.parse()?, context.clock.now());
    let changed = context.with_database(|conn| {
        transactions::change_client(conn, &context.principal(), &id, now, |client| {
            labels.applied_to(fields, client).applied_to(client, now)
        })
    })?;
    match changed {
        Changed::Done { before, after } => Ok(Change {
            before: *before,
            after: *after,
        }),
        Changed::Missing => Err(named.missing()),
        Changed::Rejected(malformed) => Err(usage(malformed)),
    }
}
