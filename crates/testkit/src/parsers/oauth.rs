//! What clients send to `/token`, `/introspect` and `/revoke`: forms, JSON and Basic credentials.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use mintage::oauth::basic::{self as credentials, Pair};
use mintage::oauth::bounds::MAX_RESOURCES;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::form as encoding;
use mintage::oauth::request::{CLIENT_CREDENTIALS, GrantType, Target, TokenManagementRequest, TokenRequest};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::escapes::unescaped;

/// The parameters of a token request.
const PARAMETERS: [&str; 7] = [
    "grant_type",
    "scope",
    "client_id",
    "client_secret",
    "resource",
    "audience",
    "one_time",
];

/// A token request as an independent reader sees it.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    grant_type: Option<bool>,
    scope: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    targets: Vec<Target>,
    one_time: bool,
}

impl From<&TokenRequest> for Expected {
    fn from(request: &TokenRequest) -> Self {
        Self {
            grant_type: request.grant_type.map(|grant| grant == GrantType::ClientCredentials),
            scope: request.scope.clone(),
            client_id: request.client_id.clone(),
            client_secret: request.client_secret.as_ref().map(|secret| secret.reveal().to_owned()),
            targets: request.targets.clone(),
            one_time: request.one_time,
        }
    }
}

impl Expected {
    /// Sets a parameter whose value is a text; `None` when there are too many resources.
    fn set(&mut self, name: &str, value: String) -> Option<()> {
        if value.is_empty() {
            return Some(());
        }
        match name {
            "grant_type" => self.grant_type = Some(value == CLIENT_CREDENTIALS),
            "scope" => self.scope = Some(value),
            "client_id" => self.client_id = Some(value),
            "client_secret" => self.client_secret = Some(value),
            "resource" => self.targets.push(Target::Resource(value)),
            "audience" => {
                let words = value.split(' ').filter(|word| !word.is_empty());
                self.targets.extend(words.map(|word| Target::Audience(word.to_owned())));
            }
            _ => {}
        }
        (self.targets.len() <= MAX_RESOURCES).then_some(())
    }

    /// What a form says; `None` when it must be rejected.
    fn of_form(pairs: &[(String, String)]) -> Option<Self> {
        let mut expected = Self::default();
        for (number, (name, value)) in pairs.iter().enumerate() {
            let known = ["grant_type", "scope", "client_id", "client_secret", "one_time"].contains(&name.as_str());
            if known && pairs[..number].iter().any(|(other, _)| other == name) {
                return None;
            }
            match (name.as_str(), value.as_str()) {
                ("one_time", "") => {}
                ("one_time", value) => expected.one_time = value.parse().ok()?,
                _ => expected.set(name, value.clone())?,
            }
        }
        Some(expected)
    }

    /// What a JSON document says; `None` when it must be rejected.
    fn of_json(document: &Members) -> Option<Self> {
        let mut expected = Self::default();
        for (number, (name, value)) in document.0.iter().enumerate() {
            if PARAMETERS.contains(&name.as_str()) && document.0[..number].iter().any(|(other, _)| other == name) {
                return None;
            }
            match name.as_str() {
                "one_time" => expected.one_time = value.as_bool()?,
                "resource" | "audience" => {
                    let one = std::slice::from_ref(value);
                    for resource in value.as_array().map_or(one, Vec::as_slice) {
                        expected.set(name, resource.as_str()?.to_owned())?;
                    }
                }
                "grant_type" | "scope" | "client_id" | "client_secret" => {
                    expected.set(name, value.as_str()?.to_owned())?;
                }
                _ => {}
            }
        }
        Some(expected)
    }
}

/// A form: strict in its encoding, each parameter at most once, and read as any other reader of
/// forms does.
pub fn form(data: &[u8]) {
    let raw: Vec<(&[u8], &[u8])> = encoding::pairs(data).collect();
    let pieces: Vec<&[u8]> = data
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty())
        .collect();
    assert_eq!(raw.len(), pieces.len(), "a pair for each piece");
    for ((name, value), piece) in raw.iter().zip(pieces) {
        let whole = match piece.contains(&b'=') {
            true => [name, &b"="[..], value].concat(),
            false => name.to_vec(),
        };
        assert_eq!(whole, piece, "nothing is lost");
        assert!(!name.contains(&b'='), "the first = separates");
    }
    let mut decoded = Some(Vec::new());
    for (name, value) in &raw {
        let pair = decoded_alike(name).zip(decoded_alike(value));
        decoded = decoded.zip(pair).map(|(mut all, pair)| {
            all.push(pair);
            all
        });
    }
    let expected = decoded.as_deref().and_then(Expected::of_form);
    let request = TokenRequest::from_form(data);
    assert_eq!(request.as_ref().ok().map(Expected::from), expected);
    if let (Ok(request), Some(pairs)) = (&request, &decoded) {
        prints_no_secret(request.client_secret.as_ref());
        let written = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        let again = TokenRequest::from_form(written.as_bytes()).ok();
        assert_eq!(
            again.as_ref().map(Expected::from),
            expected,
            "the same after it is written again"
        );
    }
    question(data, decoded.as_deref());
}

