//! The entries of a file, independent of its format, and their validation.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use crate::api::client_fields::ClientFields;
use crate::oauth::bounds::MAX_SECRET;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::duty::is_reserved;
use crate::oauth::password_hash::PasswordHash;
use crate::oauth::secret_hash::{STORED_PREFIX, SecretHash};
use crate::oauth::stored_secret::{StoredSecret, imported_id};
use crate::oauth::{given_secret, imported_secret};
use crate::time::UnixMillis;

/// The position of an entry in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The 1-based index of the client.
    Client(usize),
    /// The 1-based line number.
    Line(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(number) => write!(f, "client {number}"),
            Self::Line(number) => write!(f, "line {number}"),
        }
    }
}

/// A client as read from a file.
pub struct Entry {
    /// Its position.
    pub place: Place,
    /// Its id as written; empty when there is none.
    pub id: String,
    /// Everything else, unless reading it has shown that it cannot be accepted.
    pub machine: Result<Machine, NotAccepted>,
}

/// A client that obtains tokens for itself.
pub struct Machine {
    /// All members but the id and the secrets.
    pub fields: ClientFields,
    /// Those that an update sets; `None`: all. The file may have the others only in part.
    pub update: Option<ClientFields>,
    /// The secrets that are valid.
    pub secrets: Vec<ForeignSecret>,
    /// What an operator should know about it, such as what cannot be carried.
    pub warnings: Vec<String>,
}

/// A secret as another server stored it.
pub struct ForeignSecret {
    /// The secret, or a hash of it.
    pub value: Value,
    /// When it expires.
    pub expires_at: Option<UnixMillis>,
}

/// A secret, or a hash of it.
pub enum Value {
    /// In plain text.
    Plain(ClientSecret),
    /// As a password hash.
    Hashed(PasswordHash),
    /// As a SHA-256 digest.
    Digest(SecretHash),
}

/// Why an entry is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAccepted {
    /// It is not a machine-to-machine client.
    Skipped(&'static str),
    /// It should become a client but cannot; the text is the reason.
    Rejected(String),
}

impl From<String> for NotAccepted {
    fn from(reason: String) -> Self {
        Self::Rejected(reason)
    }
}

impl From<&str> for NotAccepted {
    fn from(reason: &str) -> Self {
        Self::Rejected(reason.to_owned())
    }
}

impl ForeignSecret {
    /// A secret in plain text.
    ///
    /// # Errors
    /// When it exceeds [`MAX_SECRET`].
    pub fn plain(text: &str, expires_at: Option<UnixMillis>) -> Result<Self, NotAccepted> {
        if text.len() > MAX_SECRET {
            return Err(format!("its secret is longer than {MAX_SECRET} bytes").as_str().into());
        }
        let value = Value::Plain(ClientSecret::new(text.to_owned()));
        Ok(Self { value, expires_at })
    }

    /// A password hash, or `sha256:` and a digest.
    ///
    /// # Errors
    /// When its scheme is unknown, it is malformed, or its cost is too high.
    pub fn hashed(text: &str, expires_at: Option<UnixMillis>) -> Result<Self, NotAccepted> {
        let value = match text.strip_prefix(STORED_PREFIX) {
            Some(digits) => {
                let wrong = || format!("its digest must be {}", given_secret::DIGEST_MUST_BE);
                Value::Digest(given_secret::digest(digits).ok_or_else(wrong)?)
            }
            None => Value::Hashed(PasswordHash::parse(text)?),
        };
        Ok(Self { value, expires_at })
    }
}

/// An accepted client.
pub struct Candidate {
    /// Its position.
    pub place: Place,
    /// The client. Its secrets are added by [`Candidate::hash_secrets`].
    pub client: Client,
    /// The client as it is, if the import updates it.
    pub before: Option<Client>,
    /// The members that an update sets.
    pub fields: ClientFields,
    /// The secrets to add.
    pub secrets: Vec<ForeignSecret>,
    warnings: Vec<String>,
}

/// An entry that is not accepted, and the reason.
#[derive(Debug)]
pub struct Rejected {
    /// Its position.
    pub place: Place,
    /// Its id as written.
    pub id: String,
    /// The reason.
    pub reason: String,
}

