//! Which rows of the table of keys are believed.
//!
//! With `keys.encryption_key`, a row is believed only for its *attestation*: the algorithm and the
//! times of the key, encrypted with the encryption key when an instance wrote the row. As long
//! as one row of this version is stored, a program that can write to the table, but does not have
//! that key, adds no key and changes none. It can remove keys: it could delete their rows as well.
//! If it removes all rows of this version, or all are in the form of 0.1 and it removes their
//! attestations, the next start takes plain keys, or keys that version 0.1 encrypted, for those of
//! an earlier configuration or version. These are encrypted and attested as they are found, and the
//! log names them. Without `keys.encryption_key`, every row is believed.

use strum::IntoStaticStr;

use super::{KeyEncryptionKey, KeyError, KeyRecord};
use crate::oauth::alg::Alg;
use crate::time::UnixMillis;

/// A row without its private key, before it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UncheckedRow {
    /// The key id.
    pub kid: String,
    /// The algorithm, which may be unknown.
    pub alg: String,
    /// Whether the private key is encrypted.
    pub encrypted: bool,
    /// When the key was published.
    pub created_at: UnixMillis,
    /// The key signs from this moment on.
    pub activates_at: UnixMillis,
    /// The key is removed at this moment.
    pub retires_at: Option<UnixMillis>,
    /// A result of [`KeyEncryptionKey::attest`].
    pub attestation: Option<Vec<u8>>,
}

/// Why a row is not believed as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// The private key is not encrypted. The key is not used.
    Plain,
    /// It has no attestation, or that of another key. The key is not used.
    Unattested,
    /// Its algorithm or times differ from the attestation, which is used.
    Altered,
}

/// A row that is not believed as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its key id.
    pub kid: String,
    /// Why.
    pub reason: Reason,
}

impl Finding {
    /// Logs it.
    pub(super) fn log(&self) {
        let reason: &str = self.reason.into();
        match self.reason {
            Reason::Altered => log::error!(kid:% = self.kid; "signing key alteration ignored"),
            _ => log::error!(kid:% = self.kid, reason; "signing key rejected"),
        }
    }
}

/// All rows, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// The keys to use, oldest first, with the algorithm and times to use.
    pub believed: Vec<KeyRecord>,
    /// The rows of keys that must not be used.
    pub rejected: Vec<UncheckedRow>,
    /// The rows that are not believed as they are.
    pub findings: Vec<Finding>,
}

/// Decides which rows are believed.
///
/// # Errors
/// Without an encryption key: a row has an unknown algorithm. With one: there are rows, but none
/// that this key attests.
pub fn check(rows: Vec<UncheckedRow>, encryption_key: Option<&KeyEncryptionKey>) -> Result<Checked, KeyError> {
    let mut checked = Checked::default();
    let Some(encryption_key) = encryption_key else {
        checked.believed = rows.iter().map(UncheckedRow::record).collect::<Result<_, _>>()?;
        return Ok(checked);
    };
    for row in rows {
        let believed = attested(&row, encryption_key);
        let reason = match &believed {
            // A later `retires_at` of the row differs: the earlier one is believed.
            Ok(record) if row.record().as_ref() == Ok(record) => None,
            Ok(_) => Some(Reason::Altered),
            Err(reason) => Some(*reason),
        };
        let kid = row.kid.clone();
        checked.findings.extend(reason.map(|reason| Finding { kid, reason }));
        match believed {
            Ok(record) => checked.believed.push(record),
            Err(_) => checked.rejected.push(row),
        }
    }
    checked
        .believed
        .sort_by(|a, b| (a.created_at, &a.kid).cmp(&(b.created_at, &b.kid)));
    match checked.believed.is_empty() && !checked.rejected.is_empty() {
        true => Err(none_is_believed(&checked.rejected)),
        false => Ok(checked),
    }
}

/// What an instance has attested about a key. An earlier `retires_at` of the row is in effect too:
/// an instance of version 0.1 writes it without an attestation.
fn attested(row: &UncheckedRow, encryption_key: &KeyEncryptionKey) -> Result<KeyRecord, Reason> {
    if !row.encrypted {
        return Err(Reason::Plain);
    }
    let attestation = row.attestation.as_deref().ok_or(Reason::Unattested)?;
    let mut record = encryption_key
        .attested(&row.kid, attestation)
        .ok_or(Reason::Unattested)?;
    record.retires_at = match (record.retires_at, row.retires_at) {
        (Some(attested), Some(row)) => Some(attested.min(row)),
        (attested, row) => attested.or(row),
    };
    Ok(record)
}

fn none_is_believed(rejected: &[UncheckedRow]) -> KeyError {
    let text = if !rejected.iter().any(|row| row.encrypted) {
        "the stored keys are not encrypted: keys.encryption_key must be the same on all instances, and a start \
         encrypts them"
    } else if rejected.iter().all(|row| row.attestation.is_none()) {
        "the stored keys have no attestation: if version 0.1 wrote them, start a server of this version first; \
         otherwise another program has changed them: restore the table signing_keys from a backup"
    } else {
        "keys.encryption_key is not the one that the stored keys were encrypted with"
    };
    KeyError(text.into())
}

