//! The token request (RFC 6749 §4.4.2), parsed from a form or from JSON. Each parameter may occur
//! once.

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

use super::bounds::MAX_RESOURCES;
use super::client_secret::ClientSecret;
use super::error::OAuthError;
use super::form;

/// The parameters of a token request that Mintage supports. Others are ignored (RFC 6749 §3.2).
///
/// An empty parameter is treated as omitted (§3.2), so `Some` is never empty.
#[derive(Debug, Default)]
pub struct TokenRequest {
    /// The `grant_type` parameter.
    pub grant_type: Option<GrantType>,
    /// The `scope` parameter, not yet parsed.
    pub scope: Option<String>,
    /// The `client_id` parameter.
    pub client_id: Option<String>,
    /// The `client_secret` parameter.
    pub client_secret: Option<ClientSecret>,
    /// The `resource` (RFC 8707 §2) and `audience` parameters, in the order of the request; these
    /// may be repeated.
    pub targets: Vec<Target>,
    /// The `one_time` parameter: requests a token that `/validate` accepts once.
    pub one_time: bool,
}

/// What a token is requested for (docs/protocol.md#p107).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A `resource`, which must be a URI.
    Resource(String),
    /// An `audience`, which need not be one. Clients of Hydra, Keycloak and Auth0 send it.
    Audience(String),
}

impl Target {
    /// The audience that it names.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Resource(text) | Self::Audience(text) => text,
        }
    }
}

/// The grant type (RFC 6749 §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantType {
    /// `client_credentials` (RFC 6749 §4.4), the only supported one.
    ClientCredentials,
    /// Any other grant type.
    Unknown,
}

/// The name of the supported grant type.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";

const REPEATED: OAuthError = OAuthError::InvalidRequest("a parameter is repeated");
const BAD_ENCODING: OAuthError = OAuthError::InvalidRequest("the form is not well encoded");
const BAD_ONE_TIME: OAuthError = OAuthError::InvalidRequest("one_time must be true or false");
const BAD_JSON: OAuthError = OAuthError::InvalidRequest("the JSON is not an object with the expected members");

impl TokenRequest {
    /// Parses a form.
    ///
    /// # Errors
    /// `invalid_request` for a bad escape, invalid UTF-8, or a repeated supported parameter, even
    /// if empty (docs/protocol.md#p5, #p9).
    pub fn from_form(body: &[u8]) -> Result<Self, OAuthError> {
        let mut seen = Seen::default();
        let mut request = Self::default();
        for (name, value) in form::pairs(body) {
            let name = form::decode(name).map_err(|_| BAD_ENCODING)?;
            let value = form::decode(value).map_err(|_| BAD_ENCODING)?;
            let Some(parameter) = Parameter::by_name(&name) else {
                continue;
            };
            if seen.contains_or_insert(parameter) && !parameter.is_target() {
                return Err(REPEATED);
            }
            request.set(parameter, value)?;
        }
        Ok(request)
    }

    /// Parses JSON with the same member names (docs/protocol.md#p3).
    ///
    /// # Errors
    /// `invalid_request` if the text is not an object, or a supported member is repeated or of the
    /// wrong type.
    pub fn from_json(body: &[u8]) -> Result<Self, OAuthError> {
        // As text: in the bytes of an ignored member, bad UTF-8 would pass.
        let text = std::str::from_utf8(body).map_err(|_| BAD_JSON)?;
        serde_json::from_str(text).map_err(|_| BAD_JSON)
    }