/// The result for each entry of a file.
#[derive(Default)]
pub struct ImportReport {
    /// Clients that can be written.
    pub accepted: Vec<Candidate>,
    /// Entries that are not machine-to-machine clients.
    pub skipped: Vec<Rejected>,
    /// Entries that should become clients but cannot.
    pub rejected: Vec<Rejected>,
}

/// Validates all entries of a file, without the database.
pub fn validate(entries: Vec<Entry>, now: UnixMillis) -> ImportReport {
    let mut report = ImportReport::default();
    let mut places: HashMap<String, Place> = HashMap::new();
    for Entry { place, id, machine } in entries {
        let candidate = machine.and_then(|machine| candidate(place, &id, machine, &places, now));
        match candidate {
            Ok(candidate) => {
                places.insert(id, place);
                report.accepted.push(candidate);
            }
            Err(NotAccepted::Skipped(reason)) => report.skipped.push(Rejected {
                place,
                id,
                reason: reason.to_owned(),
            }),
            Err(NotAccepted::Rejected(reason)) => report.rejected.push(Rejected { place, id, reason }),
        }
    }
    report
}

fn candidate(
    place: Place,
    id: &str,
    machine: Machine,
    places: &HashMap<String, Place>,
    now: UnixMillis,
) -> Result<Candidate, NotAccepted> {
    let parsed = ClientId::parse(id).ok_or("its id is not 1 to 128 printable ASCII characters")?;
    if let Some(other) = places.get(id) {
        return Err(format!("{other} has the same id").into());
    }
    let named = ClientFields {
        name: Some(machine.fields.name.clone().unwrap_or_else(|| id.to_owned())),
        scope: Some(machine.fields.scope.clone().unwrap_or_default()),
        ..machine.fields.clone()
    };
    let client = named.new_client(parsed, now).map_err(|wrong| wrong.to_string())?;
    if client.scope.tokens().any(is_reserved) {
        let reason = "its scope grants rights on this server (mintage:…): grant them with `mintage client update`";
        return Err(reason.into());
    }
    let mut secrets = machine.secrets;
    if secrets.is_empty() {
        return Err("it has no secret".into());
    }
    secrets.retain(|secret| secret.expires_at.is_none_or(|end| now < end));
    if secrets.is_empty() {
        return Err("its secret has expired".into());
    }
    Ok(Candidate {
        place,
        client,
        before: None,
        fields: machine.update.unwrap_or(machine.fields),
        secrets,
        warnings: machine.warnings,
    })
}

impl ImportReport {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.accepted.len() + self.skipped.len() + self.rejected.len()
    }

    /// Whether the accepted clients may be written even if others are not accepted.
    pub fn may_be_written(&self, skip_refused: bool) -> bool {
        skip_refused || self.rejected.is_empty()
    }

    /// Rejects the accepted clients whose ids are taken.
    pub fn reject_taken(&mut self, taken: &HashSet<String>) {
        let accepted = std::mem::take(&mut self.accepted);
        for candidate in accepted {
            if taken.contains(candidate.client.id.as_str()) {
                self.rejected.push(Rejected {
                    place: candidate.place,
                    id: candidate.client.id.to_string(),
                    reason: "a client with this id already exists".into(),
                });
            } else {
                self.accepted.push(candidate);
            }
        }
    }
}

impl Candidate {
    /// What an operator should know about the client.
    pub fn warnings(&self) -> Vec<String> {
        let chosen = |secret: &ForeignSecret| match &secret.value {
            Value::Plain(secret) => !imported_secret::looks_generated(secret),
            Value::Hashed(_) | Value::Digest(_) => false,
        };
        let mut warnings = self.warnings.clone();
        if self.client.scope.is_empty() {
            warnings.push("it has no scope, so it gets no token: give it one with `mintage client update`".to_owned());
        }
        if self.secrets.iter().any(chosen) {
            warnings.push(
                "its secret is not of a generator's known form, so it keeps a password hash: give it a new one with `mintage client secret add`"
                    .to_owned(),
            );
        }
        warnings
    }

