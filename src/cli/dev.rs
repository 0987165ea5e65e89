//! `serve --dev`: creates two demo clients with new secrets, and prints curl commands to try.

use std::net::SocketAddr;

use super::client::{NewClient, new_secret};
use super::stats::reachable;
use super::{Context, Failure};
use crate::db::{Conn, DbError, clients, transactions};
use crate::gateway::route::NewRoute;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::random::random_text;

/// The name of the clients of `--dev`. It distinguishes them from others with the same ids.
const NAME: &str = "Demo client of serve --dev";

/// The clients of `--dev` and their secrets.
pub struct DevClients {
    demo: ClientSecret,
    ops: ClientSecret,
}

/// Creates the clients `demo` and `ops`, or replaces their secrets, and creates a route.
pub fn create_clients(context: &Context) -> Result<DevClients, Failure> {
    let create = |id: &str, scope: &str| -> Result<ClientSecret, Failure> {
        let now = context.clock.now();
        let (secret, stored) = new_secret(now);
        let mut client = NewClient::named(id, scope).client(stored, now)?;
        client.name = NAME.into();
        context.with_database(|conn| transactions::replace_client(conn, &context.principal(), &client))?;
        Ok(secret)
    };
    // Before anything changes.
    context.with_database_of_server(|conn| {
        let found = [find(conn, "demo")?, find(conn, "ops")?];
        let other = found.into_iter().flatten().find(|client| client.name != NAME);
        Ok(match other {
            None => Ok(()),
            Some(client) => Err(Failure::Failed(format!(
                "serve --dev gives new secrets to clients named {NAME:?}, and the name of client {:?} is another: \
                 use another database, as in --database-url sqlite:dev.db",
                client.id.as_str()
            ))),
        })
    })??;
    create_route(context)?;
    Ok(DevClients {
        demo: create("demo", "orders:read orders:write")?,
        ops: create("ops", "mintage:admin")?,
    })
}

fn find(conn: &mut Conn, id: &str) -> Result<Option<Client>, DbError> {
    match ClientId::parse(id) {
        Some(id) => clients::find(conn, &id),
        None => Ok(None),
    }
}

/// Creates a route for `/validate`. An existing one stays unchanged.
fn create_route(context: &Context) -> Result<(), Failure> {
    let new = NewRoute {
        path: "/orders/{id}".into(),
        scope: Some("orders:read".into()),
        method: Some("GET".into()),
        ..NewRoute::default()
    };
    let route = new.route(random_text(12), context.clock.now());
    let route = route.map_err(|malformed| Failure::Failed(malformed.text().into()))?;
    context.with_database(
        |conn| match transactions::add_route(conn, &context.principal(), &route) {
            Err(DbError::Conflict) => Ok(()),
            inserted => inserted,
        },
    )
}

impl DevClients {
    /// The commands to try, for a server that listens on `public`, with `/admin` on `admin`.
    pub fn instructions(&self, public: SocketAddr, admin: SocketAddr) -> String {
        let (public, admin) = (reachable(public), reachable(admin));
        let (demo, ops) = (self.demo.reveal(), self.ops.reveal());
        format!(
            "\
Mintage listens on http://{public} and has two demo clients, demo and ops.
Mintage has its console at http://{admin}/console: sign in as ops, with this secret:
{ops}

# get a token
curl -s -u demo:{demo} -d grant_type=client_credentials http://{public}/token

# get a token and keep it
TOKEN=$(curl -s -u demo:{demo} -d grant_type=client_credentials http://{public}/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')

# introspect the token
curl -s -u demo:{demo} -d token=$TOKEN http://{public}/introspect

# ask, as a gateway does, whether GET /orders/1 may pass with this token
curl -si -H \"Authorization: Bearer $TOKEN\" -H 'X-Forwarded-Method: GET' -H 'X-Forwarded-Host: shop.example' -H 'X-Forwarded-Uri: /orders/1' http://{public}/validate

# revoke the token; introspected again, it is inactive
curl -s -u demo:{demo} -d token=$TOKEN http://{public}/revoke

# read /admin/cache/stats with an admin token
ADMIN=$(curl -s -u ops:{ops} -d grant_type=client_credentials -d scope=mintage:admin http://{public}/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')
curl -s -H \"Authorization: Bearer $ADMIN\" http://{admin}/admin/cache/stats
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_interfaces_is_reached_on_loopback() {
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable("127.0.0.2:80".parse().unwrap()).to_string(), "127.0.0.2:80");
    }
}
