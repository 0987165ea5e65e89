//! A URL of PostgreSQL, read as libpq reads it (docs/adr/0030-the-url-of-postgresql-as-libpq-reads-it.md).
//!
//! Two readers that disagree about a URL can print a password that the other hides, or protect a
//! host that the other does not connect to. So there is one, after `conninfo_uri_parse_options` in
//! libpq 18.6, for masking, for checks and for adding parameters. It accepts less than libpq:
//! wherever a piece of a password might be taken for something else, the URL is rejected.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::locality::is_loopback;

/// Every parameter of libpq 18.6, and `ssl`, which stands for `sslmode`.
const PARAMETERS: [&str; 51] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "options",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "scram_client_key",
    "scram_server_key",
    "service",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslkeylogfile",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];

/// The parameters whose values are secret. `sslkeylogfile` is a path, but names where the keys of
/// the connection are.
const SECRETS: [&str; 6] = [
    "oauth_client_secret",
    "password",
    "scram_client_key",
    "scram_server_key",
    "sslkeylogfile",
    "sslpassword",
];

/// The values of `sslmode`.
const TLS_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// The methods of `require_auth`.
const METHODS: [&str; 7] = ["password", "md5", "gss", "sspi", "scram-sha-256", "oauth", "none"];

/// What stays as it is in the value of a parameter.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A URL of PostgreSQL. Not printed, except by [`DatabaseUrl::masked`].
pub struct DatabaseUrl {
    text: String,
    /// The URL with its secrets masked.
    masked: String,
    /// What is not secret, decoded, in libpq's order: a later value takes precedence.
    settings: Vec<(String, String)>,
    has_password: bool,
    /// `scram_client_key`, which stands for the password.
    has_client_key: bool,
    /// What separates the next parameter from the text.
    separator: &'static str,
}

/// The URL cannot be used. What is wrong is not quoted: it may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedUrl;

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({})", self.masked)
    }
}

