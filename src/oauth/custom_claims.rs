//! Custom claims (docs/protocol.md#p108): members that the tokens of a client, and the introspection
//! responses about them, have in addition to the standard claims.
//!
//! They are checked and brought into compact form when they are read, so that a token copies their
//! text as it is.

use std::fmt;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::bounds::{MAX_CUSTOM_CLAIMS, MAX_CUSTOM_CLAIMS_DEPTH, MAX_TOKEN};
use super::json;

/// Custom claims, at least one. Clones share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomClaims {
    /// The members without the braces of their object: `"tenant":"t1","roles":["x"]`.
    members: Arc<str>,
}

/// Why claims are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedClaims {
    /// The value is not an object.
    NotAnObject,
    /// The object is longer than [`MAX_CUSTOM_CLAIMS`].
    TooLong,
    /// Objects and arrays are nested deeper than [`MAX_CUSTOM_CLAIMS_DEPTH`].
    TooDeep,
    /// An object has a member twice.
    Repeated,
    /// A member has the name of a claim that has a meaning of its own.
    Reserved,
    /// A whole number has more than 64 bits, which readers would round.
    Number,
}

impl MalformedClaims {
    /// The rule, as the end of a sentence: "claims must be …".
    pub fn must_be(self) -> &'static str {
        match self {
            Self::NotAnObject => "a JSON object",
            Self::TooLong => "at most 1024 bytes of JSON without spaces",
            Self::TooDeep => "at most 4 levels deep",
            Self::Repeated => "free of repeated names",
            Self::Reserved => "free of the names of standard claims, such as iss, and of names that begin with mintage",
            Self::Number => "free of whole numbers beyond 64 bits",
        }
    }
}

impl CustomClaims {
    /// Parses an object as it is stored. `None` if it is empty.
    ///
    /// # Errors
    /// The text is not JSON, or an object that [`GivenClaims`] rejects.
    pub fn parse(object: &str) -> Result<Option<Self>, MalformedClaims> {
        let given: GivenClaims = serde_json::from_str(object).map_err(|_| MalformedClaims::NotAnObject)?;
        given.0
    }

    /// The members without the braces of their object, to be appended to another member.
    pub fn members(&self) -> &str {
        &self.members
    }

    /// The object.
    pub fn object(&self) -> String {
        format!("{{{}}}", self.members)
    }
}

impl fmt::Debug for CustomClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.object())
    }
}

impl Serialize for CustomClaims {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let object: serde_json::Value = serde_json::from_str(&self.object()).expect("the text was written as JSON");
        object.serialize(serializer)
    }
}

/// Claims as an operator gives them. Every JSON value can be read, so that an error can name the
/// rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenClaims(pub Result<Option<CustomClaims>, MalformedClaims>);

impl<'de> Deserialize<'de> for GivenClaims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Text::new(MAX_CUSTOM_CLAIMS, MAX_CUSTOM_CLAIMS_DEPTH);
        Compact {
            text: &mut text,
            depth: 0,
        }
        .deserialize(deserializer)?;
        Ok(Self(text.claims()))
    }
}

/// Collects the custom claims of a presented token, one member at a time.
pub(super) struct PresentedClaims(Text);

impl PresentedClaims {
    pub(super) fn new() -> Self {
        // The token is signed, so its claims were within the bounds of the version that issued it.
        Self(Text::new(MAX_TOKEN, MAX_TOKEN))
    }

    /// Reads the value of the member `name`.
    pub(super) fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<(), A::Error> {
        if is_reserved(name) {
            // Of a later version. An introspection response must not have a member twice.
            return map.next_value::<IgnoredAny>().map(drop);
        }
        let text = &mut self.0;
        text.json.push(if text.json.is_empty() { b'{' } else { b',' });
        json::text(&mut text.json, name);
        text.json.push(b':');
        map.next_value_seed(Compact { text, depth: 1 })
    }

