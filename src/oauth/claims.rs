//! The claims of an access token (RFC 9068 §2.2).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::json;
use super::scope::Scope;
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
        let Some(secret_id) = &self.secret_id else {
            buffer.extend_from_slice(match self.one_time {
                true => b"\",\"one_time\":true}",
                false => b"\"}",
            });
            return;
        };
        buffer.extend_from_slice(match self.one_time {
            true => b"\",\"one_time\":true,\"secret_id\":",
            false => b"\",\"secret_id\":",
        });
        json::text(buffer, secret_id);
        buffer.push(b'}');
    }
}

/// Deserializes the claims of a presented token. Types are strict, and every claim that Mintage
/// issues is required.
impl<'de> Deserialize<'de> for AccessTokenClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Strings borrow from the token unless they contain an escape.
        #[derive(Deserialize)]
        struct Presented<'a> {
            #[serde(borrow)]
            iss: Cow<'a, str>,
            #[serde(borrow)]
            sub: Cow<'a, str>,
            aud: Audience,
            #[serde(borrow)]
            client_id: Cow<'a, str>,
            #[serde(borrow)]
            scope: Cow<'a, str>,
            iat: i64,
            exp: i64,
            #[serde(borrow)]
            jti: Cow<'a, str>,
            #[serde(default)]
            one_time: bool,
            #[serde(default)]
            secret_id: Option<Arc<str>>,
        }
        let presented = Presented::deserialize(deserializer)?;
        if presented.sub != presented.client_id {
            return Err(de::Error::custom("sub is not the client"));
        }
        let client_id: Arc<str> = presented.client_id.into();
        Ok(Self {
            iss: presented.iss.into(),
            sub: client_id.clone(),
            aud: presented.aud,
            client_id,
            scope: Scope::parse(&presented.scope).map_err(|_| de::Error::custom("malformed scope"))?,
            iat: presented.iat,
            exp: presented.exp,
            jti: TokenId::parse(&presented.jti).ok_or_else(|| de::Error::custom("malformed jti"))?,
            one_time: presented.one_time,
            secret_id: presented.secret_id,
        })
    }
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
    fn the_id_of_the_secret_is_the_last_claim_and_optional() {
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
