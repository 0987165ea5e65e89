//! The parameters that Mintage adds to the URL of PostgreSQL, unless the URL sets them: so that a
//! dead server is noticed, and so that no password is sent to a server that has not proved who it
//! is.
//!
//! Left alone, libpq (`sslmode=prefer`) sends the password in clear to any server that answers that there
//! is no TLS, and then believes every row.

use crate::config::DatabaseUrl;

/// With these, a vanished peer (power failure, unplugged cable) is noticed within about 10 to 25 s.
/// The defaults of libpq take hours.
const TIMEOUTS: [(&str, &str); 6] = [
    ("connect_timeout", "2"),
    ("tcp_user_timeout", "10000"),
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("application_name", "mintage"),
];

/// What libpq would take from elsewhere.
pub(super) struct Surroundings<'a> {
    /// Reads a variable of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Whether `~/.postgresql/root.crt` exists.
    pub has_root_file: bool,
    /// The file with the certificate authorities of the system.
    pub system_roots: Option<String>,
}

impl Surroundings<'_> {
    /// Those of this process.
    pub fn of_process() -> Self {
        let root_file = std::env::home_dir().map(|home| home.join(".postgresql/root.crt"));
        let system_roots = openssl_probe::probe().cert_file;
        Self {
            variable: &crate::config::variable,
            has_root_file: root_file.is_some_and(|file| file.exists()),
            system_roots: system_roots.and_then(|file| file.into_os_string().into_string().ok()),
        }
    }
}

/// The URL with the parameters that it needs.
pub(super) fn complete(url: &DatabaseUrl, around: &Surroundings<'_>) -> String {
    let added = parameters(url, around);
    url.with(added.iter().map(|(name, value)| (*name, value.as_str())))
}

