//! Labels of a client: texts by which operators sort and find clients. They are for administration
//! alone: no token, metric or cached client has them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::bounds::{MAX_LABEL_KEY, MAX_LABEL_VALUE, MAX_LABELS, MAX_LABELS_BYTES};

/// Labels by key. Most clients have none, and clones share the map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(Option<Arc<BTreeMap<String, String>>>);

/// The labels are not an object of texts, or not within the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedLabels;

impl MalformedLabels {
    /// The rule, as the end of a sentence: "labels must be …".
    pub const MUST_BE: &str = "an object of at most 16 texts: keys of 1 to 63 letters, digits and . _ / -, each once, \
                               values of at most 256 characters without control characters, together at most 4000 bytes";
}

impl Labels {
    /// Labels within the bounds.
    ///
    /// # Errors
    /// A key or a value is malformed, or the labels are too many or too long.
    pub fn of(labels: BTreeMap<String, String>) -> Result<Self, MalformedLabels> {
        let bytes: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        let well_formed = labels.iter().all(|(key, value)| is_key(key) && is_value(value));
        match well_formed && labels.len() <= MAX_LABELS && bytes <= MAX_LABELS_BYTES {
            true => Ok(Self::unchecked(labels)),
            false => Err(MalformedLabels),
        }
    }

    /// Parses labels as they are stored. The bounds of the version that stored them held.
    ///
    /// # Errors
    /// The text is not a JSON object of texts.
    pub fn parse(object: &str) -> Result<Self, MalformedLabels> {
        let labels = serde_json::from_str(object).map_err(|_| MalformedLabels)?;
        Ok(Self::unchecked(labels))
    }

    fn unchecked(labels: BTreeMap<String, String>) -> Self {
        Self((!labels.is_empty()).then(|| Arc::new(labels)))
    }

    /// A JSON object without spaces, with the keys in their order; `None` if there are no labels.
    pub fn object(&self) -> Option<String> {
        self.0.as_ref()?;
        Some(serde_json::to_string(self).expect("labels are texts"))
    }

    /// The text that [`Labels::object`] has if and only if a label has this key and, if given, this
    /// value. Quotes within a key or a value are escaped, so it is found nowhere else.
    pub fn fragment(key: &str, value: Option<&str>) -> String {
        let json = |text: &str| serde_json::to_string(text).expect("a text");
        format!("{}:{}", json(key), value.map_or_else(String::new, json))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Each label, in the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.0.iter().flat_map(|labels| labels.iter());
        labels.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The labels, to be changed.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        self.0.as_deref().cloned().unwrap_or_default()
    }
}

/// Whether a label can have this key.
pub fn is_key(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte);
    (1..=MAX_LABEL_KEY).contains(&text.len()) && text.bytes().all(allowed)
}

/// Whether a label can have this value.
pub fn is_value(text: &str) -> bool {
    text.chars().count() <= MAX_LABEL_VALUE && !text.contains(char::is_control)
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Labels as an operator gives them. Every JSON value can be read, so that an error can name the
/// rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenLabels(pub Result<Labels, MalformedLabels>);

impl<'de> Deserialize<'de> for GivenLabels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Given)
    }
}

struct Given;

impl<'de> Visitor<'de> for Given {
    type Value = GivenLabels;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<GivenLabels, A::Error> {
        let (mut labels, mut well_formed) = (BTreeMap::new(), true);
        while let Some((key, value)) = map.next_entry::<String, serde_json::Value>()? {
            well_formed &= match value {
                serde_json::Value::String(value) => labels.insert(key, value).is_none(),
                _ => false,
            };
        }
        Ok(GivenLabels(match well_formed {
            true => Labels::of(labels),
            false => Err(MalformedLabels),
        }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<GivenLabels, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(GivenLabels(Err(MalformedLabels)))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<GivenLabels, E> {
        Ok(GivenLabels(Err(MalformedLabels)))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<GivenLabels, E> {
        Ok(GivenLabels(Err(MalformedLabels)))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<GivenLabels, E> {
        Ok(GivenLabels(Err(MalformedLabels)))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<GivenLabels, E> {
        Ok(GivenLabels(Err(MalformedLabels)))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<GivenLabels, E> {
        Ok(GivenLabels(Err(MalformedLabels)))
    }

    fn visit_unit<E: Error>(self) -> Result<GivenLabels, E> {
        Ok(GivenLabels(Err(MalformedLabels)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn given(json: &str) -> Result<Labels, MalformedLabels> {
        serde_json::from_str::<GivenLabels>(json).unwrap().0
    }

    #[test]
    fn labels_are_written_as_a_compact_object_in_the_order_of_their_keys() {
        let labels = given(r#"{"team": "x \"y\"", "a.b/c_d-e": "", "Größe": "x"}"#);
        assert_eq!(labels, Err(MalformedLabels), "the alphabet of keys");
        let labels = given(r#"{"team": "x \"y\"", "a.b/c_d-e": ""}"#).unwrap();
        let object = labels.object().unwrap();
        assert_eq!(object, r#"{"a.b/c_d-e":"","team":"x \"y\""}"#);
        assert_eq!(Labels::parse(&object).unwrap(), labels);
        assert_eq!(given("{}").unwrap().object(), None);
    }

    #[test]
    fn labels_beyond_their_bounds_are_rejected() {
        let many = |count: usize| -> BTreeMap<String, String> {
            (0..count).map(|n| (format!("key{n}"), "x".to_owned())).collect()
        };
        let one = |key: &str, value: &str| Labels::of([(key.to_owned(), value.to_owned())].into());
        assert!(Labels::of(many(MAX_LABELS)).is_ok() && Labels::of(many(MAX_LABELS + 1)).is_err());
        assert!(one(&"k".repeat(MAX_LABEL_KEY), &"é".repeat(MAX_LABEL_VALUE)).is_ok());
        for (key, value) in [
            (&*"k".repeat(MAX_LABEL_KEY + 1), ""),
            ("", "x"),
            ("a b", "x"),
            ("a=b", "x"),
            ("k", "a\u{7}"),
            ("k", "a\n"),
            ("k", &*"x".repeat(MAX_LABEL_VALUE + 1)),
        ] {
            assert!(one(key, value).is_err(), "{key:?} {value:?}");
        }
        let wide = many(MAX_LABELS).into_keys().map(|key| (key, "🔒".repeat(63)));
        assert!(Labels::of(wide.collect()).is_err(), "in bytes");
    }

    #[test]
    fn what_is_no_object_of_texts_is_malformed() {
        for json in [
            "1",
            "-1",
            "1.5",
            "true",
            "null",
            "\"x\"",
            "[\"a\"]",
            r#"{"a":1}"#,
            r#"{"a":null}"#,
            r#"{"a":"x","a":"y"}"#,
        ] {
            assert_eq!(given(json), Err(MalformedLabels), "{json}");
        }
    }

    proptest! {
        #[test]
        fn a_fragment_is_found_in_the_labels_that_have_it_alone(
            labels in proptest::collection::btree_map("[ab]{1,2}", "[ab\":,{}\\\\é]{0,8}", 0..4),
            key in "[ab]{1,2}", value in "[ab\":,{}\\\\é]{0,8}",
        ) {
            let object = Labels::unchecked(labels.clone()).object().unwrap_or_default();
            prop_assert_eq!(object.contains(&Labels::fragment(&key, None)), labels.contains_key(&key));
            let has = labels.get(&key) == Some(&value);
            prop_assert_eq!(object.contains(&Labels::fragment(&key, Some(&value))), has);
        }
    }
}