impl DatabaseUrl {
    /// Reads `postgres://[USER[:PASSWORD]@][HOST[:PORT],…][/NAME][?PARAMETER=VALUE&…]`.
    ///
    /// # Errors
    /// libpq rejects the URL, or reads it differently than a person would.
    pub fn parse(text: &str) -> Result<Self, MalformedUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(MalformedUrl)?;
        // libpq cuts a text at a space, and C at a NUL.
        let has_gap = text.bytes().any(|byte| byte.is_ascii_whitespace() || byte == 0);
        if !matches!(scheme, "postgres" | "postgresql") || has_gap {
            return Err(MalformedUrl);
        }
        let mut url = Self {
            text: text.to_owned(),
            masked: format!("{scheme}://"),
            settings: Vec::new(),
            has_password: false,
            has_client_key: false,
            separator: "?",
        };
        // As in libpq, a `?` may be part of the user or the password, and a `/` may not.
        let (user_info, rest) = match rest.find(['@', '/']) {
            Some(at) if rest[at..].starts_with('@') => (Some(&rest[..at]), &rest[at + 1..]),
            _ => (None, rest),
        };
        if let Some(user_info) = user_info {
            url.read_user_info(user_info)?;
        }
        let (before, parameters) = match rest.split_once('?') {
            Some((before, parameters)) => (before, Some(parameters)),
            None => (rest, None),
        };
        // It would be part of a password whose user info ended earlier.
        if before.contains('@') {
            return Err(MalformedUrl);
        }
        let (hosts, name) = match before.split_once('/') {
            Some((hosts, name)) => (hosts, Some(name)),
            None => (before, None),
        };
        url.read_hosts(hosts)?;
        if let Some(name) = name {
            url.set("dbname", &decoded(name)?);
            url.masked.push('/');
            url.masked.push_str(name);
        }
        if let Some(parameters) = parameters {
            url.read_parameters(parameters)?;
        }
        Ok(url)
    }

    fn read_user_info(&mut self, user_info: &str) -> Result<(), MalformedUrl> {
        // It was meant as a parameter whose value contains an `@`.
        if user_info.split_once('?').is_some_and(|(_, rest)| rest.contains('=')) {
            return Err(MalformedUrl);
        }
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user_info, None),
        };
        self.set("user", &decoded(user)?);
        self.masked.push_str(user);
        if let Some(password) = password {
            self.has_password |= !decoded(password)?.is_empty();
            self.masked.push_str(":***");
        }
        self.masked.push('@');
        Ok(())
    }

    fn read_hosts(&mut self, text: &str) -> Result<(), MalformedUrl> {
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for part in text.split(',') {
            let (host, port) = match part.strip_prefix('[') {
                Some(rest) => match rest.split_once(']').ok_or(MalformedUrl)? {
                    ("", _) => return Err(MalformedUrl),
                    (host, "") => (host, ""),
                    (host, port) => (host, port.strip_prefix(':').ok_or(MalformedUrl)?),
                },
                None => part.split_once(':').unwrap_or((part, "")),
            };
            // With a password that contains a `/`, the user and the first part of the password
            // would be host and port.
            if !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(MalformedUrl);
            }
            hosts.push(decoded(host)?);
            ports.push(port);
        }
        let (hosts, ports) = (hosts.join(","), ports.join(","));
        self.set("host", &hosts);
        self.set("port", &ports);
        self.masked.push_str(text);
        Ok(())
    }

    fn read_parameters(&mut self, text: &str) -> Result<(), MalformedUrl> {
        self.masked.push('?');
        self.separator = "";
        if text.is_empty() {
            return Ok(());
        }
        // libpq accepts one `&` at the end.
        let text = text.strip_suffix('&').unwrap_or_else(|| {
            self.separator = "&";
            text
        });
        for (index, parameter) in text.split('&').enumerate() {
            let (name, value) = parameter.split_once('=').ok_or(MalformedUrl)?;
            if value.contains('=') {
                return Err(MalformedUrl);
            }
            let (name, decoded) = (decoded(name)?, decoded(value)?);
            if !PARAMETERS.contains(&name.as_str()) {
                return Err(MalformedUrl);
            }
            let is_secret = SECRETS.contains(&name.as_str());
            let separator = if index == 0 { "" } else { "&" };
            let shown = if is_secret { "***" } else { value };
            self.masked.push_str(&format!("{separator}{name}={shown}"));
            match name.as_str() {
                "ssl" if decoded == "true" => self.settings.push(("sslmode".into(), "require".into())),
                "ssl" => return Err(MalformedUrl),
                "password" => self.has_password = !decoded.is_empty(),
                "scram_client_key" => self.has_client_key = !decoded.is_empty(),
                _ if is_secret => {}
                _ => self.settings.push((name, decoded)),
            }
        }
        Ok(())
    }

    /// Sets what stands before the parameters. libpq ignores an empty value there.
    fn set(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.settings.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The value of a parameter that is not secret, wherever in the URL it stands. `user`, `host`,
    /// `port` and `dbname` are parameters too.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The parameter, `sslmode` or `require_auth`, that has a value that libpq does not know. Warnings
    /// about these two quote the value, so it must not be a password in the wrong place.
    pub fn unknown_value(&self) -> Option<&str> {
        let is_unknown = |(name, value): &&(String, String)| match name.as_str() {
            "sslmode" => !TLS_MODES.contains(&value.as_str()),
            "require_auth" => !are_methods(value),
            _ => false,
        };
        self.settings.iter().find(is_unknown).map(|(name, _)| name.as_str())
    }

    /// Whether the URL contains a password, or what stands for it.
    pub fn has_password(&self) -> bool {
        self.has_password || self.has_client_key
    }

    /// Whether every server of the URL is this machine: loopback, or a socket in the file system.
    /// `variable` reads the environment, from which libpq takes what the URL does not set.
    pub fn is_local(&self, variable: impl Fn(&str) -> Option<String>) -> bool {
        let value = |name, of_environment: &str| {
            let of_url = self.parameter(name).map(str::to_owned);
            of_url.or_else(|| variable(of_environment)).unwrap_or_default()
        };
        let all =
            |hosts: &str, accepted: fn(&str) -> bool| hosts.split(',').all(|host| host.is_empty() || accepted(host));
        // A service is a file with any hosts.
        value("service", "PGSERVICE").is_empty()
            && all(&value("host", "PGHOST"), |host| {
                host.starts_with(['/', '@']) || is_loopback(host)
            })
            && all(&value("hostaddr", "PGHOSTADDR"), is_loopback)
    }

    /// The URL with `***` for its secrets.
    pub fn masked(&self) -> &str {
        &self.masked
    }

    /// The URL, secrets included, with more parameters. They take precedence over those that it
    /// has.
    pub fn with<'a>(&self, parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
        let mut text = self.text.clone();
        let mut separator = self.separator;
        for (name, value) in parameters {
            let value = utf8_percent_encode(value, ESCAPED);
            text.push_str(&format!("{separator}{name}={value}"));
            separator = "&";
        }
        text
    }
}

/// Whether this is a list of methods, of which all or none are excluded by `!`. An empty one is.
fn are_methods(value: &str) -> bool {
    let excludes = value.starts_with('!');
    let is_method = |listed: &str| {
        let method = listed.strip_prefix('!');
        method.is_some() == excludes && METHODS.contains(&method.unwrap_or(listed))
    };
    value.is_empty() || value.split(',').all(is_method)
}