fn parameters(url: &DatabaseUrl, around: &Surroundings<'_>) -> Vec<(&'static str, String)> {
    let absent = TIMEOUTS.iter().filter(|(name, _)| url.parameter(name).is_none());
    let mut added: Vec<(&str, String)> = absent.map(|(name, value)| (*name, (*value).to_owned())).collect();
    let of_variable = || (around.variable)("PGSSLROOTCERT");
    let roots = url.parameter("sslrootcert").map(str::to_owned).or_else(of_variable);
    let roots = roots.filter(|roots| !roots.is_empty());
    let are_system_roots = roots.as_deref() == Some("system");
    let mode = match url.parameter("sslmode") {
        Some(mode) => Some(mode),
        // libpq's default for the roots of the system. For other remote hosts, PGSSLMODE is
        // overridden: what is weaker must be in the URL.
        None if are_system_roots || !url.is_local(around.variable) => {
            added.push(("sslmode", "verify-full".into()));
            Some("verify-full")
        }
        None => None,
    };
    // An OpenSSL that is compiled in looks for the roots of the system where it was built.
    let needs_roots = match mode {
        Some("verify-full") => are_system_roots || roots.is_none() && !around.has_root_file,
        Some("verify-ca") => roots.is_none() && !around.has_root_file,
        _ => false,
    };
    if let Some(system) = around.system_roots.as_ref().filter(|_| needs_roots) {
        added.push(("sslrootcert", system.clone()));
    }
    if url.parameter("require_auth").is_none() {
        let methods = match url.has_password() {
            // The server proves that it knows the password too, which it never sees.
            true => "scram-sha-256",
            // Whatever needs no password, and a password of PGPASSWORD or ~/.pgpass not in clear.
            false => "!password,!md5",
        };
        added.push(("require_auth", methods.into()));
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUNDLE: &str = "/etc/ssl/cert.pem";

    /// The values that are added for TLS and authentication: `sslmode`, `sslrootcert`,
    /// `require_auth`.
    fn added(url: &str, variables: &[(&str, &str)], has_root_file: bool) -> [Option<String>; 3] {
        let around = Surroundings {
            variable: &|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            },
            has_root_file,
            system_roots: Some(BUNDLE.into()),
        };
        let added = parameters(&DatabaseUrl::parse(url).unwrap(), &around);
        ["sslmode", "sslrootcert", "require_auth"].map(|name| {
            added
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.clone())
        })
    }

    const FULL: Option<&str> = Some("verify-full");
    const ROOTS: Option<&str> = Some(BUNDLE);
    const SCRAM: Option<&str> = Some("scram-sha-256");
    const NOT_CLEAR: Option<&str> = Some("!password,!md5");

    #[test]
    fn a_remote_server_is_verified_and_a_password_demands_scram() {
        for (url, expected) in [
            // Local: no TLS is demanded.
            ("postgres:///m", [None, None, NOT_CLEAR]),
            ("postgres:///m?host=/run", [None, None, NOT_CLEAR]),
            ("postgres://m@localhost/m", [None, None, NOT_CLEAR]),
            ("postgres://m:x@localhost/m", [None, None, SCRAM]),
            ("postgres://m:x@127.0.0.1,[::1]/m", [None, None, SCRAM]),
            ("postgres://m:x@localhost/m?sslmode=disable", [None, None, SCRAM]),
            ("postgres://m:x@localhost/m?sslmode=verify-ca", [None, ROOTS, SCRAM]),
            // Remote.
            ("postgres://m@db/m", [FULL, ROOTS, NOT_CLEAR]),
            ("postgres://m:x@db/m", [FULL, ROOTS, SCRAM]),
            ("postgres://db/m?user=m&passw%6Frd=x", [FULL, ROOTS, SCRAM]),
            ("postgres://m:x@localhost,db/m", [FULL, ROOTS, SCRAM]),
            ("postgres://m:x@localhost/m?hostaddr=10.0.0.1", [FULL, ROOTS, SCRAM]),
            ("postgres://m:x@localhost/m?host=db", [FULL, ROOTS, SCRAM]),
            ("postgres://m:x@/m?service=s", [FULL, ROOTS, SCRAM]),
            ("postgres://m:x@db/m?sslrootcert=/ca.pem", [FULL, None, SCRAM]),
            ("postgres://m:x@db/m?sslrootcert=", [FULL, ROOTS, SCRAM]),
            ("postgres://m:x@db/m?sslrootcert=system", [FULL, ROOTS, SCRAM]),
            ("postgres://m:x@localhost/m?sslrootcert=system", [FULL, ROOTS, SCRAM]),
            // What the URL sets takes precedence.
            ("postgres://m:x@db/m?sslmode=require", [None, None, SCRAM]),
            ("postgres://m:x@db/m?ssl=true", [None, None, SCRAM]),
            ("postgres://m:x@db/m?sslm%6Fde=prefer", [None, None, SCRAM]),
            ("postgres://m:x@db/m?sslmode=verify-full", [None, ROOTS, SCRAM]),
            (
                "postgres://m:x@db/m?sslmode=verify-full&sslrootcert=/ca.pem",
                [None, None, SCRAM],
            ),
            ("postgres://m:x@db/m?sslmode=verify-ca", [None, ROOTS, SCRAM]),
            // libpq refuses this combination.
            (
                "postgres://m:x@db/m?sslmode=require&sslrootcert=system",
                [None, None, SCRAM],
            ),
            ("postgres://m:x@db/m?require_auth=md5", [FULL, ROOTS, None]),
            ("postgres://m:x@localhost/m?require_auth=none", [None, None, None]),
            ("postgres://m:x@localhost/m?require_auth=", [None, None, None]),
            // A password cannot pass for a parameter.
            ("postgres://m:sslmode=disable@db/m", [FULL, ROOTS, SCRAM]),
            (
                "postgres://require_auth=none&sslmode=disable@db/m",
                [FULL, ROOTS, NOT_CLEAR],
            ),
        ] {
            let expected = expected.map(|value| value.map(str::to_owned));
            assert_eq!(added(url, &[], false), expected, "{url}");
        }
    }

    #[test]
    fn what_libpq_takes_from_elsewhere_is_seen() {
        let url = "postgres://m:x@/m";
        assert_eq!(added(url, &[("PGHOST", "db")], false)[0].as_deref(), FULL);
        assert_eq!(added(url, &[("PGHOST", "/run")], false)[0], None);
        assert_eq!(added(url, &[("PGHOSTADDR", "10.0.0.1")], false)[0].as_deref(), FULL);
        assert_eq!(added(url, &[("PGSERVICE", "s")], false)[0].as_deref(), FULL);
        let remote = "postgres://m:x@db/m";
        let weaker = [("PGSSLMODE", "disable"), ("PGREQUIREAUTH", "password")];
        assert_eq!(added(remote, &weaker, false), added(remote, &[], false));
        assert_eq!(added(remote, &[("PGSSLROOTCERT", "/ca.pem")], false)[1], None);
        assert_eq!(added(remote, &[("PGSSLROOTCERT", "system")], true)[1].as_deref(), ROOTS);
        assert_eq!(added(remote, &[], true)[1], None);
    }

    #[test]
    fn timeouts_of_the_url_take_precedence() {
        let complete = |url: &str| {
            let around = Surroundings {
                variable: &|_| None,
                has_root_file: false,
                system_roots: None,
            };
            complete(&DatabaseUrl::parse(url).unwrap(), &around)
        };
        let url = complete("postgres://m@localhost/m?connect_timeout=9");
        assert!(
            url.starts_with("postgres://m@localhost/m?connect_timeout=9&tcp_user_timeout=10000&"),
            "{url}"
        );
        assert_eq!(url.matches("connect_timeout").count(), 1);
        // A password is not a parameter.
        let url = complete("postgres://m:connect_timeout=9&@localhost/m");
        let expected = "postgres://m:connect_timeout=9&@localhost/m?connect_timeout=2&tcp_user_timeout=10000&";
        assert!(url.starts_with(expected), "{url}");
        assert!(
            url.ends_with("&application_name=mintage&require_auth=scram-sha-256"),
            "{url}"
        );
    }
}
