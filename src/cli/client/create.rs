//! `mintage client create`: creates a client and shows its secret once.

use serde::Serialize;

use super::fields::{Rest, usage};
use super::{Context, Failure, SecretFile, new_secret, print, print_json};
use crate::api::client_fields::ClientFields;
use crate::db::{DbError, transactions};
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::labels::{GivenLabels, Labels};
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

/// The arguments of `client create`.
#[derive(clap::Args)]
pub struct NewClient {
    /// Display name
    #[arg(long)]
    name: String,
    /// Scopes that the client may request, space-separated; "" for a client that only introspects
    /// tokens. Those that begin with mintage: are duties of operators, as in mintage:admin
    #[arg(long)]
    scope: String,
    /// Client id, 1 to 128 printable ASCII characters [default: generated]
    #[arg(long)]
    id: Option<String>,
    /// Scopes of a token request without scope [default: all except those that begin with mintage:]
    #[arg(long)]
    default_scope: Option<String>,
    #[command(flatten)]
    rest: Rest,
    #[command(flatten)]
    secret: SecretFile,
    /// Create the database if there is none
    #[arg(long)]
    create: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, new: &NewClient) -> Result<(), Failure> {
    let now = context.clock.now();
    // The arguments first: standard input is read once.
    let (_, placeholder) = new_secret(now);
    new.client(placeholder, now)?;
    let (secret, stored) = new.secret.secret(now)?;
    let client = new.client(stored, now)?;
    context.with_new_database(new.create, |conn| {
        match transactions::create_client(conn, &context.principal(), &client) {
            Err(DbError::Conflict) => Ok(Err(Failure::Failed(format!(
                "client {id:?} already exists: choose another --id, change it with `mintage client update` or \
                 `mintage client import --update`, or give it another secret with `mintage client secret add`",
                id = client.id.as_str()
            )))),
            inserted => inserted.map(Ok),
        }
    })??;
    #[derive(Serialize)]
    struct Created<'a> {
        client_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_secret: Option<&'a str>,
        scope: &'a str,
    }
    let created = Created {
        client_id: client.id.as_str(),
        client_secret: secret.as_ref().map(ClientSecret::reveal),
        scope: client.scope.as_str(),
    };
    let (id, scope) = (created.client_id, created.scope);
    match created.client_secret {
        _ if new.json => print_json(&created),
        None => print(&format!("client_id      {id}\nscope          {scope}")),
        Some(secret) => print(&format!(
            "client_id      {id}\nclient_secret  {secret}\nscope          {scope}\nThe secret is not shown again."
        )),
    }
    Ok(())
}

impl NewClient {
    /// Arguments with only an id, which is also the name, and a scope.
    pub fn named(id: &str, scope: &str) -> Self {
        Self {
            name: id.to_owned(),
            scope: scope.to_owned(),
            id: Some(id.to_owned()),
            default_scope: None,
            rest: Rest::default(),
            secret: SecretFile::default(),
            create: false,
            json: false,
        }
    }

    /// Builds the client from the arguments.
    ///
    /// # Errors
    /// [`Failure::Usage`], which names the invalid argument.
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
            labels: Some(Some(GivenLabels(Labels::of(self.rest.labels()?)))),
            ..self.rest.fields()?
        };
        let mut client = fields.new_client(id, now).map_err(usage)?;
        client.secrets.push(secret);
        Ok(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage_error(change: impl FnOnce(&mut NewClient)) -> String {
        let mut new = NewClient::named("demo", "a b mintage:admin");
        change(&mut new);
        let (_, stored) = new_secret(UnixMillis(0));
        match new.client(stored, UnixMillis(0)) {
            Err(Failure::Usage(text)) => text,
            other => panic!("not a usage error: {other:?}"),
        }
    }

    #[test]
    fn p19_the_default_scope_excludes_reserved_scopes() {
        let (_, stored) = new_secret(UnixMillis(0));
        let client = NewClient::named("demo", "a mintage:admin b")
            .client(stored, UnixMillis(0))
            .unwrap();
        assert_eq!(client.default_scope.as_str(), "a b");
    }

    #[test]
    fn usage_errors_name_the_argument() {
        assert!(usage_error(|new| new.id = Some("é".into())).starts_with("--id"));
        assert!(usage_error(|new| new.name = String::new()).starts_with("--name"));
        assert!(usage_error(|new| new.scope = "a  b".into()).starts_with("--scope"));
        assert!(usage_error(|new| new.default_scope = Some("c".into())).starts_with("--default-scope"));
        assert!(usage_error(|new| new.rest.audiences = vec!["the orders".into()]).starts_with("--audience"));
        assert!(
            usage_error(|new| new.rest.introspection_audiences = vec![String::new()])
                .starts_with("--introspection-audience")
        );
        assert!(usage_error(|new| new.rest.auth_methods = vec!["none".into()]).starts_with("--auth-method"));
        assert!(usage_error(|new| new.rest.alg = Some("none".into())).starts_with("--alg"));
        assert!(usage_error(|new| new.rest.default_audience = Some("a b".into())).starts_with("--default-audience"));
        assert!(usage_error(|new| new.rest.claims = Some("{".into())).starts_with("--claims is not JSON"));
        assert!(usage_error(|new| new.rest.claims = Some(r#"{"aud":1}"#.into())).starts_with("--claims must be"));
        assert!(usage_error(|new| new.rest.scope_claim = Some("x".into())).starts_with("--scope-claim"));
        assert!(usage_error(|new| new.rest.typ = Some("jwt".into())).starts_with("--typ must be at+jwt or JWT"));
        for label in ["team", "a b=x", "=x"] {
            assert!(usage_error(|new| new.rest.labels = vec![label.into()]).starts_with("--label must be"));
        }
        assert!(usage_error(|new| new.rest.labels = vec!["a=x".into(), "a=y".into()]).starts_with("--label must name"));
        for ttl in ["0s", "31d", "500ms", "1h500ms", "x"] {
            assert!(
                usage_error(|new| new.rest.ttl = Some(ttl.into())).starts_with("--ttl"),
                "{ttl}"
            );
        }
    }
}
