//! [`PasswordVerifier`]: verifies secrets that are kept by a slow hash, off the workers and few at a time, and remembers which were
//! right.
//!
//! A hash is verified once in a process for each secret presented; then a generated secret is kept by the fast hash, and
//! all of this is over for it. One that looks chosen keeps its slow hash in the database, and what is remembered of it
//! never leaves this process (ADR 18).
//!
//! Nothing here is on the way of a secret with a fast hash.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ahash::RandomState;
use aws_lc_rs::hmac;
use lru::LruCache;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::db::{Db, secrets};
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::imported_secret::looks_generated;
use crate::oauth::password_hash::PasswordHash;
use crate::oauth::secret_hash::SecretHash;
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;

/// Hashes verified at the same time, each on a thread of its own and with up to 64 MiB: signing goes on beside them.
const MAX_RUNNING: usize = 2;

/// Hashes that may wait for that. With bcrypt at its usual cost the last of them waits two to three seconds.
const MAX_WAITING: usize = 64;

/// Of these, how many may be of one secret: who guesses at one client leaves room for the others.
const MAX_WAITING_EACH: usize = 16;

/// How long a request waits for its turn: whoever asks for a token has given up by then.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Right secrets that are remembered; an entry takes about 150 bytes. One that is forgotten is verified again.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");

/// How long the answer waits for the fast hash to be stored; a database that hangs holds up nobody who is right.
const STORE_TIMEOUT: Duration = Duration::from_millis(500);

/// Time before storing the fast hash is tried again, in milliseconds.
const STORE_RETRY_DELAY: i64 = 10_000;

/// A slow hash and a secret, hashed with a key that only this process has: no secret is kept, and nothing that is worth
/// guessing secrets from outside of this process.
type Tag = [u8; 32];

/// The verifier, shared by all workers; a clone is the same one.
#[derive(Clone)]
pub struct PasswordVerifier(Arc<Inner>);

struct Inner {
    db: Db,
    key: hmac::Key,
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    running: AtomicU64,
    verified: AtomicU64,
    replaced: AtomicU64,
    busy: AtomicU64,
}

struct State {
    /// What was right. For a secret that should be kept by the fast hash and is not yet: when to try that again.
    right: LruCache<Tag, Option<UnixMillis>, RandomState>,
    /// What runs or waits: however many ask the same, it is done once.
    under_way: HashMap<Tag, Flight>,
}

/// A verification that runs or waits.
struct Flight {
    secret_id: String,
    /// Who waits for it.
    waiting: Vec<oneshot::Sender<bool>>,
}

/// What it has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordVerifierCounts {
    /// Hashes verified, whatever came out.
    pub verified: u64,
    /// Secrets that are kept by the fast hash since.
    pub replaced: u64,
    /// Requests that were told to come again because too many waited.
    pub busy: u64,
    /// Verifications that run now.
    pub running: u64,
    /// Verifications that wait now.
    pub waiting: u64,
}

