//! `mintage client`: makes, lists, shows, changes, enables, disables, deletes and imports clients.

mod import;
mod secret;

use serde::Serialize;

use super::{Context, Failure, print, print_json};
use crate::api::client::ClientDocument;
use crate::api::client_fields::{ClientFields, MalformedClient};
use crate::api::page::Page;
use crate::config::Duration;
use crate::db::clients::Changed;
use crate::db::{DbError, clients, transactions};
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make a client; its secret is shown this once
    Create(Box<NewClient>),
    /// List all clients
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one client
    Show(Named),
    /// Let a client get tokens again
    Enable(Named),
    /// Stop a client from getting tokens
    Disable(Named),
    /// Change a client; what is not named stays as it is
    Update(Box<Update>),
    /// Delete a client and its secrets
    Delete(Named),
    /// Make everything issued to a client until now inactive
    RevokeTokens(Named),
    /// Bring clients over from Ory Hydra, Keycloak or a CSV file; their secrets keep working
    Import(import::Arguments),
    /// Manage the secrets of a client
    #[command(subcommand)]
    Secret(secret::Command),
}

#[derive(clap::Args)]
pub struct Named {
    /// The client's id
    id: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What `client create` takes.
#[derive(clap::Args)]
pub struct NewClient {
    /// What people call it
    #[arg(long)]
    name: String,
    /// All scopes that it may ask for, separated by spaces; "" for a client that only checks tokens
    #[arg(long)]
    scope: String,
    /// Its id, 1 to 128 printable ASCII characters [default: made by the server]
    #[arg(long)]
    id: Option<String>,
    /// What it gets when it asks for no scope [default: all but those that begin with mintage:]
    #[arg(long)]
    default_scope: Option<String>,
    #[command(flatten)]
    rest: Rest,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What `client update` takes; what is not named stays as it is.
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

/// What making and changing a client have in common.
#[derive(clap::Args, Default)]
struct Rest {
    /// An audience that it may name as resource; may be repeated
    #[arg(long = "audience", value_name = "URI")]
    audiences: Vec<String>,
    /// An audience whose tokens it may introspect; may be repeated
    #[arg(long, value_name = "URI")]
    serves: Vec<String>,
    /// client_secret_basic or client_secret_post; may be repeated [default: both]
    #[arg(long = "auth-method", value_name = "METHOD")]
    auth_methods: Vec<String>,
    /// Lifetime of its tokens, 1s to 30d; `default`: token.ttl
    #[arg(long)]
    ttl: Option<String>,
    /// ES256, EdDSA, RS256, PS256 or HS256; `default`: token.alg
    #[arg(long)]
    alg: Option<String>,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(new) => create(context, &new),
        Command::List { json } => list(context, json),
        Command::Show(named) => show(context, &named),
        Command::Enable(named) => set_enabled(context, &named, true),
        Command::Disable(named) => set_enabled(context, &named, false),
        Command::Update(update) => update_client(context, &update),
        Command::Delete(named) => delete(context, &named),
        Command::RevokeTokens(named) => revoke_tokens(context, &named),
        Command::Import(arguments) => import::run(context, &arguments),
        Command::Secret(command) => secret::run(context, command),
    }
}

fn create(context: &Context, new: &NewClient) -> Result<(), Failure> {
    let now = context.clock.now();
    let (secret, stored) = new_secret(now);
    let client = new.client(stored, now)?;
    context.with_database(
        |conn| match transactions::create_client(conn, &context.author(), &client) {
            Err(DbError::Conflict) => Ok(Err(Failure::Failed(format!(
                "there is a client {:?} already",
                client.id.as_str()
            )))),
            inserted => inserted.map(Ok),
        },
    )??;
    #[derive(Serialize)]
    struct Created<'a> {
        client_id: &'a str,
        client_secret: &'a str,
        scope: &'a str,
    }
    let created = Created {
        client_id: client.id.as_str(),
        client_secret: secret.reveal(),
        scope: client.scope.as_str(),
    };
    if new.json {
        print_json(&created);
    } else {
        print(&format!(
            "client_id      {}\nclient_secret  {}\nscope          {}\nThe secret is not shown again.",
            created.client_id, created.client_secret, created.scope
        ));
    }
    Ok(())
}

