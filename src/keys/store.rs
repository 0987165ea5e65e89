//! The current key ring, shared by all workers, and its parsed form in each worker.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use super::trust::Finding;
use super::{KeyEncryptionKey, KeyError, KeyRing, NotSigned, RejectedToken, Signer, StoredKey, Verifier};
use crate::mutex::lock;
use crate::oauth::alg::Alg;
use crate::oauth::claims::AccessTokenClaims;
use crate::snapshot::{Snapshot, Ticket};
use crate::time::UnixMillis;

/// The current key ring, or none before the keys are loaded. Clones share the ring.
#[derive(Clone, Default)]
pub struct KeyStore {
    ring: Snapshot<KeyRing>,
    /// The findings about the stored keys that were logged last.
    findings: Arc<Mutex<Vec<Finding>>>,
}

impl KeyStore {
    /// The current ring, or `None` before the keys are loaded.
    pub fn ring(&self) -> Option<Arc<KeyRing>> {
        self.ring.load_full()
    }

    /// Replaces the ring. Each worker uses it from its next token on.
    pub fn set(&self, ring: KeyRing) {
        self.ring.set(ring);
    }

    /// Take a ticket before reading the rows, and pass it to [`KeyStore::apply`].
    pub fn ticket(&self) -> Ticket {
        self.ring.ticket()
    }

    /// Replaces the ring with the rows that were read after `ticket` was taken. Does nothing if a
    /// later read has been applied.
    ///
    /// # Errors
    /// As [`KeyRing::new`]. The previous ring then stays in effect.
    pub fn apply(
        &self,
        ticket: Ticket,
        stored: &[StoredKey],
        encryption_key: Option<&KeyEncryptionKey>,
        now: UnixMillis,
    ) -> Result<(), KeyError> {
        let ring = KeyRing::new(stored, encryption_key, now)?;
        self.ring.apply(ticket, |previous| match previous {
            Some(previous) => ring.following(&previous, now),
            None => ring,
        });
        Ok(())
    }

    /// Logs the findings about the stored keys that were not there at the last call.
    pub fn report(&self, findings: Vec<Finding>) {
        let mut known = lock(&self.findings);
        for finding in findings.iter().filter(|finding| !known.contains(finding)) {
            finding.log();
        }
        *known = findings;
    }
}

/// The parsed keys of one worker. Neither `Send` nor `Sync`, like the parsed keys inside.
pub struct WorkerKeys {
    store: KeyStore,
    parsed: RefCell<Option<Rc<ParsedRing>>>,
}

struct ParsedRing {
    ring: Arc<KeyRing>,
    /// When the next key is activated, if one is published.
    signs_until: Option<UnixMillis>,
    signers: [Option<Signer>; Alg::ALL.len()],
    verifier: Verifier,
}

/// The keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysUnusable {
    /// The keys are not loaded yet.
    NotLoaded,
    /// An internal fault.
    Broken(KeyError),
    /// The token would be longer than [`crate::oauth::bounds::MAX_ISSUED_TOKEN`].
    TokenTooLong,
}

impl From<NotSigned> for KeysUnusable {
    fn from(not_signed: NotSigned) -> Self {
        match not_signed {
            NotSigned::Broken(error) => Self::Broken(error),
            NotSigned::TooLong => Self::TokenTooLong,
        }
    }
}

impl WorkerKeys {
    /// The keys of one worker, parsed on first use.
    pub fn new(store: KeyStore) -> Self {
        Self {
            store,
            parsed: RefCell::new(None),
        }
    }

    /// Signs claims with the key that is active for `alg` at `now`, and appends the token to
    /// `buffer`.
    ///
    /// # Errors
    /// The keys are not loaded, there is no key for `alg`, it cannot sign, or the token would be too
    /// long.
    pub fn sign(
        &self,
        alg: Alg,
        claims: &AccessTokenClaims,
        now: UnixMillis,
        buffer: &mut Vec<u8>,
    ) -> Result<(), KeysUnusable> {
        let parsed = self.parsed(|parsed| parsed.signs_until.is_none_or(|until| now < until), now)?;
        let signer = parsed.signers[alg.index()]
            .as_ref()
            .ok_or_else(|| KeysUnusable::Broken(KeyError(format!("there is no active key for {alg}"))))?;
        Ok(signer.sign_into(claims, buffer)?)
    }

    /// The claims of a token, or [`RejectedToken`] if none of our keys signed it.
    ///
    /// # Errors
    /// The keys are not loaded or cannot be used.
    pub fn verify(
        &self,
        token: &str,
        now: UnixMillis,
    ) -> Result<Result<AccessTokenClaims, RejectedToken>, KeysUnusable> {
        Ok(self.parsed(|_| true, now)?.verifier.verify(token))
    }

