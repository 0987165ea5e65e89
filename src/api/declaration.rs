//! A client as a whole, as `POST` and `PUT` of the admin API declare it.
//!
//! It has the members of [`ClientFields`], the members of a given secret, and the read-only members
//! of a client's document, so that a document that was read can be sent back.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor, value};
use serde::{Deserialize, Deserializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use super::audit::difference;
use super::client::ClientDocument;
use super::client_fields::{ClientFields, MalformedClient};
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::given_secret;
use crate::oauth::secret_hash::SecretHash;
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;

/// A whole client.
#[derive(Default)]
pub struct Declaration {
    /// Its members. One that is left out has its default.
    pub fields: ClientFields,
    /// The secret that it has, among others.
    pub secret: GivenSecret,
}

/// A given secret, if there is one.
#[derive(Default)]
pub struct GivenSecret {
    /// The secret itself.
    pub text: Option<ClientSecret>,
    /// Its SHA-256 digest.
    pub digest: Option<String>,
}

/// The names of the members of a given secret.
const SECRET: &str = "client_secret";
const DIGEST: &str = "secret_sha256";

/// The members of a document that no one can set.
const CREATED_AT: &str = "created_at";
const UPDATED_AT: &str = "updated_at";
const READ_ONLY: [&str; 2] = [CREATED_AT, UPDATED_AT];

impl GivenSecret {
    /// The hash to store; `None` without a given secret.
    ///
    /// # Errors
    /// The secret could be guessed, the digest is malformed, or both are given.
    pub fn hash(&self) -> Result<Option<SecretHash>, MalformedClient> {
        let (member, must_be, hash) = match (&self.text, &self.digest) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => (DIGEST, "left out if client_secret is given", None),
            (Some(text), None) => (SECRET, given_secret::SECRET_MUST_BE, given_secret::hash(text)),
            (None, Some(digest)) => (DIGEST, given_secret::DIGEST_MUST_BE, given_secret::digest(digest)),
        };
        hash.map(Some).ok_or(MalformedClient { member, must_be })
    }
}

impl Declaration {
    /// The client with this id as it is declared, where `before` is the current one. Its secrets are
    /// the current ones; without a change, it has the version of `before`.
    ///
    /// A client that is disabled stays so unless the declaration enables it: what was disabled in an
    /// emergency does not come back because a file is applied once more.
    ///
    /// # Errors
    /// A member is malformed or missing.
    pub fn applied_to(
        &self,
        before: Option<&Client>,
        id: ClientId,
        now: UnixMillis,
    ) -> Result<Client, MalformedClient> {
        let mut client = self.fields.new_client(id, now)?;
        let Some(before) = before else {
            return Ok(client);
        };
        client.enabled = self.fields.enabled.unwrap_or(before.enabled);
        client.secrets.clone_from(&before.secrets);
        client.created_at = before.created_at;
        client.updated_at = before.updated_at;
        if differs(before, &client) {
            client.updated_at = UnixMillis(now.0.max(before.updated_at.0 + 1));
        }
        Ok(client)
    }
}

/// Whether two versions of a client differ in a member. Secrets are no members.
pub fn differs(before: &Client, after: &Client) -> bool {
    let changes = difference(&ClientDocument::from(before), &ClientDocument::from(after));
    let mut names = changes.as_object().into_iter().flat_map(|changes| changes.keys());
    names.any(|name| !READ_ONLY.contains(&name.as_str()))
}

/// The secret of a client that has this hash, valid or not.
pub fn find_secret<'a>(client: &'a Client, hash: &SecretHash) -> Option<&'a StoredSecret> {
    client.secrets.iter().find(|secret| secret.hash.is(hash))
}

impl<'de> Deserialize<'de> for Declaration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Declaration;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a client")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Declaration, A::Error> {
                let mut found = Found::default();
                let rest = Rest { map, found: &mut found };
                let fields = ClientFields::deserialize(value::MapAccessDeserializer::new(rest))?;
                let secret = GivenSecret {
                    text: found.text.flatten(),
                    digest: found.digest.flatten(),
                };
                Ok(Declaration { fields, secret })
            }
        }
        deserializer.deserialize_map(Whole)
    }
}

/// The members of a declaration that are none of [`ClientFields`]: `None` is one that is left out,
/// `Some(None)` is `null`.
#[derive(Default)]
struct Found {
    text: Option<Option<ClientSecret>>,
    digest: Option<Option<String>>,
    created_at: Option<Option<String>>,
    updated_at: Option<Option<String>>,
}

/// The members of a declaration, from which those of [`Found`] are taken. With `flatten` of serde,
/// unknown members would be accepted.
struct Rest<'a, A> {
    map: A,
    found: &'a mut Found,
}