impl UncheckedRow {
    /// The record of the key as the row states it.
    ///
    /// # Errors
    /// The algorithm is unknown.
    pub fn record(&self) -> Result<KeyRecord, KeyError> {
        let unknown = |_| KeyError(format!("signing key {} has an unknown alg", self.kid));
        Ok(KeyRecord {
            kid: self.kid.clone(),
            alg: self.alg.parse::<Alg>().map_err(unknown)?,
            encrypted: self.encrypted,
            created_at: self.created_at,
            activates_at: self.activates_at,
            retires_at: self.retires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encryption_key() -> KeyEncryptionKey {
        KeyEncryptionKey::new(&[9; 32])
    }

    fn row(number: usize, retires_at: Option<i64>) -> UncheckedRow {
        let mut row = UncheckedRow {
            kid: format!("kid {number}"),
            alg: Alg::ALL[number % Alg::ALL.len()].name().into(),
            encrypted: true,
            created_at: UnixMillis(number as i64),
            activates_at: UnixMillis(100),
            retires_at: retires_at.map(UnixMillis),
            attestation: None,
        };
        row.attestation = Some(encryption_key().attest(&row.record().unwrap()).unwrap());
        row
    }

    fn checked(rows: Vec<UncheckedRow>) -> Checked {
        check(rows, Some(&encryption_key())).unwrap()
    }

    #[test]
    fn rows_that_an_instance_wrote_are_believed() {
        let rows = vec![row(1, None), row(2, Some(300))];
        let checked = checked(rows.clone());
        let records: Vec<KeyRecord> = rows.iter().map(|row| row.record().unwrap()).collect();
        assert_eq!((checked.believed, checked.findings), (records, Vec::new()));
    }

    #[test]
    fn an_earlier_retirement_is_believed_and_a_later_one_is_not() {
        for (attested, stated, believed, is_altered) in [
            (None, Some(200), Some(200), false),
            (Some(300), Some(200), Some(200), false),
            (Some(300), Some(400), Some(300), true),
            (Some(300), None, Some(300), true),
        ] {
            let mut row = row(1, attested);
            row.retires_at = stated.map(UnixMillis);
            let checked = checked(vec![row]);
            assert_eq!(checked.believed[0].retires_at, believed.map(UnixMillis));
            assert_eq!(checked.findings.len(), usize::from(is_altered));
        }
    }

    #[test]
    fn without_an_encryption_key_every_row_with_a_known_algorithm_is_believed() {
        let mut rows = vec![row(1, None), row(2, None)];
        rows[0].attestation = None;
        assert_eq!(check(rows.clone(), None).unwrap().believed.len(), 2);
        rows[1].alg = "none".into();
        assert_eq!(
            check(rows, None),
            Err(KeyError("signing key kid 2 has an unknown alg".into()))
        );
    }

    #[test]
    fn if_no_row_is_believed_the_error_says_why() {
        let error = |row| check(vec![row], Some(&encryption_key())).unwrap_err().0;
        let plain = UncheckedRow {
            encrypted: false,
            ..row(1, None)
        };
        assert!(error(plain).starts_with("the stored keys are not encrypted"));
        let unattested = UncheckedRow {
            attestation: None,
            ..row(1, None)
        };
        assert!(error(unattested).starts_with("the stored keys have no attestation"));
        let foreign = UncheckedRow {
            kid: "another".into(),
            ..row(1, None)
        };
        assert!(error(foreign).starts_with("keys.encryption_key is not the one"));
        assert_eq!(check(Vec::new(), Some(&encryption_key())), Ok(Checked::default()));
    }

    /// What a program that can write to the table may do to one of its rows.
    fn tamper(row: &mut UncheckedRow, how: u8, others: &[UncheckedRow], value: i64) {
        match how {
            0 => row.alg = "HS256".into(),
            1 => row.alg = "none".into(),
            2 => row.created_at = UnixMillis(value),
            3 => row.activates_at = UnixMillis(value),
            4 => row.retires_at = Some(UnixMillis(value)),
            5 => row.retires_at = None,
            6 => row.encrypted = false,
            7 => row.attestation = None,
            8 => row.attestation = others[value as usize % others.len()].attestation.clone(),
            9 => row.kid = others[value as usize % others.len()].kid.clone(),
            _ => row.kid = "new".into(),
        }
    }

    proptest! {
        #[test]
        fn no_change_of_the_table_adds_or_alters_a_key(
            changes in prop::collection::vec((0..6usize, 0..11u8, 0..1000i64), 0..12),
        ) {
            let original: Vec<UncheckedRow> = (0..6).map(|n| row(n, (n % 2 == 0).then_some(500))).collect();
            let mut rows = original.clone();
            for (at, how, value) in changes {
                tamper(&mut rows[at], how, &original, value);
            }
            let Ok(checked) = check(rows.clone(), Some(&encryption_key())) else {
                return Ok(());
            };
            for record in &checked.believed {
                let written = original.iter().map(|row| row.record().unwrap()).find(|row| row.kid == record.kid);
                let mut written = written.expect("only keys that were written");
                let end = |at: Option<UnixMillis>| at.map_or(i64::MAX, |at| at.0);
                prop_assert!(end(record.retires_at) <= end(written.retires_at));
                written.retires_at = record.retires_at;
                prop_assert_eq!(record, &written);
            }
            prop_assert_eq!(checked.believed.len() + checked.rejected.len(), rows.len());
        }
    }
}