impl PasswordVerifier {
    /// With nothing remembered.
    pub fn new(db: Db) -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *key).expect("the operating system's randomness is available once it has booted");
        Self(Arc::new(Inner {
            db,
            key: hmac::Key::new(hmac::HMAC_SHA256, &*key),
            permits: Arc::new(Semaphore::new(MAX_RUNNING)),
            state: Mutex::new(State {
                right: LruCache::with_hasher(MAX_REMEMBERED, RandomState::new()),
                under_way: HashMap::new(),
            }),
            running: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        }))
    }

    /// The one of a client's secrets with slow hashes that `presented` is, unless it has expired at `now`.
    ///
    /// # Errors
    /// When too many wait already, or it takes too long.
    pub async fn find<'a>(
        &self,
        presented: &ClientSecret,
        client: &'a Client,
        now: UnixMillis,
    ) -> Result<Option<&'a StoredSecret>, Unavailable> {
        for secret in client.secrets.iter().filter(|secret| secret.is_valid(now)) {
            let Some(hash) = secret.password_hash() else {
                continue;
            };
            let tag = self.tag(hash, presented);
            if !self.is_known(&tag) && !self.verify(tag, secret, hash, presented).await? {
                continue;
            }
            self.upgrade_to_digest(tag, presented, secret, &client.id, now).await;
            return Ok(Some(secret));
        }
        Ok(None)
    }

    /// What it has counted.
    pub fn counts(&self) -> PasswordVerifierCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let under_way = self.0.state().under_way.len() as u64;
        let running = count(&self.0.running);
        PasswordVerifierCounts {
            verified: count(&self.0.verified),
            replaced: count(&self.0.replaced),
            busy: count(&self.0.busy),
            running,
            waiting: under_way.saturating_sub(running),
        }
    }

    fn tag(&self, hash: &PasswordHash, presented: &ClientSecret) -> Tag {
        let mut context = hmac::Context::with_key(&self.0.key);
        // No hash holds a zero, so no two pairs are the same bytes.
        context.update(hash.text().as_bytes());
        context.update(&[0]);
        context.update(presented.reveal().as_bytes());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn is_known(&self, tag: &Tag) -> bool {
        self.0.state().right.get(tag).is_some()
    }

    async fn verify(
        &self,
        tag: Tag,
        secret: &StoredSecret,
        hash: &Arc<PasswordHash>,
        presented: &ClientSecret,
    ) -> Result<bool, Unavailable> {
        let (answer, waiting) = oneshot::channel();
        let begins = self.join(tag, &secret.id, answer)?;
        if begins {
            let under_way = UnderWay {
                inner: self.0.clone(),
                tag,
                ended: false,
            };
            let (hash, secret) = (hash.clone(), ClientSecret::new(presented.reveal().to_owned()));
            // On its own: a caller that hangs up takes the answer from nobody else.
            tokio::spawn(under_way.work(hash, secret));
        }
        match timeout(QUEUE_TIMEOUT, waiting).await {
            Ok(Ok(right)) => Ok(right),
            Ok(Err(_)) | Err(_) => Err(self.0.busy()),
        }
    }

    /// Waits for a verification under way, or for one that is to begin; `true` when the caller has to begin it.
    fn join(&self, tag: Tag, secret_id: &str, answer: oneshot::Sender<bool>) -> Result<bool, Unavailable> {
        let mut state = self.0.state();
        if let Some(flight) = state.under_way.get_mut(&tag) {
            flight.waiting.push(answer);
            return Ok(false);
        }
        let of_this = state.under_way.values().filter(|flight| flight.secret_id == secret_id);
        if state.under_way.len() >= MAX_RUNNING + MAX_WAITING || of_this.count() >= MAX_WAITING_EACH {
            return Err(self.0.busy());
        }
        let flight = Flight {
            secret_id: secret_id.to_owned(),
            waiting: vec![answer],
        };
        state.under_way.insert(tag, flight);
        Ok(true)
    }

    /// Has a generated secret kept by the fast hash, if that is not done or being done.
    async fn upgrade_to_digest(
        &self,
        tag: Tag,
        presented: &ClientSecret,
        secret: &StoredSecret,
        client: &ClientId,
        now: UnixMillis,
    ) {
        if !self.is_to_be_stored(&tag, now) {
            return;
        }
        let (this, client, id) = (self.clone(), client.clone(), secret.id.clone());
        let (from, to) = (secret.hash.clone(), SecretHash::of(presented));
        let storing = tokio::spawn(async move { this.store(tag, client, id, (from, to), now).await });
        // It goes on when the answer does not wait for it any more.
        let _ = timeout(STORE_TIMEOUT, storing).await;
    }

    /// Whether the fast hash is to be stored now; of many that ask at once, one is told so.
    fn is_to_be_stored(&self, tag: &Tag, now: UnixMillis) -> bool {
        let mut state = self.0.state();
        match state.right.get_mut(tag) {
            Some(Some(try_from)) if *try_from <= now => {
                *try_from = UnixMillis(now.0.saturating_add(STORE_RETRY_DELAY));
                true
            }
            _ => false,
        }
    }

    async fn store(
        &self,
        tag: Tag,
        client: ClientId,
        secret_id: String,
        hashes: (SecretHash, SecretHash),
        at: UnixMillis,
    ) {
        let (id, secret) = (client.clone(), secret_id.clone());
        let (from, to) = hashes;
        let stored = self
            .0
            .db
            .run_repeatable(move |conn| secrets::rehash(conn, &id, &secret, &from, &to, at))
            .await;
        match stored {
            Ok(replaced) => {
                // Done, here or by another instance, or the secret is gone: nothing to try again.
                self.0.state().right.put(tag, None);
                if replaced {
                    self.0.replaced.fetch_add(1, Ordering::Relaxed);
                    log::info!(client:%, secret:% = secret_id; "password hash upgraded");
                }
            }
            // Later; an outage tells of itself through the breaker.
            Err(error) if error.is_unavailable() => {
                log::debug!(client:%, secret:% = secret_id, error:%; "password hash upgrade failed");
            }
            Err(error) => {
                log::error!(client:%, secret:% = secret_id, error:%; "password hash upgrade failed");
            }
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> Unavailable {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Unavailable
    }
}

/// The work of a [`Flight`]. However it ends, others can begin one for the same secret then.
struct UnderWay {
    inner: Arc<Inner>,
    tag: Tag,
    /// Whether it has left [`State::under_way`].
    ended: bool,
}

impl UnderWay {
    async fn work(mut self, hash: Arc<PasswordHash>, secret: ClientSecret) {
        let Ok(permit) = self.inner.permits.clone().acquire_owned().await else {
            return;
        };
        if self.ends_abandoned() {
            return;
        }
        let inner = self.inner.clone();
        let verifying = tokio::task::spawn_blocking(move || {
            // Held by the thread: one that outlives its caller still counts.
            let _permit = permit;
            inner.running.fetch_add(1, Ordering::Relaxed);
            let right = hash.verify(&secret).then(|| looks_generated(&secret));
            inner.running.fetch_sub(1, Ordering::Relaxed);
            right
        });
        let Ok(right) = verifying.await else {
            return;
        };
        self.inner.verified.fetch_add(1, Ordering::Relaxed);
        for waiter in self.end(right) {
            // A caller that hung up needs no answer.
            let _ = waiter.send(right.is_some());
        }
    }

    /// Ends it if nobody waits for it any more: then it is not worth its turn.
    fn ends_abandoned(&mut self) -> bool {
        let mut state = self.inner.state();
        let flight = state.under_way.get(&self.tag);
        self.ended = flight.is_none_or(|flight| flight.waiting.iter().all(oneshot::Sender::is_closed));
        if self.ended {
            state.under_way.remove(&self.tag);
        }
        self.ended
    }

    /// Notes what came out: `None` for a wrong secret, else whether it looks generated. Answers who waits for it.
    ///
    /// Both at once: whoever comes later finds it remembered.
    fn end(&mut self, right: Option<bool>) -> Vec<oneshot::Sender<bool>> {
        let mut state = self.inner.state();
        if let Some(generated) = right {
            state.right.put(self.tag, generated.then_some(UnixMillis(i64::MIN)));
        }
        self.ended = true;
        let flight = state.under_way.remove(&self.tag);
        flight.map(|flight| flight.waiting).unwrap_or_default()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.ended {
            self.inner.state().under_way.remove(&self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a database that nobody asks.
    fn password_verifier() -> PasswordVerifier {
        PasswordVerifier::new(Db::unreachable())
    }

    /// How many of `count` different secrets that are presented for `secret_id` find room.
    fn joining(verifier: &PasswordVerifier, secret_id: &str, count: u8) -> usize {
        let hash = PasswordHash::of(&ClientSecret::new(secret_id.into()));
        let join = |number: u8| {
            let tag = verifier.tag(&hash, &ClientSecret::new(number.to_string()));
            verifier.join(tag, secret_id, oneshot::channel().0)
        };
        (0..count).filter(|number| join(*number) == Ok(true)).count()
    }

    #[test]
    fn who_guesses_at_one_client_leaves_room_for_the_others() {
        let verifier = password_verifier();
        assert_eq!(joining(&verifier, "a", 100), MAX_WAITING_EACH);
        assert_eq!(joining(&verifier, "b", 1), 1);
        assert_eq!(verifier.counts().busy, 100 - MAX_WAITING_EACH as u64);
    }

    #[test]
    fn all_together_are_bounded() {
        let verifier = password_verifier();
        let found_room: usize = ["a", "b", "c", "d", "e"]
            .iter()
            .map(|id| joining(&verifier, id, 16))
            .sum();
        assert_eq!(found_room, MAX_RUNNING + MAX_WAITING);
    }

    #[test]
    fn who_brings_the_same_secret_needs_no_room() {
        let verifier = password_verifier();
        let join = || verifier.join([7; 32], "a", oneshot::channel().0);
        assert_eq!(join(), Ok(true));
        assert!((0..1000).all(|_| join() == Ok(false)));
        assert_eq!(verifier.counts().waiting, 1);
    }

    #[test]
    fn a_tag_is_of_one_hash_one_secret_and_one_process() {
        let (verifier, other) = (password_verifier(), password_verifier());
        let secret = |text: &str| ClientSecret::new(text.into());
        let (first, second) = (PasswordHash::of(&secret("a")), PasswordHash::of(&secret("a")));
        let tag = verifier.tag(&first, &secret("a"));
        assert!(tag == verifier.tag(&first, &secret("a")));
        assert!(tag != verifier.tag(&first, &secret("b")) && tag != verifier.tag(&second, &secret("a")));
        assert!(tag != other.tag(&first, &secret("a")));
    }
}
