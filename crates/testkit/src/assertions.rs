//! Assertions about responses. Each one covers the complete response that an endpoint must send.

use serde_json::json;

use crate::http::Response;

/// The detail of every 503.
const UNAVAILABLE: &str = "the server cannot answer now, try again later";

impl Response {
    /// The response must not be cached (P22) and has a request id (P26).
    #[track_caller]
    pub fn assert_common_headers(&self) {
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("pragma"), Some("no-cache"));
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()));
    }

    /// The response is exactly this error of an OAuth endpoint (P22, P24).
    #[track_caller]
    pub fn assert_oauth_error(&self, status: u16, error: &str, description: &str) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.json(), json!({"error": error, "error_description": description}));
        self.assert_common_headers();
        let challenge = (status == 401).then_some("Basic realm=\"mintage\", charset=\"UTF-8\"");
        assert_eq!(self.header("www-authenticate"), challenge);
        let retry = (status == 503).then_some("1");
        assert_eq!(self.header("retry-after"), retry);
    }

    /// The response is the one that every failed authentication gets (P15).
    #[track_caller]
    pub fn assert_invalid_client(&self) {
        self.assert_oauth_error(401, "invalid_client", "client authentication failed");
    }

    /// The response is the one of an OAuth endpoint that needs an unavailable database (P25).
    #[track_caller]
    pub fn assert_temporarily_unavailable(&self) {
        self.assert_oauth_error(503, "temporarily_unavailable", UNAVAILABLE);
    }

    /// The response is the one of an OAuth endpoint to a body with an unsupported media type (P4);
    /// it names the types that the endpoint accepts.
    #[track_caller]
    pub fn assert_unsupported_media_type(&self, accepted: &str) {
        self.assert_oauth_error(415, "invalid_request", &format!("the media type must be {accepted}"));
    }

    /// The response is the one of an admin endpoint that needs an unavailable database.
    #[track_caller]
    pub fn assert_unavailable_problem(&self) {
        self.assert_problem(503, "Service Unavailable", UNAVAILABLE, None);
        assert_eq!(self.header("retry-after"), Some("1"));
    }

    /// The response is exactly this problem document of an admin endpoint (RFC 9457), with this
    /// challenge.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, title: &str, detail: &str, challenge: Option<&str>) {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(
            self.json(),
            json!({"type": "about:blank", "title": title, "status": status, "detail": detail})
        );
        assert_eq!(self.header("www-authenticate"), challenge);
        self.assert_common_headers();
    }

    /// The response is this error of `/validate`, must not be cached and has no headers for the
    /// upstream.
    #[track_caller]
    pub fn assert_validate_error(&self, status: u16, error: &str, challenge: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("www-authenticate"), Some(challenge));
        assert_eq!(self.json()["error"], error, "{self:?}");
        for name in ["x-client-id", "x-token-scope", "x-token-id", "x-token-expires"] {
            assert_eq!(self.header(name), None, "{self:?}");
        }
    }

    /// The response is the 403 of `/validate` that does not depend on the token, with this reason.
    #[track_caller]
    pub fn assert_denied(&self, reason: &str) {
        self.assert_validate_error(403, "access_denied", "Bearer realm=\"mintage\"");
        assert_eq!(self.json()["error_description"], reason);
    }

    /// The response is a 503 with `Retry-After`.
    #[track_caller]
    pub fn assert_unavailable(&self) {
        assert_eq!(self.status, 503, "{}", self.text());
        assert_eq!(self.header("retry-after"), Some("1"));
    }
}