    fn set(&mut self, parameter: Parameter, value: Cow<'_, str>) -> Result<(), OAuthError> {
        if value.is_empty() {
            return Ok(());
        }
        match parameter {
            Parameter::GrantType => {
                self.grant_type = Some(match &*value {
                    CLIENT_CREDENTIALS => GrantType::ClientCredentials,
                    _ => GrantType::Unknown,
                });
            }
            Parameter::Scope => self.scope = Some(value.into_owned()),
            Parameter::ClientId => self.client_id = Some(value.into_owned()),
            Parameter::ClientSecret => self.client_secret = Some(ClientSecret::new(value.into_owned())),
            Parameter::Resource => self.push(Target::Resource(value.into_owned()))?,
            Parameter::Audience => {
                // Hydra accepts several audiences in one parameter. None contains a space.
                for audience in value.split(' ').filter(|audience| !audience.is_empty()) {
                    self.push(Target::Audience(audience.to_owned()))?;
                }
            }
            Parameter::OneTime => {
                self.one_time = match &*value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(BAD_ONE_TIME),
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, target: Target) -> Result<(), OAuthError> {
        if self.targets.len() == MAX_RESOURCES {
            return Err(OAuthError::InvalidRequest("there are too many resources"));
        }
        self.targets.push(target);
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Parameter {
    GrantType,
    Scope,
    ClientId,
    ClientSecret,
    Resource,
    Audience,
    OneTime,
}

impl Parameter {
    fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "grant_type" => Self::GrantType,
            "scope" => Self::Scope,
            "client_id" => Self::ClientId,
            "client_secret" => Self::ClientSecret,
            "resource" => Self::Resource,
            "audience" => Self::Audience,
            "one_time" => Self::OneTime,
            _ => return None,
        })
    }

    /// Whether it names an audience, and may be repeated.
    fn is_target(self) -> bool {
        matches!(self, Self::Resource | Self::Audience)
    }
}

/// Which parameters have occurred, one bit each.
#[derive(Default)]
struct Seen(u8);

impl Seen {
    fn contains_or_insert(&mut self, parameter: Parameter) -> bool {
        let bit = 1 << parameter as u8;
        let before = self.0;
        self.0 |= bit;
        before & bit != 0
    }
}

/// An introspection request (RFC 7662 §2.1) or a revocation request (RFC 7009 §2.1): both have the
/// same parameters.
///
/// `token_type_hint` is only checked for repetition. There is one type of token, so a wrong hint is
/// harmless (docs/protocol.md#p37).
#[derive(Default)]
pub struct TokenManagementRequest {
    /// The `token` parameter.
    pub token: Option<String>,
    /// The `client_id` parameter.
    pub client_id: Option<String>,
    /// The `client_secret` parameter.
    pub client_secret: Option<ClientSecret>,
    /// Whether there is a `client_assertion` (RFC 7521 §4.2), which is not supported.
    pub client_assertion: bool,
}

impl fmt::Debug for TokenManagementRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenManagementRequest(…)")
    }
}

impl TokenManagementRequest {
    /// Parses a form.
    ///
    /// # Errors
    /// As [`TokenRequest::from_form`].
    pub fn from_form(body: &[u8]) -> Result<Self, OAuthError> {
        const NAMES: [&str; 4] = ["token", "token_type_hint", "client_id", "client_secret"];
        let mut values: [Option<String>; NAMES.len()] = Default::default();
        let mut client_assertion = false;
        for (name, value) in form::pairs(body) {
            let name = form::decode(name).map_err(|_| BAD_ENCODING)?;
            let value = form::decode(value).map_err(|_| BAD_ENCODING)?;
            if let Some(at) = NAMES.iter().position(|known| *known == name) {
                if values[at].is_some() {
                    return Err(REPEATED);
                }
                values[at] = Some(value.into_owned());
            } else if name == "client_assertion" {
                client_assertion |= !value.is_empty();
            }
        }
        let [token, _, client_id, client_secret] = values.map(|value| value.filter(|value| !value.is_empty()));
        Ok(Self {
            token,
            client_id,
            client_secret: client_secret.map(ClientSecret::new),
            client_assertion,
        })
    }
}

impl<'de> Deserialize<'de> for TokenRequest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RequestVisitor)
    }
}

struct RequestVisitor;

impl<'de> Visitor<'de> for RequestVisitor {
    type Value = TokenRequest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TokenRequest, A::Error> {
        let reject = |_: OAuthError| de::Error::custom("rejected");
        let mut seen = Seen::default();
        let mut request = TokenRequest::default();
        while let Some(name) = map.next_key::<String>()? {
            let Some(parameter) = Parameter::by_name(&name) else {
                map.next_value::<de::IgnoredAny>()?;
                continue;
            };
            // JSON has arrays in place of repetition, so every member may occur once only.
            if seen.contains_or_insert(parameter) {
                return Err(reject(REPEATED));
            }
            match parameter {
                Parameter::OneTime => request.one_time = map.next_value()?,
                Parameter::Resource | Parameter::Audience => {
                    for value in map.next_value::<OneOrMany>()?.0 {
                        request.set(parameter, value.into()).map_err(reject)?;
                    }
                }
                _ => request
                    .set(parameter, map.next_value::<String>()?.into())
                    .map_err(reject)?,
            }
        }
        Ok(request)
    }
}