/// What is asked about a token.
fn question(data: &[u8], pairs: Option<&[(String, String)]>) {
    let values = |name: &str| -> Vec<&str> {
        let of_name = pairs.into_iter().flatten().filter(|(known, _)| known == name);
        of_name.map(|(_, value)| value.as_str()).collect()
    };
    let names = ["token", "token_type_hint", "client_id", "client_secret"];
    let may_be_read = pairs.is_some() && names.iter().all(|name| values(name).len() <= 1);
    let question = TokenManagementRequest::from_form(data);
    assert_eq!(question.is_ok(), may_be_read);
    let Ok(question) = question else {
        return;
    };
    let value = |name| values(name).first().copied().filter(|value| !value.is_empty());
    assert_eq!(question.token.as_deref(), value("token"));
    assert_eq!(question.client_id.as_deref(), value("client_id"));
    assert_eq!(
        question.client_secret.as_ref().map(ClientSecret::reveal),
        value("client_secret")
    );
    assert_eq!(
        format!("{question:?}"),
        format!("{:?}", TokenManagementRequest::default()),
        "it prints nothing"
    );
}

/// The decoder decodes as the plain one does.
fn decoded_alike(raw: &[u8]) -> Option<String> {
    let decoded = encoding::decode(raw).ok().map(|text| text.into_owned());
    assert_eq!(decoded, unescaped(raw, true), "{raw:?}");
    decoded
}

fn prints_no_secret(secret: Option<&ClientSecret>) {
    if let Some(secret) = secret {
        assert_eq!(format!("{secret:?}"), format!("{:?}", ClientSecret::new(String::new())));
    }
}

/// A JSON object with its members in order, also those that come twice.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    // An unknown one is ignored, however deep it is.
                    let value = match PARAMETERS.contains(&name.as_str()) {
                        true => map.next_value()?,
                        false => map.next_value::<IgnoredAny>().map(|_| Value::Null)?,
                    };
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// A token request in JSON: an object to any other reader too, with the same members, each known
/// one at most once.
pub fn json(data: &[u8]) {
    let request = TokenRequest::from_json(data);
    let text = std::str::from_utf8(data).ok();
    let document = text.and_then(|text| serde_json::from_str::<Members>(text).ok());
    let expected = document.as_ref().and_then(Expected::of_json);
    assert_eq!(request.as_ref().ok().map(Expected::from), expected);
    if let Ok(request) = request {
        assert!(data.trim_ascii().starts_with(b"{") && data.trim_ascii().ends_with(b"}"));
        prints_no_secret(request.client_secret.as_ref());
    }
}

/// Basic credentials: read as RFC 6749 §2.3.1 says and as they were sent, and nothing else is.
pub fn basic(data: &[u8]) {
    let read = |header: &[u8]| {
        let pair = |pair: &Pair| (pair.id.clone(), pair.secret.reveal().to_owned());
        let credentials = credentials::parse(header).ok()?;
        let raw = credentials.raw.as_deref().map(pair);
        Some(
            [Some(pair(&credentials.pair)), raw]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        )
    };
    let accepted = read(data);
    assert_eq!(accepted, expected_credentials(data));
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    for (id, secret) in accepted.into_iter().flatten() {
        let pair = format!("{}:{}", encoded(&id), encoded(&secret));
        let accepted = (id, secret);
        for written in [STANDARD.encode(&pair), STANDARD_NO_PAD.encode(&pair)] {
            let again = read(format!("Basic {written}").as_bytes()).unwrap_or_default();
            assert_eq!(again.first(), Some(&accepted), "the same after it is written again");
        }
    }
}

/// The pairs that a header may mean: form-decoded and as it was sent, each once.
fn expected_credentials(header: &[u8]) -> Option<Vec<(String, String)>> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let encoded = std::str::from_utf8(encoded.trim_ascii()).ok()?;
    let unpadded = encoded.trim_end_matches('=');
    let padding = encoded.len() - unpadded.len();
    if padding != 0 && padding != unpadded.len().wrapping_neg() % 4 {
        return None;
    }
    let sent = STANDARD_NO_PAD.decode(unpadded).ok()?;
    let colon = sent.iter().position(|byte| *byte == b':')?;
    let decoded = unescaped(&sent[..colon], true).zip(unescaped(&sent[colon + 1..], true));
    let text = std::str::from_utf8(&sent).ok();
    let raw = text
        .and_then(|text| text.split_once(':'))
        .map(|(id, secret)| (id.to_owned(), secret.to_owned()));
    let raw = raw.filter(|raw| decoded.as_ref() != Some(raw));
    let pairs: Vec<_> = [decoded, raw].into_iter().flatten().collect();
    (!pairs.is_empty()).then_some(pairs)
}
