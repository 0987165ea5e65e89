//! The current key ring, shared by all workers, and what each worker keeps parsed of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::{KeyError, KeyRing, RefusedToken, Signer, Verifier};
use crate::oauth::alg::Alg;
use crate::oauth::claims::AccessTokenClaims;

/// The ring that counts now; empty until the keys are loaded. A clone is the same store.
#[derive(Clone, Default)]
pub struct KeyStore(Arc<ArcSwapOption<KeyRing>>);

impl KeyStore {
    /// The current ring, if the keys are loaded.
    pub fn ring(&self) -> Option<Arc<KeyRing>> {
        self.0.load_full()
    }

    /// Puts another ring in its place; each worker takes it up with its next token.
    pub fn set(&self, ring: KeyRing) {
        self.0.store(Some(Arc::new(ring)));
    }
}

/// The keys of one worker, parsed. Neither `Send` nor `Sync`, like the parsed keys inside.
pub struct WorkerKeys {
    store: KeyStore,
    parsed: RefCell<Option<Rc<ParsedRing>>>,
}

struct ParsedRing {
    ring: Arc<KeyRing>,
    signers: [Option<Signer>; Alg::ALL.len()],
    verifier: Verifier,
}

/// The keys cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysUnusable {
    /// They are not loaded yet.
    NotLoaded,
    /// A fault of ours.
    Broken(KeyError),
}

impl WorkerKeys {
    /// For one worker.
    pub fn new(store: KeyStore) -> Self {
        Self {
            store,
            parsed: RefCell::new(None),
        }
    }

    /// Signs claims with the key that is active for `alg`; the token is appended to `buffer`.
    ///
    /// # Errors
    /// When the keys are not loaded, there is none for `alg`, or it cannot sign.
    pub fn sign(&self, alg: Alg, claims: &AccessTokenClaims, buffer: &mut Vec<u8>) -> Result<(), KeysUnusable> {
        let parsed = self.parsed()?;
        let signer = parsed.signers[alg.index()]
            .as_ref()
            .ok_or_else(|| KeysUnusable::Broken(KeyError(format!("there is no active key for {alg}"))))?;
        signer.sign_into(claims, buffer).map_err(KeysUnusable::Broken)
    }

    /// The claims of a token that one of our keys signed; `None` when none did.
    ///
    /// # Errors
    /// When the keys are not loaded or cannot be used.
    pub fn verify(&self, token: &str) -> Result<Result<AccessTokenClaims, RefusedToken>, KeysUnusable> {
        Ok(self.parsed()?.verifier.verify(token))
    }

    /// The parsed form of the current ring; parsed anew when the ring is another one than last time.
    fn parsed(&self) -> Result<Rc<ParsedRing>, KeysUnusable> {
        let current = self.store.0.load();
        let current = current.as_ref().ok_or(KeysUnusable::NotLoaded)?;
        let mut parsed = self.parsed.borrow_mut();
        match &*parsed {
            Some(known) if Arc::ptr_eq(&known.ring, current) => Ok(known.clone()),
            _ => {
                let fresh = Rc::new(ParsedRing::new(current).map_err(KeysUnusable::Broken)?);
                *parsed = Some(fresh.clone());
                Ok(fresh)
            }
        }
    }
}

impl ParsedRing {
    fn new(ring: &Arc<KeyRing>) -> Result<Self, KeyError> {
        let mut signers: [Option<Signer>; Alg::ALL.len()] = Default::default();
        for alg in Alg::ALL {
            signers[alg.index()] = ring.active(alg).map(|key| Signer::new(key)).transpose()?;
        }
        Ok(Self {
            verifier: Verifier::new(ring)?,
            signers,
            ring: ring.clone(),
        })
    }
}