/// A secret and what is stored of it.
pub fn new_secret(now: UnixMillis) -> (ClientSecret, StoredSecret) {
    let secret = ClientSecret::generate();
    let stored = StoredSecret::new(&secret, now);
    (secret, stored)
}

impl Rest {
    /// The members that are named; a list that is not is left out.
    fn fields(&self) -> Result<ClientFields, Failure> {
        let named = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        let ttl_seconds = match self.ttl.as_deref() {
            None => None,
            Some("default") => Some(None),
            Some(text) => {
                let ttl: Duration = text.parse().map_err(|what| Failure::Usage(format!("--ttl: {what}")))?;
                // Zero is refused, and so is half a second.
                let whole = ttl.as_millis() % 1000 == 0;
                Some(Some(if whole { ttl.as_seconds() } else { 0 }))
            }
        };
        Ok(ClientFields {
            audiences: named(&self.audiences),
            serves: named(&self.serves),
            auth_methods: named(&self.auth_methods),
            ttl_seconds,
            alg: self.alg.clone().map(|alg| (alg != "default").then_some(alg)),
            ..ClientFields::default()
        })
    }
}

/// The argument that is wrong, by the member that it fills.
fn usage(malformed: MalformedClient) -> Failure {
    let argument = match malformed.member {
        "default_scope" => "default-scope",
        "audiences" => "audience",
        "auth_methods" => "auth-method",
        "ttl_seconds" => "ttl",
        same => same,
    };
    Failure::Usage(format!("--{argument} must be {}", malformed.must_be))
}

impl NewClient {
    /// With everything else left out.
    pub fn named(id: &str, scope: &str) -> Self {
        Self {
            name: id.to_owned(),
            scope: scope.to_owned(),
            id: Some(id.to_owned()),
            default_scope: None,
            rest: Rest::default(),
            json: false,
        }
    }

