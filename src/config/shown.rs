//! URLs as `config show` and the log print them: with their passwords masked.

use super::database_url::DatabaseUrl;

/// A URL of a database or of Redis with its secrets masked. Of a malformed one, only the scheme is
/// shown.
pub fn shown(url: &str) -> String {
    match url.split_once("://") {
        Some(("postgres" | "postgresql", _)) => match DatabaseUrl::parse(url) {
            Ok(url) => url.masked().to_owned(),
            Err(_) => "postgres://***".into(),
        },
        // The client of Redis reads its URL by the same crate.
        Some(("redis", _)) => match url::Url::parse(url) {
            Ok(mut url) if url.password().is_some() => match url.set_password(Some("***")) {
                Ok(()) => url.into(),
                Err(()) => "redis://***".into(),
            },
            Ok(_) => url.to_owned(),
            Err(_) => "redis://***".into(),
        },
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g8_a_password_in_a_url_is_masked() {
        for (url, masked) in [
            (
                "postgres://m:hunter2@db/m?sslmode=require",
                "postgres://m:***@db/m?sslmode=require",
            ),
            (
                "postgres://m:hunter2@a:5432,b:5432/m",
                "postgres://m:***@a:5432,b:5432/m",
            ),
            ("postgres://m:hunter2@/m?host=/run", "postgres://m:***@/m?host=/run"),
            ("postgres://m:hun?ter:2@db/m", "postgres://m:***@db/m"),
            (
                "postgres://db/m?user=m&password=hun@ter2&application_name=b",
                "postgres://db/m?user=m&password=***&application_name=b",
            ),
            ("postgres://db/m?passw%6Frd=hunter2", "postgres://db/m?password=***"),
            ("postgres://db/m?%70assword=hunter2", "postgres://db/m?password=***"),
            (
                "postgres://db/m?oauth_client_secret=hunter2",
                "postgres://db/m?oauth_client_secret=***",
            ),
            (
                "postgres://db:5432/m?sslpassword=hunter2",
                "postgres://db:5432/m?sslpassword=***",
            ),
            // Malformed: libpq would read a part of the password as something else.
            ("postgres://m:hun@ter/2@db/m", "postgres://***"),
            ("redis://:hunter2@redis/0", "redis://:***@redis/0"),
            ("redis://user:hunter2@[::1]:6380", "redis://user:***@[::1]:6380"),
            ("redis://redis:6379/1", "redis://redis:6379/1"),
            ("redis://u:hunter2@", "redis://***"),
            ("postgres://m@db:5432/m", "postgres://m@db:5432/m"),
            ("sqlite:mintage.db", "sqlite:mintage.db"),
            ("sqlite:///var/lib/mintage.db", "sqlite:///var/lib/mintage.db"),
            ("", ""),
        ] {
            assert_eq!(shown(url), masked);
        }
    }
}
