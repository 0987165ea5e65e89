//! The claims of an access token (RFC 9068 §2.2).

use std::sync::Arc;

use serde::de::{self, Deserializer};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::scope::Scope;
use super::token_id::TokenId;

/// What a token says. Texts are shared with the client they come from: a warm request copies none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccessTokenClaims {
    /// Who issued it: `server.issuer`.
    pub iss: Arc<str>,
    /// Whom it is about: the client itself (RFC 9068 §2.2).
    pub sub: Arc<str>,
    /// Whom it is for.
    pub aud: Audience,
    /// The client it was issued to.
    pub client_id: Arc<str>,
    /// What it allows.
    #[serde(serialize_with = "scope_as_text")]
    pub scope: Scope,
    /// When it was issued, in seconds since the epoch.
    pub iat: i64,
    /// From when on it no longer counts, in seconds since the epoch.
    pub exp: i64,
    /// Its id.
    #[serde(serialize_with = "id_as_text")]
    pub jti: TokenId,
    /// Present and true in a token that `/validate` accepts once.
    #[serde(skip_serializing_if = "is_false")]
    pub one_time: bool,
}

/// The `aud` claim: one string, or an array where there are several (RFC 7519 §4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// A single audience.
    One(Arc<str>),
    /// Several.
    Many(Vec<Arc<str>>),
}

impl Audience {
    /// Whether `audience` is among them.
    pub fn contains(&self, audience: &str) -> bool {
        match self {
            Audience::One(one) => &**one == audience,
            Audience::Many(many) => many.iter().any(|one| &**one == audience),
        }
    }

    /// All of them, separated by spaces (a URI holds none): the form in which the database keeps them.
    pub fn joined(&self) -> Arc<str> {
        match self {
            Audience::One(one) => one.clone(),
            Audience::Many(many) => many.join(" ").into(),
        }
    }
}

/// The claims of a token that was presented: strict in type, with every claim that we issue required.
impl<'de> Deserialize<'de> for AccessTokenClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Presented {
            iss: Arc<str>,
            sub: Arc<str>,
            aud: Audience,
            client_id: Arc<str>,
            scope: String,
            iat: i64,
            exp: i64,
            jti: String,
            #[serde(default)]
            one_time: bool,
        }
        let presented = Presented::deserialize(deserializer)?;
        if presented.sub != presented.client_id {
            return Err(de::Error::custom("sub is not the client"));
        }
        Ok(Self {
            iss: presented.iss,
            sub: presented.sub,
            aud: presented.aud,
            client_id: presented.client_id,
            scope: Scope::parse(&presented.scope).map_err(|_| de::Error::custom("malformed scope"))?,
            iat: presented.iat,
            exp: presented.exp,
            jti: TokenId::parse(&presented.jti).ok_or_else(|| de::Error::custom("malformed jti"))?,
            one_time: presented.one_time,
        })
    }
}

fn scope_as_text<S: Serializer>(scope: &Scope, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(scope.as_str())
}

fn id_as_text<S: Serializer>(id: &TokenId, serializer: S) -> Result<S::Ok, S::Error> {
    let text = id.text();
    serializer.serialize_str(std::str::from_utf8(&text).expect("hexadecimal digits and hyphens are ASCII"))
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::time::UnixMillis;

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
        }
    }

    #[test]
    fn p28_claims_are_written_as_the_specification_has_them() {
        assert_eq!(
            serde_json::to_string(&claims()).unwrap(),
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
        let text = serde_json::to_string(&many).unwrap();
        assert!(text.contains(r#""aud":["urn:a","urn:b"]"#) && text.contains(r#""one_time":true"#));
        assert_eq!(serde_json::from_str::<AccessTokenClaims>(&text).unwrap(), many);
    }

    #[test]
    fn p51_claims_of_the_wrong_type_do_not_parse() {
        let good = serde_json::to_value(claims()).unwrap();
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
