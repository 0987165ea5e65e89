//! The authorization server metadata document (RFC 8414 §2), its alias for readers of OpenID
//! Connect Discovery, and where an issuer serves both.

use serde::Serialize;
use utoipa::ToSchema;

use super::alg::Alg;
use super::client::AuthMethod;
use super::request::CLIENT_CREDENTIALS;

/// Path of the metadata document (RFC 8414 §3).
pub const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
/// Path of the alias of the metadata document (OpenID Connect Discovery 1.0 §4).
pub const OPENID_CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";
/// Path of the JWKS.
pub const JWKS_PATH: &str = "/.well-known/jwks.json";
/// Path of the token endpoint.
pub const TOKEN_PATH: &str = "/token";
/// Path of the authorization endpoint, which supports no response type.
pub const AUTHORIZATION_PATH: &str = "/authorize";
/// Path of the introspection endpoint.
pub const INTROSPECTION_PATH: &str = "/introspect";
/// Path of the revocation endpoint.
pub const REVOCATION_PATH: &str = "/revoke";

/// How a client authenticates at the introspection endpoint. RFC 8414 §2 allows the types of access
/// tokens here, by their registered names.
fn introspection_methods() -> [&'static str; 3] {
    let [basic, post] = AuthMethod::ALL.map(AuthMethod::name);
    [basic, post, "Bearer"]
}

/// First segments of an issuer's path below which other resources are served.
const RESERVED_SEGMENTS: [&str; 4] = [".well-known", "admin", "console", "validate"];

/// The metadata document. It lists only what is implemented, so a client can rely on it.
///
/// Exception: the authorization endpoint supports nothing. It is listed because common readers
/// reject a document without one.
#[derive(Debug, Serialize, ToSchema)]
pub struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    introspection_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    grant_types_supported: [&'static str; 1],
    /// RFC 8414 §2 requires this member and forbids an empty list. `none`, because the authorization
    /// endpoint supports no response type.
    response_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_endpoint_auth_methods_supported: [&'static str; 3],
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
    access_token_signing_alg_values_supported: [&'static str; 5],
}

impl Metadata {
    /// The document for an issuer, whose URL is also the base of every endpoint.
    pub fn new(issuer: &str) -> Self {
        let base = issuer.trim_end_matches('/');
        Self {
            issuer: issuer.to_owned(),
            authorization_endpoint: format!("{base}{AUTHORIZATION_PATH}"),
            token_endpoint: format!("{base}{TOKEN_PATH}"),
            introspection_endpoint: format!("{base}{INTROSPECTION_PATH}"),
            revocation_endpoint: format!("{base}{REVOCATION_PATH}"),
            jwks_uri: format!("{base}{JWKS_PATH}"),
            grant_types_supported: [CLIENT_CREDENTIALS],
            response_types_supported: ["none"],
            token_endpoint_auth_methods_supported: AuthMethod::ALL.map(AuthMethod::name),
            introspection_endpoint_auth_methods_supported: introspection_methods(),
            revocation_endpoint_auth_methods_supported: AuthMethod::ALL.map(AuthMethod::name),
            access_token_signing_alg_values_supported: Alg::ALL.map(Alg::name),
        }
    }

    /// The issuer, as it is written.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What a person needs to know of the document: a name and a URL each.
    pub fn addresses(&self) -> [(&'static str, String); 6] {
        let base = self.issuer.trim_end_matches('/');
        [
            ("Issuer", self.issuer.clone()),
            ("Token endpoint", self.token_endpoint.clone()),
            ("Introspection endpoint", self.introspection_endpoint.clone()),
            ("Revocation endpoint", self.revocation_endpoint.clone()),
            ("Public keys (JWKS)", self.jwks_uri.clone()),
            ("Metadata", format!("{base}{METADATA_PATH}")),
        ]
    }
}

/// The metadata document for readers of OpenID Connect Discovery. There are no ID tokens: readers
/// take the algorithms of access tokens from the list for ID tokens.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenIdConfiguration<'a> {
    #[serde(flatten)]
    metadata: &'a Metadata,
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<&'static str>,
}

impl<'a> OpenIdConfiguration<'a> {
    /// The document, with the algorithms of the published keys.
    pub fn new(metadata: &'a Metadata, published: &[Alg]) -> Self {
        Self {
            metadata,
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: published.iter().map(|alg| alg.name()).collect(),
        }
    }
}

/// The path of an issuer as it is written; empty if it has none.
fn written_path(issuer: &str) -> &str {
    let after_scheme = issuer.find("://").map_or(0, |at| at + "://".len());
    let path = issuer[after_scheme..].find('/').map(|at| after_scheme + at);
    path.map_or("", |at| &issuer[at..])
}

/// The path of an issuer without final slashes, below which its endpoints are served; empty if it
/// has none. `None` if they cannot be served there: every client must spell the path in the same
/// way, no other resource may be below it, and it must not be read as a pattern.
pub fn endpoint_base(issuer: &str) -> Option<&str> {
    let base = written_path(issuer).trim_end_matches('/');
    let mut segments = base.split('/').skip(1);
    let is_plain = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(['%', '*']);
    let is_free = segments
        .clone()
        .next()
        .is_none_or(|first| !RESERVED_SEGMENTS.contains(&first));
    (is_free && segments.all(is_plain)).then_some(base)
}

/// The paths at which readers look for the document at `document` of an issuer with a path: after
/// the path (OpenID Connect Discovery 1.0 §4) and in front of it (RFC 8414 §3.1). Some remove the
/// final slash of an issuer and others do not.
pub fn document_paths(issuer: &str, document: &str) -> Vec<String> {
    let written = written_path(issuer);
    let base = written.trim_end_matches('/');
    let mut spellings = vec![base, written];
    spellings.dedup();
    spellings.retain(|path| !path.is_empty());
    let forms = |path: &str| [format!("{path}{document}"), format!("{document}{path}")];
    spellings.into_iter().flat_map(forms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p106_a_document_is_served_before_and_after_the_path_of_the_issuer() {
        let none: [&str; 0] = [];
        assert_eq!(document_paths("https://a", "/d"), none);
        assert_eq!(document_paths("https://a/", "/d"), ["//d", "/d/"]);
        assert_eq!(document_paths("https://a/b/c", "/d"), ["/b/c/d", "/d/b/c"]);
        assert_eq!(document_paths("https://a/b/", "/d"), ["/b/d", "/d/b", "/b//d", "/d/b/"]);
    }

    #[test]
    fn endpoints_are_served_below_a_path_that_has_one_spelling_and_no_other_resource() {
        for (issuer, base) in [
            ("https://a", ""),
            ("https://a/", ""),
            ("http://[::1]:80/b", "/b"),
            ("https://a/b/c/", "/b/c"),
            ("https://a/b/admin", "/b/admin"),
            ("https://a/token", "/token"),
        ] {
            assert_eq!(endpoint_base(issuer), Some(base), "{issuer}");
        }
        for issuer in [
            "https://a/admin",
            "https://a/validate/",
            "https://a/console/x",
            "https://a/.well-known/x",
            "https://a//b",
            "https://a/b/../c",
            "https://a/./b",
            "https://a/%62",
            "https://a/b*",
        ] {
            assert_eq!(endpoint_base(issuer), None, "{issuer}");
        }
    }
}