    /// Hashes the secrets. One that looks chosen takes 30 ms.
    pub fn hash_secrets(&mut self, now: UnixMillis) {
        for secret in &self.secrets {
            let hash = match &secret.value {
                Value::Plain(plain) => imported_secret::hash(plain),
                Value::Hashed(hash) => SecretHash::Password(Arc::new(hash.clone())),
                Value::Digest(digest) => digest.clone(),
            };
            let mut stored = StoredSecret::with_hash(hash, now);
            if let Value::Hashed(hash) = &secret.value {
                stored.id = imported_id(self.client.id.as_str(), hash);
            }
            stored.expires_at = secret.expires_at;
            self.client.secrets.push(stored);
        }
    }

    /// The client with its hashed secrets.
    pub fn hashed(&self) -> Client {
        self.client.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn entry(id: &str, change: impl FnOnce(&mut Machine)) -> Entry {
        let mut machine = Machine {
            fields: ClientFields {
                scope: Some("a b".into()),
                ..ClientFields::default()
            },
            secrets: vec![
                ForeignSecret::plain("IIykoV67FWfyBw84t1DEKcEKiUruGt89", None)
                    .ok()
                    .unwrap(),
            ],
            update: None,
            warnings: Vec::new(),
        };
        change(&mut machine);
        Entry {
            place: Place::Client(1),
            id: id.into(),
            machine: Ok(machine),
        }
    }

    fn rejection(entry: Entry) -> String {
        let report = validate(vec![entry], NOW);
        assert_eq!((report.accepted.len(), report.rejected.len()), (0, 1));
        report.rejected[0].reason.clone()
    }

    #[test]
    fn an_expired_secret_is_left_out_when_there_is_another() {
        let expired = ForeignSecret::plain("9tGuURiEKcKED1t48BwfyWF76VkoyII0", Some(NOW));
        let entry = entry("a", |machine| machine.secrets.push(expired.ok().unwrap()));
        let report = validate(vec![entry], NOW);
        assert_eq!((report.accepted.len(), report.rejected.len()), (1, 0));
        assert_eq!(report.accepted[0].secrets.len(), 1);
    }

    #[test]
    fn invalid_entries_are_rejected_with_a_reason() {
        for (entry, reason) in [
            (entry("", |_| {}), "its id"),
            (entry(&"x".repeat(129), |_| {}), "its id"),
            (entry("ü", |_| {}), "its id"),
            (
                entry("a", |machine| machine.fields.scope = Some("a  b".into())),
                "scope must be",
            ),
            (
                entry("a", |machine| machine.fields.scope = Some("a mintage:admin".into())),
                "rights on this server",
            ),
            (
                entry("a", |machine| {
                    machine.fields.audiences = Some(vec!["the orders".into()])
                }),
                "audiences must be",
            ),
            (
                entry("a", |machine| machine.fields.ttl_seconds = Some(Some(0))),
                "ttl_seconds must be",
            ),
            (entry("a", |machine| machine.secrets.clear()), "no secret"),
            (
                entry("a", |machine| machine.secrets[0].expires_at = Some(NOW)),
                "expired",
            ),
        ] {
            let found = rejection(entry);
            assert!(found.contains(reason), "{found}: {reason}");
        }
        let too_long = ForeignSecret::plain(&"x".repeat(1001), None);
        assert!(matches!(too_long, Err(NotAccepted::Rejected(_))));
    }

    #[test]
    fn the_second_entry_with_an_id_is_rejected_and_names_the_first() {
        let mut second = entry("a", |_| {});
        second.place = Place::Client(2);
        let report = validate(vec![entry("a", |_| {}), second], NOW);
        assert_eq!(report.accepted.len(), 1);
        assert_eq!(report.rejected[0].reason, "client 1 has the same id");
    }

    #[test]
    fn a_client_without_a_name_is_named_by_its_id() {
        let report = validate(vec![entry("a", |_| {})], NOW);
        assert_eq!(report.accepted[0].client.name, "a");
    }

    #[test]
    fn an_operator_is_warned_of_chosen_secrets_and_missing_scopes() {
        let warned = |change: fn(&mut Machine)| validate(vec![entry("a", change)], NOW).accepted[0].warnings().len();
        assert_eq!(warned(|_| {}), 0);
        assert_eq!(warned(|machine| machine.fields.scope = Some(String::new())), 1);
        assert_eq!(
            warned(|machine| machine.secrets = vec![ForeignSecret::plain("hunter2", None).ok().unwrap()]),
            1
        );
    }
}
