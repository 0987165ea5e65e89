//! `serve --dev`: two clients with fresh secrets, and the commands that use them, ready to be copied.

use std::net::SocketAddr;

use super::client::{NewClient, new_secret};
use super::{Context, Failure};
use crate::db::clients;
use crate::oauth::secret::ClientSecret;

/// The clients of `--dev` and their secrets.
pub struct DevClients {
    demo: ClientSecret,
    ops: ClientSecret,
}

/// Makes `demo` and `ops`, or gives them new secrets.
pub fn make_clients(context: &Context) -> Result<DevClients, Failure> {
    let make = |id: &str, scope: &str| -> Result<ClientSecret, Failure> {
        let now = context.clock.now();
        let (secret, stored) = new_secret(now);
        let client = NewClient::named(id, scope).client(stored, now)?;
        context.with_database(|conn| clients::replace(conn, &client))?;
        Ok(secret)
    };
    Ok(DevClients {
        demo: make("demo", "orders:read orders:write")?,
        ops: make("ops", "mintage:admin")?,
    })
}

impl DevClients {
    /// What to type, for a server that listens on `public`, with `/admin` on `admin`.
    pub fn instructions(&self, public: SocketAddr, admin: SocketAddr) -> String {
        let (public, admin) = (reachable(public), reachable(admin));
        let (demo, ops) = (self.demo.reveal(), self.ops.reveal());
        format!(
            "\
Mintage listens on http://{public}, with two clients to play with.

# get a token
curl -s -u demo:{demo} -d grant_type=client_credentials http://{public}/token

# get one and keep it
TOKEN=$(curl -s -u demo:{demo} -d grant_type=client_credentials http://{public}/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')

# introspect it
curl -s -u demo:{demo} -d token=$TOKEN http://{public}/introspect

# revoke it; introspected again, it is not active
curl -s -u demo:{demo} -d token=$TOKEN http://{public}/revoke

# read /admin/cache/stats with an admin token
ADMIN=$(curl -s -u ops:{ops} -d grant_type=client_credentials -d scope=mintage:admin http://{public}/token | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')
curl -s -H \"Authorization: Bearer $ADMIN\" http://{admin}/admin/cache/stats
"
        )
    }
}

/// Where a command on this machine reaches the address: a server on all interfaces is asked on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// A database URL with every password masked.
///
/// By hand and not by a URL parser: libpq takes URLs that no parser does (several hosts), and what cannot be parsed
/// must not be shown whole.
pub fn shown(url: &str) -> String {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(base, query)| (base, Some(query)));
    let base = match base
        .split_once("//")
        .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)))
    {
        Some((scheme, (user, host))) => {
            let user = user
                .split_once(':')
                .map_or(user.to_owned(), |(name, _)| format!("{name}:***"));
            format!("{scheme}//{user}@{host}")
        }
        None => base.to_owned(),
    };
    let Some(query) = query else {
        return base;
    };
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
        _ => pair.to_owned(),
    });
    format!("{base}?{}", masked.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g8_a_password_in_a_url_is_masked() {
        assert_eq!(
            shown("postgres://m:hunter2@db/m?sslmode=require"),
            "postgres://m:***@db/m?sslmode=require"
        );
        assert_eq!(shown("sqlite:mintage.db"), "sqlite:mintage.db");
        assert_eq!(shown("postgres://u:p@ss@h1:1,h2:2/db"), "postgres://u:***@h1:1,h2:2/db");
        assert_eq!(
            shown("postgres:///m?user=a&password=x&sslpassword=y"),
            "postgres:///m?user=a&password=***&sslpassword=***"
        );
        assert_eq!(shown("postgres://m@db/m"), "postgres://m@db/m");
    }

    #[test]
    fn a_server_on_all_interfaces_is_reached_on_loopback() {
        assert_eq!(reachable("0.0.0.0:80".parse().unwrap()).to_string(), "127.0.0.1:80");
        assert_eq!(reachable("127.0.0.2:80".parse().unwrap()).to_string(), "127.0.0.2:80");
    }
}
