//! The claims of an access token (RFC 9068 §2.2).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::custom_claims::PresentedClaims;
use super::json;
use super::scope::Scope;
use super::token_form::{ScopeClaim, TokenForm, TokenType};
use super::token_id::TokenId;

/// The claims of a token. Strings are shared with the client they come from, so a warm request
/// copies none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessTokenClaims {
    /// The issuer: `server.issuer`.
    pub iss: Arc<str>,
    /// The subject: the client itself (RFC 9068 §2.2).
    pub sub: Arc<str>,
    /// The audience.
    pub aud: Audience,
    /// The client it was issued to.
    pub client_id: Arc<str>,
    /// The granted scope.
    pub scope: Scope,
    /// When it was issued, in seconds since the epoch.
    pub iat: i64,
    /// The expiry, in seconds since the epoch. The token is not valid from this second on.
    pub exp: i64,
    /// The token id.
    pub jti: TokenId,
    /// Present and true in a token that `/validate` accepts once.
    pub one_time: bool,
    /// The id of the secret that the token was issued for. Only a token for `/admin` has it: the
    /// token ends with the secret.
    pub secret_id: Option<Arc<str>>,
    /// What else the token has.
    pub form: TokenForm,
}

/// The `aud` claim: a string, or an array if there are several (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A single audience.
    One(Arc<str>),
    /// Several audiences.
    Many(Vec<Arc<str>>),
}

impl Audience {
    /// Whether `audience` is one of these.
    pub fn contains(&self, audience: &str) -> bool {
        match self {
            Audience::One(one) => &**one == audience,
            Audience::Many(many) => many.iter().any(|one| &**one == audience),
        }
    }

    /// Whether `audience` is the only one.
    pub fn is_only(&self, audience: &str) -> bool {
        matches!(self, Audience::One(one) if **one == *audience)
    }

    /// Appends the claim as JSON.
    pub fn write_json(&self, buffer: &mut Vec<u8>) {
        match self {
            Audience::One(one) => json::text(buffer, one),
            Audience::Many(many) => {
                buffer.push(b'[');
                for (index, one) in many.iter().enumerate() {
                    if index > 0 {
                        buffer.push(b',');
                    }
                    json::text(buffer, one);
                }
                buffer.push(b']');
            }
        }
    }

    /// All audiences, separated by spaces (a URI contains none). The database stores this form.
    pub fn joined(&self) -> Arc<str> {
        match self {
            Audience::One(one) => one.clone(),
            Audience::Many(many) => many.join(" ").into(),
        }
    }
}

impl AccessTokenClaims {
    /// Appends the claims as JSON.
    pub fn write_json(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(b"{\"iss\":");
        json::text(buffer, &self.iss);
        buffer.extend_from_slice(b",\"sub\":");
        json::text(buffer, &self.sub);
        buffer.extend_from_slice(b",\"aud\":");
        self.aud.write_json(buffer);
        buffer.extend_from_slice(b",\"client_id\":");
        json::text(buffer, &self.client_id);
        buffer.extend_from_slice(b",\"scope\":");
        json::text(buffer, self.scope.as_str());
        buffer.extend_from_slice(b",\"iat\":");
        json::number(buffer, self.iat);
        buffer.extend_from_slice(b",\"exp\":");
        json::number(buffer, self.exp);
        buffer.extend_from_slice(b",\"jti\":\"");
        buffer.extend_from_slice(&self.jti.text());
        buffer.push(b'"');
        if self.one_time {
            buffer.extend_from_slice(b",\"one_time\":true");
        }
        if let Some(secret_id) = &self.secret_id {
            buffer.extend_from_slice(b",\"secret_id\":");
            json::text(buffer, secret_id);
        }
        self.write_form(buffer);
        buffer.push(b'}');
    }

    /// Appends `scp` and the custom claims, each after a comma, to the members of an object.
    pub(super) fn write_form(&self, buffer: &mut Vec<u8>) {
        if self.form.scope_claim == ScopeClaim::Scp {
            buffer.extend_from_slice(b",\"scp\":");
            json::words(buffer, self.scope.as_str());
        }
        if let Some(custom) = &self.form.custom {
            buffer.push(b',');
            buffer.extend_from_slice(custom.members().as_bytes());
        }
    }
}

