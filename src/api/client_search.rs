//! Which clients a list shows: those of a name, those with labels.

use crate::oauth::bounds::MAX_NAME;
use crate::oauth::labels::{self, Labels};

/// Maximum number of labels in one search.
pub const MAX_SEARCHED_LABELS: usize = 8;

/// What clients are searched for. Every part must match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientSearch {
    name: Option<String>,
    labels: Vec<(String, Option<String>)>,
}

impl ClientSearch {
    /// Searches for a part of the name, and for labels: `KEY=VALUE`, or `KEY` for any value.
    ///
    /// # Errors
    /// The rule that a part violates.
    pub fn new<'a>(name: Option<&str>, labels: impl IntoIterator<Item = &'a str>) -> Result<Self, &'static str> {
        const NAME: &str = "name must be 1 to 200 characters without control characters";
        const LABEL: &str = "label must be KEY=VALUE or KEY, of a label that a client can have";
        const MANY: &str = "label can be given at most 8 times";
        let is_name = |name: &str| (1..=MAX_NAME).contains(&name.chars().count()) && !name.contains(char::is_control);
        if !name.is_none_or(is_name) {
            return Err(NAME);
        }
        let label = |text: &str| {
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (text, None),
            };
            let well_formed = labels::is_key(key) && value.is_none_or(labels::is_value);
            well_formed
                .then(|| (key.to_owned(), value.map(str::to_owned)))
                .ok_or(LABEL)
        };
        let labels = labels.into_iter().map(label).collect::<Result<Vec<_>, _>>()?;
        match labels.len() <= MAX_SEARCHED_LABELS {
            true => Ok(Self {
                name: name.map(str::to_ascii_lowercase),
                labels,
            }),
            false => Err(MANY),
        }
    }

    /// Whether every client matches.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The part of the name, with the letters of ASCII in lower case.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What the stored labels of a client contain, each.
    pub fn label_fragments(&self) -> impl Iterator<Item = String> {
        let fragment = |(key, value): &(String, Option<String>)| Labels::fragment(key, value.as_deref());
        self.labels.iter().map(fragment)
    }

    /// The name of the list, for its cursors: one text for each search, without a line break.
    pub fn list(&self) -> String {
        match self.is_empty() {
            true => "clients".to_owned(),
            false => format!("clients {}", serde_json::json!([self.name, self.labels])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(name: Option<&str>, labels: &[&str]) -> Result<ClientSearch, &'static str> {
        ClientSearch::new(name, labels.iter().copied())
    }

    #[test]
    fn a_search_is_of_a_name_and_of_labels_with_or_without_a_value() {
        let found = search(Some("Rb É"), &["team=x=y", "owner", "note="]).unwrap();
        assert_eq!(found.name(), Some("rb É"));
        let fragments: Vec<String> = found.label_fragments().collect();
        assert_eq!(fragments, [r#""team":"x=y""#, r#""owner":"#, r#""note":"""#]);
        assert!(search(None, &[]).unwrap().is_empty() && !found.is_empty());
    }

    #[test]
    fn what_no_client_can_have_is_rejected() {
        for name in ["", "a\n", &"x".repeat(201)] {
            assert!(
                search(Some(name), &[]).unwrap_err().starts_with("name must be"),
                "{name:?}"
            );
        }
        for label in ["", "=x", "a b=x", "a=\n", "a:b=x"] {
            assert!(
                search(None, &[label]).unwrap_err().starts_with("label must be"),
                "{label:?}"
            );
        }
        assert!(search(None, &["a"; 8]).is_ok() && search(None, &["a"; 9]).is_err());
    }

    #[test]
    fn each_search_has_a_list_of_its_own() {
        let lists = [
            search(None, &[]),
            search(Some("a"), &[]),
            search(None, &["a"]),
            search(None, &["a="]),
            search(None, &["a", "b"]),
            search(None, &["a=b"]),
        ];
        let lists: std::collections::BTreeSet<String> = lists.map(|search| search.unwrap().list()).into();
        assert_eq!(lists.len(), 6);
    }
}