    /// The parsed form of the current ring. Parses the ring again if it was replaced or `is_good`
    /// returns `false`.
    fn parsed(&self, is_good: impl Fn(&ParsedRing) -> bool, now: UnixMillis) -> Result<Rc<ParsedRing>, KeysUnusable> {
        let current = self.store.ring.load();
        let current = current.as_ref().ok_or(KeysUnusable::NotLoaded)?;
        let mut parsed = self.parsed.borrow_mut();
        match &*parsed {
            Some(known) if Arc::ptr_eq(&known.ring, current) && is_good(known) => Ok(known.clone()),
            _ => {
                let fresh = Rc::new(ParsedRing::new(current, now).map_err(KeysUnusable::Broken)?);
                *parsed = Some(fresh.clone());
                Ok(fresh)
            }
        }
    }
}

impl ParsedRing {
    fn new(ring: &Arc<KeyRing>, now: UnixMillis) -> Result<Self, KeyError> {
        let mut signers: [Option<Signer>; Alg::ALL.len()] = Default::default();
        for alg in Alg::ALL {
            signers[alg.index()] = ring.signer(alg, now).map(|key| Signer::new(key)).transpose()?;
        }
        Ok(Self {
            signs_until: ring.next_activation(now),
            verifier: Verifier::new(ring)?,
            signers,
            ring: ring.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{SigningKey, rotation};
    use crate::oauth::claims::Audience;
    use crate::oauth::scope::Scope;
    use crate::oauth::token_id::TokenId;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    fn key(alg: Alg, activates_at: i64) -> StoredKey {
        SigningKey::generate(alg, UnixMillis(activates_at), None).unwrap()
    }

    fn claims() -> AccessTokenClaims {
        AccessTokenClaims {
            iss: "https://issuer".into(),
            sub: "demo".into(),
            aud: Audience::One("https://issuer".into()),
            client_id: "demo".into(),
            scope: Scope::parse("a").unwrap(),
            iat: 1,
            exp: 2,
            jti: TokenId::new(UnixMillis(1000), [1; 10]),
            one_time: false,
            secret_id: None,
            form: Default::default(),
        }
    }

    /// The kid of a token.
    fn signed_by(token: &str) -> String {
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        header["kid"].as_str().unwrap().to_owned()
    }

    #[test]
    fn p50_the_next_key_signs_from_its_activation_on_without_a_message() {
        let keys = [key(Alg::Es256, 10), key(Alg::Es256, 20), key(Alg::Hs256, 5)];
        let store = KeyStore::default();
        store.set(KeyRing::new(&keys, None, UnixMillis(10)).unwrap());
        let worker = WorkerKeys::new(store);
        let mut tokens = Vec::new();
        for (now, signer) in [(10, 0), (19, 0), (20, 1), (21, 1)] {
            let mut token = Vec::new();
            worker.sign(Alg::Es256, &claims(), UnixMillis(now), &mut token).unwrap();
            let token = String::from_utf8(token).unwrap();
            assert_eq!(signed_by(&token), keys[signer].kid, "at {now}");
            tokens.push(token);
        }
        for token in tokens {
            assert_eq!(worker.verify(&token, UnixMillis(21)), Ok(Ok(claims())));
        }
    }

    #[test]
    fn rows_of_an_older_read_never_replace_newer_ones() {
        let (old, new) = ([key(Alg::Hs256, 1)], [key(Alg::Hs256, 2)]);
        let store = KeyStore::default();
        let (first, second) = (store.ticket(), store.ticket());
        store.apply(second, &new, None, UnixMillis(5)).unwrap();
        store.apply(first, &old, None, UnixMillis(5)).unwrap();
        assert_eq!(store.ring().unwrap().records()[0].kid, new[0].kid);
    }

    #[test]
    fn p50_a_key_that_is_new_to_a_running_instance_is_published_for_its_whole_lead() {
        let mut keys = vec![key(Alg::Hs256, 1)];
        let store = KeyStore::default();
        store.set(KeyRing::new(&keys, None, UnixMillis(1)).unwrap());
        keys.push(key(Alg::Hs256, 100));
        keys[1].activates_at = UnixMillis(160);
        store.apply(store.ticket(), &keys, None, UnixMillis(150)).unwrap();
        let ring = store.ring().unwrap();
        let signer = |now| rotation::signer(ring.records(), Alg::Hs256, UnixMillis(now)).unwrap();
        assert_eq!((&signer(209).kid, &signer(210).kid), (&keys[0].kid, &keys[1].kid));
    }
}
