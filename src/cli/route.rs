//! `mintage route`: manages the forward-auth policy of `/validate`.

use serde::Serialize;

use super::{Context, Failure, confirm, print, print_json, print_table};
use crate::api::page::Page;
use crate::api::route::{self, ExplanationDocument, RouteDocument};
use crate::db::{DbError, routes, transactions};
use crate::gateway::route::{Access, MalformedRoute, NewRoute, Route};
use crate::random::random_text;

/// The length of a route's id: 16 letters and digits.
const ID_LENGTH: usize = 16;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Add a route: matching requests need its scope, or no token if it is public
    #[command(
        after_help = "Examples:\n  mintage route add --method GET --path '/orders/{id}' --scope orders:read\n  \
                      mintage route add --method OPTIONS --path '/orders/{id}' --public"
    )]
    Add(Box<New>),
    /// List all routes
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a route
    Remove {
        /// Route id
        id: String,
        /// Do not ask; only a person at a terminal is asked
        #[arg(long)]
        yes: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show which route decides on a request, and why
    #[command(after_help = "Example:\n  mintage route explain GET https://shop.example/orders/1")]
    Explain {
        /// Method of the request, such as GET
        method: String,
        /// URL or path of the request
        url: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// The arguments of `route add`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("access").args(["scope", "public"]).required(true)))]
pub struct New {
    /// Path template: literal segments, {name} for one segment, {*rest} for the remainder
    #[arg(long)]
    path: String,
    /// Scopes that the token must have, space-separated
    #[arg(long)]
    scope: Option<String>,
    /// Requests need no token; one that they have is ignored
    #[arg(long, conflicts_with = "audience")]
    public: bool,
    /// Method; GET covers HEAD [default: any]
    #[arg(long)]
    method: Option<String>,
    /// Host, without port [default: any]
    #[arg(long)]
    host: Option<String>,
    /// Audience that the token must have [default: token.audience]
    #[arg(long, value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(new) => add(context, *new),
        Command::List { json } => list(context, json),
        Command::Remove { id, yes, json } => remove(context, &id, yes, json),
        Command::Explain { method, url, json } => explain(context, &method, &url, json),
    }
}

fn add(context: &Context, new: New) -> Result<(), Failure> {
    let json = new.json;
    let new = NewRoute {
        path: new.path,
        public: new.public,
        scope: new.scope,
        method: new.method,
        host: new.host,
        audience: new.audience,
    };
    let route = new
        .route(random_text(ID_LENGTH), context.clock.now())
        .map_err(wrong_argument)?;
    context.with_database(
        |conn| match transactions::add_route(conn, &context.principal(), &route) {
            Err(DbError::Conflict) => Ok(Err(Failure::Failed(
                "a route with this method, host and path already exists: see `mintage route list`".into(),
            ))),
            inserted => inserted.map(Ok),
        },
    )??;
    match json {
        true => print_json(&RouteDocument::from(&route)),
        false => print(&format!("route {} added", route.id)),
    }
    Ok(())
}

/// The error that names the flag of the invalid value.
fn wrong_argument(malformed: MalformedRoute) -> Failure {
    let flag = match malformed {
        MalformedRoute::NoScope => {
            let text = "--scope must not be empty: use --public for a route whose requests need no token";
            return Failure::Usage(text.into());
        }
        MalformedRoute::Method => "--method",
        MalformedRoute::Host => "--host",
        MalformedRoute::Scope | MalformedRoute::ReservedScope => "--scope",
        MalformedRoute::Audience => "--audience",
        MalformedRoute::PublicWithToken => "--public",
        _ => "--path",
    };
    Failure::Usage(format!("{flag}: {malformed}"))
}

fn list(context: &Context, json: bool) -> Result<(), Failure> {
    let all = context.with_database(routes::list)?;
    if json {
        print_json(&Page {
            items: all.iter().map(RouteDocument::from).collect(),
            next_cursor: None,
        });
    } else if all.is_empty() {
        print(
            "No routes yet, so /validate denies everything: add one with `mintage route add --path PATH --scope SCOPE`.",
        );
    } else {
        let rows: Vec<_> = all.iter().map(columns).collect();
        print_table(["Route id", "Method", "Host", "Path", "Scope", "Audience"], &rows);
    }
    Ok(())
}

fn columns(route: &Route) -> [String; 6] {
    let method = route.method.as_ref().map_or("any", |method| method.as_str());
    let host = route.host.as_ref().map_or("any", |host| host.as_str());
    let (scope, audience) = match &route.access {
        Access::Public => ("(public)", "(none)"),
        Access::Token { scope, audience } => (scope.as_str(), audience.as_deref().unwrap_or("(default)")),
    };
    [
        route.id.to_string(),
        method.to_owned(),
        host.to_owned(),
        route.path.as_str().to_owned(),
        scope.to_owned(),
        audience.to_owned(),
    ]
}

/// A route in one line of an explanation.
fn line(route: &Route) -> String {
    let [id, method, host, path, ..] = columns(route);
    let access = match &route.access {
        Access::Public => "public: no token is needed".to_owned(),
        Access::Token { scope, audience: None } => scope.to_string(),
        Access::Token {
            scope,
            audience: Some(audience),
        } => format!("{scope} for {audience}"),
    };
    format!("{id} {method:7} {host:20} {path:30} {access}")
}

fn remove(context: &Context, id: &str, yes: bool, json: bool) -> Result<(), Failure> {
    confirm(&format!("Remove route {id:?}?"), yes)?;
    let now = context.clock.now();
    if !context.with_database(|conn| transactions::remove_route(conn, &context.principal(), id, now))? {
        return Err(Failure::Failed(format!(
            "route {id:?} not found: see `mintage route list`"
        )));
    }
    #[derive(Serialize)]
    struct Removed<'a> {
        id: &'a str,
        removed: bool,
    }
    match json {
        true => print_json(&Removed { id, removed: true }),
        false => print(&format!("route {id} removed")),
    }
    Ok(())
}

fn explain(context: &Context, method: &str, url: &str, json: bool) -> Result<(), Failure> {
    let table = context.with_database(routes::table)?;
    let explanation = route::explain(&table, method, url);
    match json {
        true => print_json(&explanation),
        false => print(&in_words(&explanation, table.routes())),
    }
    Ok(())
}

fn in_words(explanation: &ExplanationDocument<'_>, routes: &[Route]) -> String {
    let described = |document: &RouteDocument<'_>| {
        let route = routes.iter().find(|route| route.id == document.id());
        route.map(line).unwrap_or_default()
    };
    let mut lines = match &explanation.route {
        Some(route) => vec![
            format!("decided by  {}", described(route)),
            format!("because     {}", explanation.reason),
        ],
        None => vec![format!("denied      {}", explanation.reason)],
    };
    for other in &explanation.others {
        lines.push(format!("not by      {}", described(&other.route)));
        lines.push(format!("because     {}", other.reason));
    }
    lines.join("\n")
}
