//! The labels that `client update` sets and removes. The others stay.

use std::collections::BTreeMap;

use super::Failure;
use crate::api::client_fields::ClientFields;
use crate::oauth::client::Client;
use crate::oauth::labels::{GivenLabels, Labels, is_key};

/// Labels to set and labels to remove.
#[derive(Debug, Default)]
pub struct LabelChanges {
    set: BTreeMap<String, String>,
    remove: Vec<String>,
}

impl LabelChanges {
    /// The changes of these flags.
    ///
    /// # Errors
    /// A key to remove is no key, or is to be set as well.
    pub fn new(set: BTreeMap<String, String>, remove: Vec<String>) -> Result<Self, Failure> {
        if !remove.iter().all(|key| is_key(key)) {
            const RULE: &str = "--remove-label must be a key: 1 to 63 letters, digits and . _ / -";
            return Err(Failure::Usage(RULE.into()));
        }
        if remove.iter().any(|key| set.contains_key(key)) {
            return Err(Failure::Usage("--remove-label must name no key of --label".into()));
        }
        Ok(Self { set, remove })
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// The members to change, and the labels that a client then has.
    pub fn applied_to(&self, fields: &ClientFields, client: &Client) -> ClientFields {
        let mut fields = fields.clone();
        if !self.is_empty() {
            let mut labels = client.labels.to_map();
            labels.retain(|key, _| !self.remove.contains(key));
            labels.extend(self.set.clone());
            fields.labels = Some(Some(GivenLabels(Labels::of(labels))));
        }
        fields
    }
}