/// Deserializes the claims of a presented token. Types are strict, and every claim that Mintage
/// always issues is required. The others are custom claims.
impl<'de> Deserialize<'de> for AccessTokenClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

/// The name of a claim.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Iss,
    Sub,
    Aud,
    ClientId,
    Scope,
    Scp,
    Iat,
    Exp,
    Jti,
    OneTime,
    SecretId,
    Other(String),
}

/// Borrows from the token unless it contains an escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = AccessTokenClaims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AccessTokenClaims, A::Error> {
        let (mut iss, mut sub, mut client_id, mut scope, mut jti) = (None, None, None, None, None);
        let (mut aud, mut iat, mut exp) = (None, None, None);
        let (mut one_time, mut secret_id, mut scp) = (None, None, None);
        let mut custom = PresentedClaims::new();
        while let Some(name) = map.next_key::<Name>()? {
            match name {
                Name::Iss => set(&mut iss, map.next_value::<Text>()?.0)?,
                Name::Sub => set(&mut sub, map.next_value::<Text>()?.0)?,
                Name::Aud => set(&mut aud, map.next_value::<Audience>()?)?,
                Name::ClientId => set(&mut client_id, map.next_value::<Text>()?.0)?,
                Name::Scope => set(&mut scope, map.next_value::<Text>()?.0)?,
                // `scope` decides; this is the same as a list.
                Name::Scp => set(&mut scp, map.next_value::<IgnoredAny>()?)?,
                Name::Iat => set(&mut iat, map.next_value::<i64>()?)?,
                Name::Exp => set(&mut exp, map.next_value::<i64>()?)?,
                Name::Jti => set(&mut jti, map.next_value::<Text>()?.0)?,
                Name::OneTime => set(&mut one_time, map.next_value::<bool>()?)?,
                Name::SecretId => set(&mut secret_id, map.next_value::<Option<Arc<str>>>()?)?,
                Name::Other(name) => custom.read(&name, &mut map)?,
            }
        }
        let client_id = given(client_id)?;
        if given(sub)? != client_id {
            return Err(de::Error::custom("sub is not the client"));
        }
        let client_id: Arc<str> = client_id.into();
        Ok(AccessTokenClaims {
            iss: given(iss)?.into(),
            sub: client_id.clone(),
            aud: given(aud)?,
            client_id,
            scope: Scope::parse(&given(scope)?).map_err(|_| de::Error::custom("malformed scope"))?,
            iat: given(iat)?,
            exp: given(exp)?,
            jti: TokenId::parse(&given(jti)?).ok_or_else(|| de::Error::custom("malformed jti"))?,
            one_time: one_time.unwrap_or_default(),
            secret_id: secret_id.flatten(),
            form: TokenForm {
                custom: custom.claims()?,
                scope_claim: scp.map_or(ScopeClaim::Scope, |_| ScopeClaim::Scp),
                // The header has it.
                typ: TokenType::default(),
            },
        })
    }
}

fn set<T, E: de::Error>(claim: &mut Option<T>, value: T) -> Result<(), E> {
    match claim.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("a claim is repeated")),
    }
}