/// A string or an array of strings.
struct OneOrMany(Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor;
        impl<'de> Visitor<'de> for OneOrManyVisitor {
            type Value = OneOrMany;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![value.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany(values))
            }
        }
        deserializer.deserialize_any(OneOrManyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p8_empty_is_treated_as_omitted_and_unknown_is_ignored() {
        let request = TokenRequest::from_form(b"grant_type=&scope=a+b&foo=1&foo=2&Scope=c").unwrap();
        assert!(request.grant_type.is_none());
        assert_eq!(request.scope.as_deref(), Some("a b"));
    }

    #[test]
    fn p9_a_repeated_known_parameter_is_rejected_even_if_empty() {
        for body in [
            "scope=a&scope=b",
            "scope=&scope=a",
            "client_id=a&client_id=a",
            "one_time=true&one_time=true",
        ] {
            assert_eq!(
                TokenRequest::from_form(body.as_bytes()).unwrap_err(),
                REPEATED,
                "{body}"
            );
        }
        let request = TokenRequest::from_form(b"resource=urn:a&audience=b+c&resource=urn:d&audience=&audience=e");
        let (resource, audience) = (
            |a: &str| Target::Resource(a.into()),
            |a: &str| Target::Audience(a.into()),
        );
        assert_eq!(
            request.unwrap().targets,
            [
                resource("urn:a"),
                audience("b"),
                audience("c"),
                resource("urn:d"),
                audience("e")
            ]
        );
    }

    #[test]
    fn p9_a_name_is_compared_in_its_decoded_form() {
        assert_eq!(TokenRequest::from_form(b"scope=a&sc%6Fpe=b").unwrap_err(), REPEATED);
    }

    #[test]
    fn p9_one_time_is_true_or_false() {
        assert!(TokenRequest::from_form(b"one_time=true").unwrap().one_time);
        assert!(!TokenRequest::from_form(b"one_time=false").unwrap().one_time);
        for bad in ["one_time=1", "one_time=TRUE", "one_time=+true"] {
            assert_eq!(
                TokenRequest::from_form(bad.as_bytes()).unwrap_err(),
                BAD_ONE_TIME,
                "{bad}"
            );
        }
    }

    #[test]
    fn p9_introspection_and_revocation_requests_have_each_parameter_once() {
        let request =
            TokenManagementRequest::from_form(b"token=a.b.c&token_type_hint=&foo=1&foo=2&client_id=").unwrap();
        assert_eq!((request.token.as_deref(), request.client_id), (Some("a.b.c"), None));
        assert!(!request.client_assertion);
        for body in [
            "token=a&token=a",
            "token=&token=a",
            "token_type_hint=x&token_type_hint=",
            "client_id=a&client_id=b",
        ] {
            assert_eq!(
                TokenManagementRequest::from_form(body.as_bytes()).unwrap_err(),
                REPEATED,
                "{body}"
            );
        }
    }

    #[test]
    fn p3_json_has_the_same_names() {
        let body = br#"{"grant_type":"client_credentials","scope":"","resource":["urn:a","urn:b"],"audience":"c","one_time":true,"x":{"y":[null]}}"#;
        let request = TokenRequest::from_json(body).unwrap();
        assert_eq!(request.grant_type, Some(GrantType::ClientCredentials));
        assert!(request.scope.is_none() && request.one_time);
        let named: Vec<&str> = request.targets.iter().map(Target::as_str).collect();
        assert_eq!(named, ["urn:a", "urn:b", "c"]);
    }

    #[test]
    fn p3_wrong_types_and_repeated_members_are_rejected() {
        for bad in [
            "",
            "[]",
            "null",
            "\"a\"",
            "{",
            "{} x",
            r#"{"scope":1}"#,
            r#"{"scope":null}"#,
            r#"{"scope":["a"]}"#,
            r#"{"one_time":"true"}"#,
            r#"{"one_time":null}"#,
            r#"{"resource":[1]}"#,
            r#"{"resource":{}}"#,
            r#"{"audience":{}}"#,
            r#"{"audience":"a","audience":"b"}"#,
            r#"{"scope":"a","scope":"a"}"#,
            r#"{"resource":"urn:a","resource":"urn:b"}"#,
        ] {
            assert_eq!(TokenRequest::from_json(bad.as_bytes()).unwrap_err(), BAD_JSON, "{bad}");
        }
    }

    #[test]
    fn p3_deep_json_does_not_overflow_the_stack() {
        let deep = |name: &str| format!("{{\"{name}\":{}{}}}", "[".repeat(8000), "]".repeat(8000));
        assert!(TokenRequest::from_json(deep("unknown").as_bytes()).is_ok());
        assert_eq!(TokenRequest::from_json(deep("scope").as_bytes()).unwrap_err(), BAD_JSON);
        assert_eq!(
            TokenRequest::from_json(deep("resource").as_bytes()).unwrap_err(),
            BAD_JSON
        );
    }
}
