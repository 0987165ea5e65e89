//! `mintage client`: makes, lists, shows, enables, disables and deletes clients.

use std::sync::Arc;

use serde::Serialize;

use super::{Context, Failure, print, print_json};
use crate::config::Duration;
use crate::db::{DbError, clients, standing};
use crate::oauth::alg::Alg;
use crate::oauth::client::{AuthMethod, Client, ClientId, RESERVED_PREFIX, TTL_SECONDS};
use crate::oauth::client_document::{ClientDocument, Page};
use crate::oauth::resource::is_absolute_uri;
use crate::oauth::scope::Scope;
use crate::oauth::secret::{ClientSecret, StoredSecret, random_text};
use crate::oauth::time::UnixMillis;

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
    /// Delete a client and its secrets
    Delete(Named),
    /// Make everything issued to a client until now inactive
    RevokeTokens(Named),
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
    /// An audience that it may name as resource; may be repeated
    #[arg(long = "audience", value_name = "URI")]
    audiences: Vec<String>,
    /// An audience whose tokens it may introspect; may be repeated
    #[arg(long, value_name = "URI")]
    serves: Vec<String>,
    /// client_secret_basic or client_secret_post; may be repeated [default: both]
    #[arg(long = "auth-method", value_name = "METHOD")]
    auth_methods: Vec<String>,
    /// Lifetime of its tokens, 1s to 30d [default: token.ttl]
    #[arg(long)]
    ttl: Option<String>,
    /// ES256, EdDSA, RS256, PS256 or HS256 [default: token.alg]
    #[arg(long)]
    alg: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(new) => create(context, &new),
        Command::List { json } => list(context, json),
        Command::Show(named) => show(context, &named),
        Command::Enable(named) => set_enabled(context, &named, true),
        Command::Disable(named) => set_enabled(context, &named, false),
        Command::Delete(named) => delete(context, &named),
        Command::RevokeTokens(named) => revoke_tokens(context, &named),
    }
}

fn create(context: &Context, new: &NewClient) -> Result<(), Failure> {
    let now = context.clock.now();
    let (secret, stored) = new_secret(now);
    let client = new.client(stored, now)?;
    context.with_database(|conn| match clients::insert(conn, &client) {
        Err(DbError::Conflict) => Ok(Err(Failure::Failed(format!(
            "there is a client {:?} already",
            client.id.as_str()
        )))),
        inserted => inserted.map(Ok),
    })??;
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
    let stored = StoredSecret {
        id: random_text(16),
        hash: secret.hash(),
        created_at: now,
        expires_at: None,
    };
    (secret, stored)
}

impl NewClient {
    /// With everything else left out.
    pub fn named(id: &str, scope: &str) -> Self {
        Self {
            name: id.to_owned(),
            scope: scope.to_owned(),
            id: Some(id.to_owned()),
            default_scope: None,
            audiences: Vec::new(),
            serves: Vec::new(),
            auth_methods: Vec::new(),
            ttl: None,
            alg: None,
            json: false,
        }
    }

    /// The client that the arguments describe.
    ///
    /// # Errors
    /// [`Failure::Usage`], naming the argument that is wrong.
    pub fn client(&self, secret: StoredSecret, now: UnixMillis) -> Result<Client, Failure> {
        let wrong = |argument: &str, what: &str| Failure::Usage(format!("--{argument} must be {what}"));
        const SCOPE: &str = "scope tokens separated by single spaces, of printable ASCII without \" and \\";
        let id = match &self.id {
            Some(id) => ClientId::parse(id).ok_or_else(|| wrong("id", "1 to 128 printable ASCII characters"))?,
            None => ClientId::generate(),
        };
        let name_ok = (1..=200).contains(&self.name.chars().count()) && !self.name.contains(char::is_control);
        if !name_ok {
            return Err(wrong("name", "1 to 200 characters without control characters"));
        }
        let scope = parse_scope(&self.scope).ok_or_else(|| wrong("scope", SCOPE))?;
        let default_scope = match &self.default_scope {
            Some(text) => parse_scope(text).ok_or_else(|| wrong("default-scope", SCOPE))?,
            None => scope.without_prefix(RESERVED_PREFIX),
        };
        if !scope.covers(&default_scope) {
            return Err(wrong("default-scope", "a part of --scope"));
        }
        for (argument, uris) in [("audience", &self.audiences), ("serves", &self.serves)] {
            if !uris.iter().all(|uri| is_absolute_uri(uri)) {
                return Err(wrong(argument, "an absolute URI without fragment"));
            }
        }
        let methods: Result<Vec<AuthMethod>, String> = self.auth_methods.iter().map(|text| text.parse()).collect();
        let mut auth_methods = methods.map_err(|what| Failure::Usage(format!("--auth-method {what}")))?;
        if auth_methods.is_empty() {
            auth_methods = AuthMethod::ALL.to_vec();
        }
        let alg: Option<Alg> = self
            .alg
            .as_deref()
            .map(str::parse)
            .transpose()
            .map_err(|what| Failure::Usage(format!("--alg {what}")))?;
        let ttl_seconds = match &self.ttl {
            None => None,
            Some(text) => {
                let ttl: Duration = text.parse().map_err(|what| Failure::Usage(format!("--ttl: {what}")))?;
                let whole = ttl.as_millis() % 1000 == 0 && TTL_SECONDS.contains(&ttl.as_seconds());
                Some(
                    whole
                        .then_some(ttl.as_seconds())
                        .ok_or_else(|| wrong("ttl", "whole seconds from 1s to 30d"))?,
                )
            }
        };
        Ok(Client {
            id,
            name: self.name.clone(),
            enabled: true,
            scope,
            default_scope,
            audiences: self.audiences.iter().map(|uri| Arc::from(uri.as_str())).collect(),
            serves: self.serves.iter().map(|uri| Arc::from(uri.as_str())).collect(),
            auth_methods,
            ttl_seconds,
            alg,
            secrets: vec![secret],
            created_at: now,
            updated_at: now,
        })
    }
}

fn parse_scope(text: &str) -> Option<Scope> {
    if text.is_empty() {
        return Some(Scope::empty());
    }
    Scope::parse(text).ok()
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
                client.id, client.name, client.scope
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
    let id = named.parse()?;
    let now = context.clock.now();
    let client = context.with_database(|conn| {
        clients::set_enabled(conn, &id, enabled, now)?;
        clients::find(conn, &id)
    })?;
    let client = client.ok_or_else(|| named.missing())?;
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
    if !context.with_database(|conn| clients::delete(conn, &id, now))? {
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
    let revoked = context.with_database(|conn| {
        if clients::find(conn, &id)?.is_none() {
            return Ok(None);
        }
        standing::revoke_until(conn, Some(&id), now).map(Some)
    })?;
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
        assert!(refused(|new| new.audiences = vec!["orders".into()]).starts_with("--audience"));
        assert!(refused(|new| new.serves = vec!["https://a#b".into()]).starts_with("--serves"));
        assert!(refused(|new| new.auth_methods = vec!["none".into()]).starts_with("--auth-method"));
        assert!(refused(|new| new.alg = Some("none".into())).starts_with("--alg"));
        for ttl in ["0s", "31d", "500ms", "1h500ms", "x"] {
            assert!(refused(|new| new.ttl = Some(ttl.into())).starts_with("--ttl"), "{ttl}");
        }
    }
}