    pub(super) fn claims<E: Error>(mut self) -> Result<Option<CustomClaims>, E> {
        if self.0.json.is_empty() {
            return Ok(None);
        }
        self.0.json.push(b'}');
        self.0.claims().map_err(|_| E::custom("malformed claims"))
    }
}

/// Claims of RFC 7519, 7662, 7800, 8693, 9068, 9449 and OpenID Connect Core that a resource server
/// may trust, and those of Mintage.
const RESERVED: [&str; 30] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "scp",
    "cnf",
    "act",
    "may_act",
    "azp",
    "typ",
    "active",
    "username",
    "token_type",
    "auth_time",
    "acr",
    "amr",
    "nonce",
    "sid",
    "events",
    "authorization_details",
    "htm",
    "htu",
    "ath",
    "one_time",
    "secret_id",
];

const RESERVED_PREFIX: &str = "mintage";

/// Whether a claim of this name has a meaning of its own, in any case: Go's readers match the names
/// of members without regard to case.
fn is_reserved(name: &str) -> bool {
    let folded = || {
        name.chars().map(|c| match c {
            // The two letters outside ASCII that fold to letters in it.
            'ſ' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
    };
    let begins = folded()
        .zip(RESERVED_PREFIX.chars())
        .filter(|(c, other)| c == other)
        .count()
        == RESERVED_PREFIX.len();
    begins || RESERVED.iter().any(|reserved| folded().eq(reserved.chars()))
}

/// JSON without spaces, as far as it is within its bounds.
struct Text {
    json: Vec<u8>,
    malformed: Option<MalformedClaims>,
    max_length: usize,
    max_depth: usize,
}

impl Text {
    fn new(max_length: usize, max_depth: usize) -> Self {
        Self {
            json: Vec::new(),
            malformed: None,
            max_length,
            max_depth,
        }
    }

    /// Notes the first thing that is wrong. What follows is read and not kept.
    fn note(&mut self, malformed: MalformedClaims) {
        self.malformed.get_or_insert(malformed);
    }

    fn is_good(&mut self) -> bool {
        if self.json.len() > self.max_length {
            self.note(MalformedClaims::TooLong);
        }
        self.malformed.is_none()
    }

    fn claims(mut self) -> Result<Option<CustomClaims>, MalformedClaims> {
        self.is_good();
        if let Some(malformed) = self.malformed {
            return Err(malformed);
        }
        let text = String::from_utf8(self.json).expect("JSON of texts is UTF-8");
        let members = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let members = members.ok_or(MalformedClaims::NotAnObject)?;
        Ok((!members.is_empty()).then(|| CustomClaims {
            members: members.into(),
        }))
    }
}

/// Writes a value without spaces.
struct Compact<'a> {
    text: &'a mut Text,
    /// How many objects and arrays are around the value.
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Compact<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Compact<'_> {
    fn scalar<E: Error>(self, value: impl Serialize) -> Result<(), E> {
        if self.depth == 0 {
            self.text.note(MalformedClaims::NotAnObject);
        }
        serde_json::to_writer(&mut self.text.json, &value).map_err(E::custom)
    }

    /// Whether an object or an array may begin here.
    fn begins(&mut self) -> bool {
        if self.depth == self.text.max_depth {
            self.text.note(MalformedClaims::TooDeep);
        }
        self.text.is_good()
    }
}

impl<'de> Visitor<'de> for Compact<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("claims")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        /// Above it, a double holds no fraction: the text may have been a longer whole number.
        const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
        if value.abs() > MAX_EXACT {
            self.text.note(MalformedClaims::Number);
        }
        self.scalar(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        if self.depth == 0 {
            self.text.note(MalformedClaims::NotAnObject);
        }
        let mut separator = b'[';
        let mut is_good = self.begins();
        while is_good {
            self.text.json.push(separator);
            let (text, depth) = (&mut *self.text, self.depth + 1);
            if seq.next_element_seed(Compact { text, depth })?.is_none() {
                // The first separator opens the array; another was not needed.
                if separator == b',' {
                    self.text.json.pop();
                }
                self.text.json.push(b']');
                return Ok(());
            }
            separator = b',';
            is_good = self.text.is_good();
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut names: Vec<String> = Vec::new();
        let mut separator = b'{';
        let mut is_good = self.begins();
        while is_good {
            let Some(name) = map.next_key::<String>()? else {
                if separator == b'{' {
                    self.text.json.push(separator);
                }
                self.text.json.push(b'}');
                return Ok(());
            };
            if self.depth == 0 && is_reserved(&name) {
                self.text.note(MalformedClaims::Reserved);
            }
            if names.contains(&name) {
                self.text.note(MalformedClaims::Repeated);
            }
            self.text.json.push(separator);
            json::text(&mut self.text.json, &name);
            self.text.json.push(b':');
            let (text, depth) = (&mut *self.text, self.depth + 1);
            map.next_value_seed(Compact { text, depth })?;
            names.push(name);
            separator = b',';
            is_good = self.text.is_good();
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(object: &str) -> Result<String, MalformedClaims> {
        CustomClaims::parse(object).map(|claims| claims.map_or(String::new(), |claims| claims.members().to_owned()))
    }

    #[test]
    fn p108_claims_are_kept_in_compact_form() {
        let text = r#" { "tenant" : "t\u00e9\"", "roles":[ "x", [], {} ], "n": [0, -1, 1.50, 18446744073709551615, true, null] } "#;
        assert_eq!(
            parsed(text).unwrap(),
            r#""tenant":"té\"","roles":["x",[],{}],"n":[0,-1,1.5,18446744073709551615,true,null]"#
        );
        assert_eq!(parsed(" { } ").unwrap(), "");
    }

    #[test]
    fn p108_claims_beyond_the_bounds_are_rejected() {
        let of_length = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length - 8));
        assert!(parsed(&of_length(1024)).is_ok());
        assert_eq!(parsed(&of_length(1025)), Err(MalformedClaims::TooLong));
        assert!(parsed(r#"{"a":{"b":[{}]}}"#).is_ok());
        assert_eq!(parsed(r#"{"a":{"b":[{"c":[]}]}}"#), Err(MalformedClaims::TooDeep));
        for repeated in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"a":[{"b":1,"c":2,"b":3}]}"#,
        ] {
            assert_eq!(parsed(repeated), Err(MalformedClaims::Repeated), "{repeated}");
        }
        for other in ["[]", "1", "null", "\"a\"", "", "{", "[{}]", "{\"a\":}"] {
            assert_eq!(parsed(other), Err(MalformedClaims::NotAnObject), "{other}");
        }
        let long = format!("{{\"a\":[{}0]}}", "0,".repeat(100_000));
        assert_eq!(parsed(&long), Err(MalformedClaims::TooLong));
        assert_eq!(parsed(r#"{"a":18446744073709551616}"#), Err(MalformedClaims::Number));
    }

    #[test]
    fn p108_names_with_a_meaning_of_their_own_are_reserved_in_every_case() {
        for name in [
            "iss",
            "AUD",
            "Scope",
            "\u{17f}cp",
            "i\u{17f}s",
            "mintage",
            "mintage:x",
            "MINTAGE_x",
            "secret_id",
        ] {
            let object = format!(r#"{{"a":1,"{name}":1}}"#);
            assert_eq!(parsed(&object), Err(MalformedClaims::Reserved), "{name}");
        }
        for name in [
            "roles",
            "groups",
            "entitlements",
            "tenant",
            "https://a/iss",
            "mint",
            "scopes",
            "",
        ] {
            assert!(parsed(&format!(r#"{{"{name}":{{"iss":1}}}}"#)).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_messages_name_the_bounds() {
        assert!(
            MalformedClaims::TooLong
                .must_be()
                .contains(&format!("most {MAX_CUSTOM_CLAIMS} "))
        );
        assert!(
            MalformedClaims::TooDeep
                .must_be()
                .contains(&format!("most {MAX_CUSTOM_CLAIMS_DEPTH} "))
        );
    }
}