/// A variable of the environment of this process, as libpq reads it.
pub fn variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Percent-decodes a part. libpq takes bytes; a password may be in any encoding, but nothing that
/// is looked at here.
fn decoded(text: &str) -> Result<String, MalformedUrl> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (high, low) = (digit().ok_or(MalformedUrl)?, digit().ok_or(MalformedUrl)?);
        bytes.push((high * 16 + low) as u8);
    }
    if bytes.contains(&0) {
        return Err(MalformedUrl);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> DatabaseUrl {
        DatabaseUrl::parse(text).unwrap_or_else(|_| panic!("{text}"))
    }

    /// Without variables in the environment.
    fn is_local(text: &str) -> bool {
        parsed(text).is_local(|_| None)
    }

    #[test]
    fn the_parts_of_a_url_are_those_of_libpq() {
        let url =
            parsed("postgresql://us%65r:p%40ss?word@one:5432,[::1]:5433,three/na%2Fme?ssl=true&host=%2Frun&dbname=x");
        let parts = ["user", "host", "port", "dbname", "sslmode", "application_name"];
        let expected = [
            Some("user"),
            Some("/run"),
            Some("5432,5433,"),
            Some("x"),
            Some("require"),
            None,
        ];
        assert_eq!(parts.map(|name| url.parameter(name)), expected);
        assert!(url.has_password());
        let url = parsed("postgres://one,,[fe80::1]/");
        assert_eq!(url.parameter("host"), Some("one,,fe80::1"));
        assert_eq!(url.parameter("dbname"), None);
        assert!(!url.has_password());
    }

    #[test]
    fn a_password_is_found_wherever_libpq_finds_it() {
        for url in [
            "postgres://m:x@h/d",
            "postgres://:x@h",
            "postgres://h/d?password=x",
            "postgres://h?passw%6Frd=x",
            "postgres://m:x@h?%70assword=y",
            "postgres://h?scram_client_key=x",
            "postgres://h?scram_client_key=x&password=",
        ] {
            assert!(parsed(url).has_password(), "{url}");
        }
        for url in [
            "postgres://m@h/d",
            "postgres://m:@h",
            "postgres://m:x@h?password=",
            "postgres://h?passfile=x",
            "postgres://h?scram_client_key=x&scram_client_key=",
        ] {
            assert!(!parsed(url).has_password(), "{url}");
        }
    }

    #[test]
    fn a_url_that_can_be_misread_is_rejected() {
        for bad in [
            "",
            "postgres:h",
            "mysql://h/d",
            "sqlite:mintage.db",
            // A `/` in the password: libpq takes what is before it for host and port.
            "postgres://m:hun/ter2@h/d",
            "postgres://m:12/ter2@h/d",
            // An `@` in the password.
            "postgres://m:hun@ter2@h/d",
            "postgres://m:hun@ter/2@h/d",
            // Parameters without a `/` before them, and an `@` in a value.
            "postgres://h:5432?password=hun@ter2",
            "postgres://h?password=hun@ter2",
            "postgres://h:port/d",
            "postgres://h:54:32/d",
            "postgres://[h/d",
            "postgres://[]/d",
            "postgres://[::1]5432/d",
            "postgres://m:hunter2%zz@h/d",
            "postgres://m:hunter2%@h/d",
            "postgres://m:hunter2%00@h/d",
            "postgres://m:hunter 2@h/d",
            "postgres://h/d?",
            "postgres://h/d?a=b",
            "postgres://h/d?sslmode",
            "postgres://h/d?sslmode=a=b",
            "postgres://h/d?sslmode=require&&user=m",
            "postgres://h/d?&",
            "postgres://h/d?ssl=false",
        ] {
            let rejected = DatabaseUrl::parse(bad).is_err();
            // libpq accepts an empty list of parameters.
            assert_eq!(rejected, bad != "postgres://h/d?", "{bad}");
        }
    }

    #[test]
    fn only_loopback_and_sockets_are_local() {
        for local in [
            "postgres://",
            "postgres:///d",
            "postgres://localhost/d",
            "postgres://m:x@127.0.0.1:5432/d",
            "postgres://[::1]/d",
            "postgres://localhost,127.0.0.2/d",
            "postgres://%2Frun%2Fpostgresql/d",
            "postgres:///d?host=/run",
            "postgres:///d?host=@abstract",
            "postgres://localhost/d?hostaddr=127.0.0.1",
            "postgres://db/d?host=localhost",
        ] {
            assert!(is_local(local), "{local}");
        }
        for remote in [
            "postgres://db/d",
            "postgres://10.0.0.1/d",
            "postgres://localhost,db/d",
            "postgres://localhost%2Cdb/d",
            "postgres://localhost/d?host=db",
            "postgres://localhost/d?hostaddr=10.0.0.1",
            "postgres://db/d?hostaddr=127.0.0.1",
            "postgres:///d?service=x",
        ] {
            assert!(!is_local(remote), "{remote}");
        }
        let with = |text, name: &'static str, value: &'static str| {
            parsed(text).is_local(move |variable| (variable == name).then(|| value.to_owned()))
        };
        assert!(!with("postgres:///d", "PGHOST", "db"));
        assert!(with("postgres://localhost/d", "PGHOST", "db"));
        assert!(!with("postgres://localhost/d", "PGHOSTADDR", "10.0.0.1"));
        assert!(!with("postgres://localhost/d", "PGSERVICE", "x"));
        assert!(with("postgres:///d", "PGHOST", "/run"));
    }

    #[test]
    fn parameters_are_added_after_those_of_the_url() {
        for (text, expected) in [
            ("postgres://h/d", "postgres://h/d?sslmode=a%26b"),
            ("postgres://h/d?", "postgres://h/d?sslmode=a%26b"),
            ("postgres://h/d?user=m", "postgres://h/d?user=m&sslmode=a%26b"),
            ("postgres://h/d?user=m&", "postgres://h/d?user=m&sslmode=a%26b"),
            ("postgres://m:a?b@h/d", "postgres://m:a?b@h/d?sslmode=a%26b"),
            ("postgres://h/d?user=m?", "postgres://h/d?user=m?&sslmode=a%26b"),
        ] {
            let text = parsed(text).with([("sslmode", "a&b")]);
            assert_eq!(text, expected);
            assert_eq!(parsed(&text).parameter("sslmode"), Some("a&b"));
        }
    }

    #[test]
    fn g8_debug_shows_the_masked_url() {
        assert_eq!(
            format!("{:?}", parsed("postgres://m:hunter2@h")),
            "DatabaseUrl(postgres://m:***@h)"
        );
    }

    /// `conninfo_uri_parse_options` of libpq, as literally as Rust allows: the options that it
    /// stores, or `None` for an error.
    fn libpq(text: &str) -> Option<Vec<(String, Vec<u8>)>> {
        fn decode(text: &[u8]) -> Option<Vec<u8>> {
            let (mut out, mut at) = (Vec::new(), 0);
            while at < text.len() {
                if text[at] != b'%' {
                    out.push(text[at]);
                    at += 1;
                    continue;
                }
                let hex = std::str::from_utf8(text.get(at + 1..at + 3)?).ok()?;
                let byte = u8::from_str_radix(hex, 16).ok().filter(|byte| *byte != 0)?;
                out.push(byte);
                at += 3;
            }
            Some(out)
        }
        let text = text.strip_prefix("postgres://")?.as_bytes();
        let at = |p: usize| text.get(p).copied().unwrap_or(0);
        let mut options = Vec::new();
        let mut p = 0;
        while at(p) != 0 && at(p) != b'@' && at(p) != b'/' {
            p += 1;
        }
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        if at(p) == b'@' {
            let end = p;
            p = 0;
            while at(p) != b':' && at(p) != b'@' {
                p += 1;
            }
            options.push(("user".to_owned(), decode(&text[..p])?));
            if at(p) == b':' {
                options.push(("password".to_owned(), decode(&text[p + 1..end])?));
            }
            p = end + 1;
        } else {
            p = 0;
        }
        loop {
            let begin;
            if at(p) == b'[' {
                p += 1;
                begin = p;
                while at(p) != 0 && at(p) != b']' {
                    p += 1;
                }
                if at(p) == 0 || p == begin {
                    return None;
                }
                hosts.extend(&text[begin..p]);
                p += 1;
                if !matches!(at(p), 0 | b':' | b'/' | b'?' | b',') {
                    return None;
                }
            } else {
                begin = p;
                while !matches!(at(p), 0 | b':' | b'/' | b'?' | b',') {
                    p += 1;
                }
                hosts.extend(&text[begin..p]);
            }
            if at(p) == b':' {
                p += 1;
                let begin = p;
                while !matches!(at(p), 0 | b'/' | b'?' | b',') {
                    p += 1;
                }
                ports.extend(&text[begin..p]);
            }
            if at(p) != b',' {
                break;
            }
            p += 1;
            hosts.push(b',');
            ports.push(b',');
        }
        options.push(("host".to_owned(), decode(&hosts)?));
        options.push(("port".to_owned(), decode(&ports)?));
        if at(p) != 0 && at(p) != b'?' {
            p += 1;
            let begin = p;
            while at(p) != 0 && at(p) != b'?' {
                p += 1;
            }
            options.push(("dbname".to_owned(), decode(&text[begin..p])?));
        }
        options.retain(|(_, value)| !value.is_empty());
        if at(p) == 0 {
            return Some(options);
        }
        let parameters = &text[p + 1..];
        if parameters.is_empty() {
            return Some(options);
        }
        let parameters = parameters.strip_suffix(b"&").unwrap_or(parameters);
        for parameter in parameters.split(|byte| *byte == b'&') {
            let mut parts = parameter.split(|byte| *byte == b'=');
            let (name, value) = (decode(parts.next()?)?, decode(parts.next()?)?);
            if parts.next().is_some() {
                return None;
            }
            let name = String::from_utf8(name).ok()?;
            match (name.as_str(), value.as_slice()) {
                ("ssl", b"true") => options.push(("sslmode".to_owned(), b"require".to_vec())),
                ("ssl", _) => return None,
                (known, _) if PARAMETERS.contains(&known) => options.push((name, value)),
                _ => return None,
            }
        }
        Some(options)
    }

    /// A text that may stand in a URL, escaped or not, and that contains `SECRET` if it is one.
    fn piece(secret: bool) -> impl Strategy<Value = String> {
        let characters = proptest::collection::vec(
            prop_oneof![
                8 => "[a-z0-9]",
                4 => "[:/?@&=,#%\\[\\]]",
                4 => "%[2-7][0-9a-fA-F]",
            ],
            0..6,
        );
        characters.prop_map(move |pieces| {
            let middle = pieces.len() / 2;
            let secret = if secret { "SECRET" } else { "" };
            format!("{}{secret}{}", pieces[..middle].concat(), pieces[middle..].concat())
        })
    }

    fn urls() -> impl Strategy<Value = String> {
        let parameter = (
            proptest::sample::select(&PARAMETERS[..]),
            piece(false),
            prop_oneof![4 => piece(true), 1 => Just(String::new())],
            0..8usize,
        )
            .prop_map(|(name, value, secret, escaped)| {
                let value = if SECRETS.contains(&name) { secret } else { value };
                let name: String = name
                    .bytes()
                    .enumerate()
                    .map(|(at, byte)| {
                        if at == escaped {
                            format!("%{byte:02x}")
                        } else {
                            char::from(byte).to_string()
                        }
                    })
                    .collect();
                format!("{name}={value}")
            });
        let parameters = proptest::collection::vec(parameter, 0..3);
        let user_info = proptest::option::of((piece(false), proptest::option::of(piece(true))));
        (user_info, piece(false), parameters).prop_map(|(user_info, rest, parameters)| {
            let user_info = match user_info {
                Some((user, Some(password))) => format!("{user}:{password}@"),
                Some((user, None)) => format!("{user}@"),
                None => String::new(),
            };
            let separator = if parameters.is_empty() { "" } else { "?" };
            format!("postgres://{user_info}{rest}{separator}{}", parameters.join("&"))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn g8_what_libpq_takes_for_a_secret_is_masked_and_the_rest_read_alike(text in urls()) {
            if let Ok(url) = DatabaseUrl::parse(&text) {
                let options = libpq(&text).expect("what is accepted here, libpq accepts");
                let last = |name: &str| options.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
                for name in PARAMETERS.iter().filter(|name| !SECRETS.contains(name)) {
                    let ours = url.parameter(name).map(str::to_owned);
                    let theirs = last(name).map(|value| String::from_utf8_lossy(&value).into_owned());
                    prop_assert_eq!(ours, theirs, "{} of {}", name, text);
                }
                let has_password = ["password", "scram_client_key"]
                    .iter()
                    .any(|name| last(name).is_some_and(|value| !value.is_empty()));
                prop_assert_eq!(url.has_password(), has_password, "{}", text);
                // Everywhere else, the generator writes no capitals but in escapes.
                prop_assert!(!url.masked().contains("SECRET"), "{} is shown as {}", text, url.masked());
                let with = parsed(&url.with([("sslmode", "verify-full")]));
                prop_assert_eq!(with.parameter("sslmode"), Some("verify-full"));
            }
        }

        #[test]
        fn any_text_is_read_or_rejected(text in "\\PC*") {
            let _ = DatabaseUrl::parse(&text);
            let _ = DatabaseUrl::parse(&format!("postgres://{text}"));
        }
    }
}
