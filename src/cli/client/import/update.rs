//! `mintage client import --update`: an entry whose client exists becomes a change of that client.
//!
//! What the file says is set, what it does not have stays. A secret is added unless the client has
//! it, and none is removed. So the same file again changes nothing.

use std::collections::HashMap;

use super::entry::{Candidate, ForeignSecret, ImportReport, Rejected, Value};
use crate::api::declaration::differs;
use crate::db::declarations::Declared;
use crate::db::secrets::MAX_SECRETS;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::duty::is_reserved;
use crate::oauth::secret_hash::SecretHash;
use crate::oauth::stored_secret::{StoredSecret, imported_id};
use crate::time::UnixMillis;

/// What an accepted entry does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It creates a client.
    Created,
    /// It changes a client.
    Updated,
    /// The client is as the file says.
    Unchanged,
}

impl Change {
    /// The name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
        }
    }
}

/// Compares the accepted entries with the clients that exist.
pub fn compare(report: &mut ImportReport, mut existing: HashMap<ClientId, Client>, now: UnixMillis) {
    for mut candidate in std::mem::take(&mut report.accepted) {
        let compared = match existing.remove(&candidate.client.id) {
            Some(before) => update(&mut candidate, before, now),
            None => Ok(()),
        };
        match compared {
            Ok(()) => report.accepted.push(candidate),
            Err(reason) => report.rejected.push(Rejected {
                place: candidate.place,
                id: candidate.client.id.to_string(),
                reason,
            }),
        }
    }
}

fn update(candidate: &mut Candidate, before: Client, now: UnixMillis) -> Result<(), String> {
    const OPERATOR: &str = "the client has rights on this server (mintage:…): change it with `mintage client update`";
    const EXPIRED: &str = "the client has this secret, and it has expired: give it another, or revoke it with \
                           `mintage client secret revoke`";
    if before.scope.tokens().any(is_reserved) {
        return Err(OPERATOR.to_owned());
    }
    let mut after = candidate
        .fields
        .applied_to(&before, now)
        .map_err(|wrong| wrong.to_string())?;
    // The default goes with its audience. One that was never among the audiences is the operator's.
    let has = |client: &Client, audience: &str| client.audiences.iter().any(|other| **other == *audience);
    let default = after.token.default_audience.as_deref();
    if candidate.fields.default_audience.is_none()
        && default.is_some_and(|default| has(&before, default) && !has(&after, default))
    {
        after.token.default_audience = None;
    }
    candidate.client = match differs(&before, &after) {
        true => after,
        false => before.clone(),
    };
    for secret in std::mem::take(&mut candidate.secrets) {
        match find(&before, &secret) {
            Some(known) if known.is_valid(now) => {}
            Some(_) => return Err(EXPIRED.to_owned()),
            None => candidate.secrets.push(secret),
        }
    }
    if before.secrets.len() + candidate.secrets.len() > MAX_SECRETS as usize {
        return Err(format!("the client would have more than {MAX_SECRETS} secrets"));
    }
    candidate.before = Some(before);
    Ok(())
}

/// The secret of the client that is the one in the file. Takes as long as the password hashes of the
/// client if the file has the secret in plain text and no digest is equal.
fn find<'a>(client: &'a Client, secret: &ForeignSecret) -> Option<&'a StoredSecret> {
    let find = |is: &dyn Fn(&StoredSecret) -> bool| client.secrets.iter().find(|stored| is(stored));
    match &secret.value {
        Value::Plain(plain) => {
            let digest = SecretHash::of(plain);
            find(&|stored| stored.hash.is(&digest))
                .or_else(|| find(&|stored| stored.password_hash().is_some_and(|hash| hash.verify(plain))))
        }
        Value::Digest(digest) => find(&|stored| stored.hash.is(digest)),
        // The first use has replaced it with a digest, which only the id connects with it.
        Value::Hashed(hash) => {
            let id = imported_id(client.id.as_str(), hash);
            find(&|stored| stored.id == id || stored.password_hash().is_some_and(|known| known.text() == hash.text()))
        }
    }
}

impl Candidate {
    /// What it does.
    pub fn change(&self) -> Change {
        match &self.before {
            None => Change::Created,
            Some(before) if self.secrets.is_empty() && !differs(before, &self.client) => Change::Unchanged,
            Some(_) => Change::Updated,
        }
    }

    /// The change to write, with its hashed secrets.
    pub fn declared(&self) -> Declared {
        Declared {
            before: self.before.clone(),
            after: self.client.clone(),
        }
    }
}
