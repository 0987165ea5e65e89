//! The origins whose pages may read the responses of the OAuth endpoints.

use serde::{Deserialize, Serialize};

/// The value of `server.cors_origins`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct CorsOrigins(Vec<String>);

impl CorsOrigins {
    /// Each origin, in the spelling of the header `Origin`.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl TryFrom<Vec<String>> for CorsOrigins {
    type Error = String;

    fn try_from(origins: Vec<String>) -> Result<Self, String> {
        match origins.iter().all(|origin| is_origin(origin)) {
            true => Ok(Self(origins)),
            false => Err(
                "must be origins such as https://app.example: the scheme http or https, the host in lower \
                 case, and the port unless it is the default one; nothing else, and no *"
                    .to_owned(),
            ),
        }
    }
}

impl From<CorsOrigins> for Vec<String> {
    fn from(origins: CorsOrigins) -> Vec<String> {
        origins.0
    }
}

/// Whether a browser would send this text as an origin: the texts are compared byte for byte.
fn is_origin(text: &str) -> bool {
    let url = url::Url::parse(text);
    let is_written = |url: url::Url| url.origin().ascii_serialization() == text;
    text.starts_with("http") && !text.contains('*') && url.is_ok_and(is_written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_spelled_as_browsers_send_it() {
        for good in ["https://app.example", "http://localhost:3000", "https://[::1]:8443"] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "null",
            "app.example",
            "https://app.example/",
            "https://App.example",
            "https://app.example:443",
            "https://app.example/path",
            "https://*.example",
            "https://user@app.example",
            "file:///a",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
        assert!(CorsOrigins::try_from(vec!["https://a".to_owned(), "*".to_owned()]).is_err());
    }
}