fn given<T, E: de::Error>(claim: Option<T>) -> Result<T, E> {
    claim.ok_or_else(|| E::custom("a claim is missing"))
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AudienceVisitor;
        impl<'de> Visitor<'de> for AudienceVisitor {
            type Value = Audience;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }
            fn visit_str<E: de::Error>(self, one: &str) -> Result<Audience, E> {
                Ok(Audience::One(one.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Audience, A::Error> {
                let mut many = Vec::new();
                while let Some(one) = seq.next_element()? {
                    many.push(one);
                }
                Ok(Audience::Many(many))
            }
        }
        deserializer.deserialize_any(AudienceVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::custom_claims::CustomClaims;
    use crate::time::UnixMillis;

    fn claims() -> AccessTokenClaims {
        AccessTokenClaims {
            iss: "https://issuer".into(),
            sub: "a\"b".into(),
            aud: Audience::One("urn:a".into()),
            client_id: "a\"b".into(),
            scope: Scope::parse("x y").unwrap(),
            iat: 1,
            exp: 2,
            jti: TokenId::new(UnixMillis(1000), [0; 10]),
            one_time: false,
            secret_id: None,
            form: TokenForm::default(),
        }
    }

    fn json_of(claims: &AccessTokenClaims) -> String {
        let mut json = Vec::new();
        claims.write_json(&mut json);
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn p28_claims_are_written_as_the_specification_has_them() {
        assert_eq!(
            json_of(&claims()),
            r#"{"iss":"https://issuer","sub":"a\"b","aud":"urn:a","client_id":"a\"b","scope":"x y","iat":1,"exp":2,"jti":"00000000-03e8-7000-8000-000000000000"}"#
        );
    }

    #[test]
    fn p21_several_audiences_are_an_array() {
        let many = AccessTokenClaims {
            aud: Audience::Many(vec!["urn:a".into(), "urn:b".into()]),
            one_time: true,
            ..claims()
        };
        let text = json_of(&many);
        assert!(text.contains(r#""aud":["urn:a","urn:b"]"#) && text.contains(r#""one_time":true"#));
        assert_eq!(serde_json::from_str::<AccessTokenClaims>(&text).unwrap(), many);
    }

    #[test]
    fn the_id_of_the_secret_is_an_optional_claim() {
        for one_time in [false, true] {
            let plain = AccessTokenClaims { one_time, ..claims() };
            let with_secret = AccessTokenClaims {
                secret_id: Some("s\"1".into()),
                ..plain.clone()
            };
            let text = json_of(&with_secret);
            assert_eq!(text.replace(r#","secret_id":"s\"1""#, ""), json_of(&plain));
            assert_eq!(serde_json::from_str::<AccessTokenClaims>(&text).unwrap(), with_secret);
            assert_eq!(
                serde_json::from_str::<AccessTokenClaims>(&json_of(&plain)).unwrap(),
                plain
            );
        }
    }

    #[test]
    fn p108_p109_the_list_of_scopes_and_custom_claims_follow_the_standard_claims() {
        const CUSTOM: &str = r#""tenant":"t1","roles":[{"x":1.5}]"#;
        for (scope_claim, list) in [(ScopeClaim::Scope, ""), (ScopeClaim::Scp, r#","scp":["x","y"]"#)] {
            let form = TokenForm {
                custom: CustomClaims::parse(&format!("{{{CUSTOM}}}")).unwrap(),
                scope_claim,
                typ: TokenType::AccessToken,
            };
            let more = AccessTokenClaims { form, ..claims() };
            let text = json_of(&more);
            assert_eq!(text.replace(&format!("{list},{CUSTOM}"), ""), json_of(&claims()));
            assert_eq!(serde_json::from_str::<AccessTokenClaims>(&text).unwrap(), more);
        }
    }

    #[test]
    fn p108_a_repeated_claim_does_not_parse_and_a_reserved_one_is_not_custom() {
        let with = |more: &str| json_of(&claims()).replace("{\"iss\"", &format!("{{{more},\"iss\""));
        let parsed = |more: &str| serde_json::from_str::<AccessTokenClaims>(&with(more));
        assert!(parsed(r#""scope":"z""#).is_err() && parsed(r#""client_id":"b""#).is_err());
        assert_eq!(parsed(r#""active":false,"nbf":{"a":[]}"#).unwrap(), claims());
    }

    #[test]
    fn an_audience_is_the_only_one_if_there_is_no_other() {
        let many = |all: &[&str]| Audience::Many(all.iter().map(|one| (*one).into()).collect());
        assert!(Audience::One("urn:a".into()).is_only("urn:a"));
        assert!(!Audience::One("urn:a".into()).is_only("urn:ab"));
        assert!(!many(&["urn:a"]).is_only("urn:a") && !many(&["urn:a", "urn:b"]).is_only("urn:a"));
    }

    #[test]
    fn p51_claims_of_the_wrong_type_do_not_parse() {
        let good: serde_json::Value = serde_json::from_str(&json_of(&claims())).unwrap();
        for (name, bad) in [
            ("exp", "\"2\""),
            ("exp", "null"),
            ("exp", "1.5"),
            ("iat", "1e999"),
            ("scope", "[\"x\"]"),
            ("aud", "1"),
            ("jti", "\"x\""),
        ] {
            let mut text = good.clone();
            text[name] = serde_json::from_str(bad).unwrap_or(serde_json::Value::Null);
            assert!(
                serde_json::from_value::<AccessTokenClaims>(text).is_err(),
                "{name}={bad}"
            );
        }
    }
}