    /// The client that the arguments describe.
    ///
    /// # Errors
    /// [`Failure::Usage`], naming the argument that is wrong.
    pub fn client(&self, secret: StoredSecret, now: UnixMillis) -> Result<Client, Failure> {
        let id = match &self.id {
            Some(id) => ClientId::parse(id)
                .ok_or_else(|| Failure::Usage("--id must be 1 to 128 printable ASCII characters".into()))?,
            None => ClientId::generate(),
        };
        let fields = ClientFields {
            name: Some(self.name.clone()),
            scope: Some(self.scope.clone()),
            default_scope: self.default_scope.clone().map(Some),
            ..self.rest.fields()?
        };
        let mut client = fields.new_client(id, now).map_err(usage)?;
        client.secrets.push(secret);
        Ok(client)
    }
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

fn update_client(context: &Context, update: &Update) -> Result<(), Failure> {
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

fn change(context: &Context, named: &Named, fields: &ClientFields) -> Result<Client, Failure> {
    let (id, now) = (named.parse()?, context.clock.now());
    let changed = context.with_database(|conn| {
        transactions::change_client(conn, &context.author(), &id, now, |client| {
            fields.applied_to(client, now)
        })
    })?;
    match changed {
        Changed::Done { after, .. } => Ok(*after),
        Changed::Missing => Err(named.missing()),
        Changed::Refused(malformed) => Err(usage(malformed)),
    }
}

fn list(context: &Context, json: bool) -> Result<(), Failure> {
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
        print("There are no clients: make one with `mintage client create --name NAME --scope SCOPE`.");
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

fn show(context: &Context, named: &Named) -> Result<(), Failure> {
    let id = named.parse()?;
    let client = context
        .with_database(|conn| clients::find(conn, &id))?
        .ok_or_else(|| named.missing())?;
    show_client(&client, named.json);
    Ok(())
}

fn show_client(client: &Client, json: bool) {
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
        ("serves", client.serves.join(" ")),
        ("auth_methods", methods.join(" ")),
        ("ttl", or_default(client.ttl_seconds.map(|ttl| format!("{ttl}s")))),
        ("alg", or_default(client.alg.map(|alg| alg.to_string()))),
        ("secrets", client.secrets.len().to_string()),
        ("created_at", client.created_at.to_string()),
        ("updated_at", client.updated_at.to_string()),
    ];
    for (name, value) in rows {
        print(&format!("{name:14} {value}"));
    }
}

fn set_enabled(context: &Context, named: &Named, enabled: bool) -> Result<(), Failure> {
    let fields = ClientFields {
        enabled: Some(enabled),
        ..ClientFields::default()
    };
    let client = change(context, named, &fields)?;
    match named.json {
        true => show_client(&client, true),
        false => print(&format!(
            "client {} is {}",
            client.id,
            if enabled { "enabled" } else { "disabled" }
        )),
    }
    Ok(())
}

fn delete(context: &Context, named: &Named) -> Result<(), Failure> {
    let id = named.parse()?;
    let now = context.clock.now();
    if !context.with_database(|conn| transactions::delete_client(conn, &context.author(), &id, now))? {
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
        false => print(&format!("client {id} is deleted")),
    }
    Ok(())
}

fn revoke_tokens(context: &Context, named: &Named) -> Result<(), Failure> {
    let id = named.parse()?;
    let now = context.clock.now();
    let revoked =
        context.with_database(|conn| transactions::revoke_client_tokens(conn, &context.author(), &id, now))?;
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

impl Named {
    fn parse(&self) -> Result<ClientId, Failure> {
        ClientId::parse(&self.id).ok_or_else(|| Failure::Usage("ID must be 1 to 128 printable ASCII characters".into()))
    }

    fn missing(&self) -> Failure {
        Failure::Failed(format!("there is no client {:?}: see `mintage client list`", self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut NewClient)) -> String {
        let mut new = NewClient::named("demo", "a b mintage:admin");
        change(&mut new);
        let (_, stored) = new_secret(UnixMillis(0));
        match new.client(stored, UnixMillis(0)) {
            Err(Failure::Usage(text)) => text,
            other => panic!("not refused as usage: {other:?}"),
        }
    }

    #[test]
    fn p19_the_default_scope_leaves_reserved_scopes_out() {
        let (_, stored) = new_secret(UnixMillis(0));
        let client = NewClient::named("demo", "a mintage:admin b")
            .client(stored, UnixMillis(0))
            .unwrap();
        assert_eq!(client.default_scope.as_str(), "a b");
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refused(|new| new.id = Some("é".into())).starts_with("--id"));
        assert!(refused(|new| new.name = String::new()).starts_with("--name"));
        assert!(refused(|new| new.scope = "a  b".into()).starts_with("--scope"));
        assert!(refused(|new| new.default_scope = Some("c".into())).starts_with("--default-scope"));
        assert!(refused(|new| new.rest.audiences = vec!["orders".into()]).starts_with("--audience"));
        assert!(refused(|new| new.rest.serves = vec!["https://a#b".into()]).starts_with("--serves"));
        assert!(refused(|new| new.rest.auth_methods = vec!["none".into()]).starts_with("--auth-method"));
        assert!(refused(|new| new.rest.alg = Some("none".into())).starts_with("--alg"));
        for ttl in ["0s", "31d", "500ms", "1h500ms", "x"] {
            assert!(
                refused(|new| new.rest.ttl = Some(ttl.into())).starts_with("--ttl"),
                "{ttl}"
            );
        }
    }
}