fn take<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    name: &'static str,
    place: &mut Option<T>,
) -> Result<(), A::Error> {
    if place.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *place = Some(map.next_value()?);
    Ok(())
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Self { map, found } = self;
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                SECRET => take(map, SECRET, &mut found.text)?,
                DIGEST => take(map, DIGEST, &mut found.digest)?,
                CREATED_AT => take(map, CREATED_AT, &mut found.created_at)?,
                UPDATED_AT => take(map, UPDATED_AT, &mut found.updated_at)?,
                _ => return seed.deserialize(name.into_deserializer()).map(Some),
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl PartialSchema for Declaration {
    fn schema() -> RefOr<Schema> {
        let RefOr::T(Schema::Object(mut members)) = ClientFields::schema() else {
            return ClientFields::schema();
        };
        members.description = Some("A whole client.".to_owned());
        for name in ["name", "scope"] {
            members.required.push(name.to_owned());
            if let Some(RefOr::T(Schema::Object(member))) = members.properties.get_mut(name) {
                member.schema_type = Type::String.into();
            }
        }
        let text = |description: &str| {
            let nullable = SchemaType::from_iter([Type::String, Type::Null]);
            ObjectBuilder::new()
                .schema_type(nullable)
                .description(Some(description))
        };
        let secret = text("A generated secret; left out: a new client gets one from the server.");
        let digest = text("The SHA-256 digest of a random secret, in place of `client_secret`.");
        let more = [
            (SECRET, secret.min_length(Some(22)).max_length(Some(512))),
            (DIGEST, digest.pattern(Some("^[0-9A-Fa-f]{64}$"))),
            (
                READ_ONLY[0],
                text("Ignored, so that a client can be sent as it was read."),
            ),
            (
                READ_ONLY[1],
                text("Ignored, so that a client can be sent as it was read."),
            ),
        ];
        for (name, member) in more {
            members.properties.insert(name.to_owned(), member.build().into());
        }
        members.into()
    }
}

impl ToSchema for Declaration {
    fn name() -> Cow<'static, str> {
        "NewClient".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ClientFields::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000);
    const LATER: UnixMillis = UnixMillis(5_000);

    fn declaration(json: &str) -> Declaration {
        serde_json::from_str(json).unwrap()
    }

    fn client(json: &str) -> Client {
        declaration(json).applied_to(None, ClientId::generate(), NOW).unwrap()
    }

    fn again(before: &Client, json: &str) -> Client {
        declaration(json)
            .applied_to(Some(before), before.id.clone(), LATER)
            .unwrap()
    }

    #[test]
    fn a_document_of_a_client_declares_it_without_a_change() {
        let before = client(r#"{"name":"a","scope":"x y mintage:read","ttl_seconds":60,"claims":{"t":1},"typ":"JWT"}"#);
        let document = serde_json::to_string(&ClientDocument::from(&before)).unwrap();
        let after = again(&before, &document);
        assert!(!differs(&before, &after));
        assert_eq!((after.updated_at, after.created_at), (NOW, NOW));
    }

    #[test]
    fn a_member_that_is_left_out_gets_its_default() {
        let before = client(r#"{"name":"a","scope":"x y","default_scope":"x","ttl_seconds":60,"audiences":["b"]}"#);
        let after = again(&before, r#"{"name":"a","scope":"x y"}"#);
        assert!(differs(&before, &after));
        assert_eq!((after.default_scope.as_str(), after.ttl_seconds), ("x y", None));
        assert!(after.audiences.is_empty());
        assert_eq!((after.created_at, after.updated_at), (NOW, LATER));
    }

    #[test]
    fn a_disabled_client_stays_disabled_unless_it_is_enabled() {
        let before = client(r#"{"name":"a","scope":"x","enabled":false}"#);
        assert!(!again(&before, r#"{"name":"a","scope":"x"}"#).enabled);
        assert!(again(&before, r#"{"name":"a","scope":"x","enabled":true}"#).enabled);
    }

    #[test]
    fn unknown_and_repeated_members_are_rejected() {
        for json in [
            r#"{"name":"a","scope":"x","secret":"y"}"#,
            r#"{"name":"a","name":"a","scope":"x"}"#,
            r#"{"name":"a","scope":"x","client_secret":null,"client_secret":"y"}"#,
            r#"{"secret_sha256":"y","name":"a","scope":"x","secret_sha256":"y"}"#,
            r#"{"name":"a","scope":"x","client_secret":1}"#,
            r#"["a"]"#,
        ] {
            assert!(serde_json::from_str::<Declaration>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn a_secret_is_given_as_text_or_as_digest() {
        let of = |json: &str| declaration(json).secret.hash();
        let text = of(r#"{"client_secret":"IIykoV67FWfyBw84t1DEKcEKiUruGt89"}"#)
            .unwrap()
            .unwrap();
        let digits = text.to_stored().replace("sha256:", "");
        let digest = of(&format!(r#"{{"secret_sha256":"{digits}"}}"#)).unwrap().unwrap();
        assert!(digest.is(&text));
        assert!(of(r#"{"client_secret":null}"#).unwrap().is_none());
        let member = |json: &str| of(json).unwrap_err().member;
        assert_eq!(member(r#"{"client_secret":"hunter2"}"#), "client_secret");
        assert_eq!(member(r#"{"secret_sha256":"00"}"#), "secret_sha256");
        let both = format!(r#"{{"client_secret":"IIykoV67FWfyBw84t1DEKcEKiUruGt89","secret_sha256":"{digits}"}}"#);
        assert_eq!(member(&both), "secret_sha256");
    }
}
