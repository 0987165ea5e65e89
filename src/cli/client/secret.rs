//! `mintage client secret`: adds, lists and revokes the secrets of a client. A client may have
//! several, so that secrets can be rotated without downtime.

use serde::Serialize;

use super::{Context, Failure, Named, SecretFile, confirm, print, print_json, print_table};
use crate::api::page::Page;
use crate::api::secret::SecretDocument;
use crate::config::Duration;
use crate::db::secrets::{Added, MAX_SECRETS};
use crate::db::{clients, transactions};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::stored_secret::MAX_LIFETIME_SECONDS;
use crate::time::UnixMillis;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Add a secret to a client; it is shown only once
    #[command(after_help = "Example:\n  mintage client secret add orders --expires-in 90d --others-expire-in 7d")]
    Add(NewSecret),
    /// List the ids and times of the secrets of a client
    List(Named),
    /// Revoke a secret at once
    Revoke {
        /// Client id
        id: String,
        /// Secret id
        secret_id: String,
        /// Do not ask; only a person at a terminal is asked
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(clap::Args)]
pub struct NewSecret {
    /// Client id
    id: String,
    /// Lifetime of the new secret, such as 30d [default: until revoked]
    #[arg(long, value_name = "TIME")]
    expires_in: Option<Duration>,
    /// Expire the other secrets after this time, such as 7d [default: unchanged]
    #[arg(long, value_name = "TIME")]
    others_expire_in: Option<Duration>,
    #[command(flatten)]
    secret: SecretFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(new) => add(context, &new),
        Command::List(named) => list(context, &named),
        Command::Revoke {
            id,
            secret_id,
            yes,
            json,
        } => revoke(context, &Named { id, json }, &secret_id, yes),
    }
}

fn add(context: &Context, new: &NewSecret) -> Result<(), Failure> {
    let named = Named {
        id: new.id.clone(),
        json: new.json,
    };
    let within = |time: Option<Duration>, least: i64| {
        time.is_none_or(|time| (least * 1000..=MAX_LIFETIME_SECONDS * 1000).contains(&time.as_millis()))
    };
    if !within(new.expires_in, 1) {
        return Err(Failure::Usage("--expires-in must be from 1s to 3660d".into()));
    }
    if !within(new.others_expire_in, 0) {
        return Err(Failure::Usage("--others-expire-in must be from 0s to 3660d".into()));
    }
    let (id, now) = (named.parse()?, context.clock.now());
    let after = |time: Option<Duration>| time.map(|time| UnixMillis(now.0.saturating_add(time.as_millis())));
    let (secret, mut stored) = new.secret.secret(now)?;
    stored.expires_at = after(new.expires_in);
    let others_end = after(new.others_expire_in);
    let author = context.principal();
    match context.with_database(|conn| transactions::add_secret(conn, &author, &id, &stored, others_end))? {
        Added::Done => {}
        Added::NoClient => return Err(named.missing()),
        Added::Known => {
            return Err(Failure::Failed(format!(
                "client {id} has this secret already: see `mintage client secret list {id}`"
            )));
        }
        Added::TooMany => {
            return Err(Failure::Failed(format!(
                "at most {MAX_SECRETS} secrets per client: revoke one of `mintage client secret list {id}`"
            )));
        }
    }
    #[derive(Serialize)]
    struct Created<'a> {
        secret_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_secret: Option<&'a str>,
        expires_at: Option<String>,
    }
    let created = Created {
        secret_id: &stored.id,
        client_secret: secret.as_ref().map(ClientSecret::reveal),
        expires_at: stored.expires_at.map(|at| at.to_string()),
    };
    let id = created.secret_id;
    let expires_at = created.expires_at.as_deref().unwrap_or("never");
    match created.client_secret {
        _ if new.json => print_json(&created),
        None => print(&format!("secret_id      {id}\nexpires_at     {expires_at}")),
        Some(secret) => print(&format!(
            "secret_id      {id}\nclient_secret  {secret}\nexpires_at     {expires_at}\nThe secret is not shown again."
        )),
    }
    Ok(())
}

fn list(context: &Context, named: &Named) -> Result<(), Failure> {
    let id = named.parse()?;
    let client = context.with_database(|conn| clients::find(conn, &id))?;
    let client = client.ok_or_else(|| named.missing())?;
    let documents: Vec<SecretDocument> = client.secrets.iter().map(SecretDocument::from).collect();
    if named.json {
        print_json(&Page {
            items: documents,
            next_cursor: None,
        });
    } else if documents.is_empty() {
        print(&format!(
            "Client {id} has no secrets: add one with `mintage client secret add {id}`."
        ));
    } else {
        let rows: Vec<_> = documents.iter().map(SecretDocument::columns).collect();
        print_table(["Secret id", "Created", "Expires", "Last used"], &rows);
    }
    Ok(())
}

fn revoke(context: &Context, named: &Named, secret_id: &str, yes: bool) -> Result<(), Failure> {
    let (id, now) = (named.parse()?, context.clock.now());
    confirm(&format!("Revoke secret {secret_id:?} of client {id}?"), yes)?;
    let author = context.principal();
    if !context.with_database(|conn| transactions::revoke_secret(conn, &author, &id, secret_id, now))? {
        return Err(Failure::Failed(format!(
            "secret {secret_id:?} of client {id} not found: see `mintage client secret list {id}`"
        )));
    }
    #[derive(Serialize)]
    struct Revoked<'a> {
        secret_id: &'a str,
        revoked: bool,
    }
    match named.json {
        true => print_json(&Revoked {
            secret_id,
            revoked: true,
        }),
        false => print(&format!("secret {secret_id} of client {id} revoked")),
    }
    Ok(())
}
