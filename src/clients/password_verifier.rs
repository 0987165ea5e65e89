//! [`PasswordVerifier`]: verifies secrets stored as password hashes, and remembers which were
//! correct.
//!
//! Password hashes are slow by design, so they are verified off the workers and few at a time. A
//! process verifies each presented secret only once. If the secret looks generated, its password
//! hash is then replaced by a digest, and the verifier is no longer needed for it. A secret that
//! looks chosen keeps its password hash in the database, and what is remembered of it never leaves
//! this process (docs/adr/0018-imported-secrets-and-password-hashes.md).
//!
//! Secrets stored as digests never come here.

mod counts;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use ahash::RandomState;
use aws_lc_rs::hmac;
use lru::LruCache;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::db::{Db, secrets};
use crate::mutex::lock;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::client_secret::ClientSecret;
use crate::oauth::imported_secret::looks_generated;
use crate::oauth::password_hash::PasswordHash;
use crate::oauth::secret_hash::SecretHash;
use crate::oauth::stored_secret::StoredSecret;
use crate::time::UnixMillis;
use crate::unavailable::Unavailable;

pub use counts::PasswordVerifierCounts;

/// Concurrent verifications. Each has a thread of its own and takes up to 64 MiB. Two leave CPU
/// time for signing.
const MAX_RUNNING: usize = 2;

/// Verifications that may wait for a turn. With bcrypt at its usual cost the last of them waits two
/// to three seconds.
const MAX_WAITING: usize = 64;

/// How many of the waiting and running ones may be for the same secret, so that guesses at one
/// client do not crowd out the others.
const MAX_WAITING_EACH: usize = 16;

/// How long a request waits for its verification. Clients have given up by then.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// Correct secrets remembered. An entry takes about 150 bytes. A secret that was evicted is
/// verified again.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("not zero");

/// How long a response waits for the digest to be stored. A database that hangs must not delay
/// correct requests for longer.
const STORE_TIMEOUT: Duration = Duration::from_millis(500);

/// The time before another attempt to store the digest, in milliseconds.
const STORE_RETRY_DELAY: i64 = 10_000;

/// The HMAC of a password hash and a presented secret, with a key that only this process has. It
/// contains no secret and is useless for guessing one outside of this process.
type Tag = [u8; 32];

/// The verifier, shared by all workers. Clones share one state.
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
    /// Pairs that were verified as correct. The value is `Some` while the secret should be stored
    /// as a digest and is not yet: the time of the next attempt.
    verified: LruCache<Tag, Option<UnixMillis>, RandomState>,
    /// Verifications that run or wait. Concurrent requests with the same secret share one.
    in_progress: HashMap<Tag, Verification>,
}

/// A verification that runs or waits.
struct Verification {
    secret_id: String,
    /// The requests that wait for the result.
    waiters: Vec<oneshot::Sender<bool>>,
}

impl PasswordVerifier {
    /// The permits of a verifier: one for each verification that runs.
    pub fn permits() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_RUNNING))
    }

    /// Creates a verifier that remembers nothing. `permits` come from [`Self::permits`].
    pub fn new(db: Db, permits: Arc<Semaphore>) -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *key).expect("the operating system's randomness is available once it has booted");
        Self(Arc::new(Inner {
            db,
            key: hmac::Key::new(hmac::HMAC_SHA256, &*key),
            permits,
            state: Mutex::new(State {
                verified: LruCache::with_hasher(MAX_REMEMBERED, RandomState::new()),
                in_progress: HashMap::new(),
            }),
            running: AtomicU64::new(0),
            verified: AtomicU64::new(0),
            replaced: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        }))
    }

    /// Finds the secret of `client` with a password hash that matches `presented` and has not
    /// expired at `now`.
    ///
    /// # Errors
    /// [`Unavailable`] when too many verifications wait, or this one takes too long.
    pub async fn find<'a>(
        &self,
        presented: &ClientSecret,
        client: &'a Client,
        now: UnixMillis,
    ) -> Result<Option<&'a StoredSecret>, Unavailable> {
        // First, because each hash before it would be verified again with each request.
        if let Some((secret, tag)) = self.remembered(presented, client, now) {
            self.upgrade_to_digest(tag, presented, secret, &client.id, now).await;
            return Ok(Some(secret));
        }
        for secret in client.secrets.iter().filter(|secret| secret.is_valid(now)) {
            let Some(hash) = secret.password_hash() else {
                continue;
            };
            let tag = self.tag(hash, presented);
            // Another request may have verified it in the meantime.
            if !self.is_known(&tag) && !self.verify(tag, secret, hash, presented).await? {
                continue;
            }
            self.upgrade_to_digest(tag, presented, secret, &client.id, now).await;
            return Ok(Some(secret));
        }
        Ok(None)
    }

    /// Whether [`Self::find`] finds a secret without a verification.
    pub fn remembers(&self, presented: &ClientSecret, client: &Client, now: UnixMillis) -> bool {
        self.remembered(presented, client, now).is_some()
    }

    /// The valid secret with a password hash for which `presented` was verified before.
    fn remembered<'a>(
        &self,
        presented: &ClientSecret,
        client: &'a Client,
        now: UnixMillis,
    ) -> Option<(&'a StoredSecret, Tag)> {
        let valid = client.secrets.iter().filter(|secret| secret.is_valid(now));
        let mut tags = valid.filter_map(|secret| Some((secret, self.tag(secret.password_hash()?, presented))));
        tags.find(|(_, tag)| self.is_known(tag))
    }

    /// The current values of the counters.
    pub fn counts(&self) -> PasswordVerifierCounts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let in_progress = self.0.state().in_progress.len() as u64;
        let running = count(&self.0.running);
        PasswordVerifierCounts {
            verified: count(&self.0.verified),
            replaced: count(&self.0.replaced),
            busy: count(&self.0.busy),
            running,
            waiting: in_progress.saturating_sub(running),
        }
    }

    fn tag(&self, hash: &PasswordHash, presented: &ClientSecret) -> Tag {
        let mut context = hmac::Context::with_key(&self.0.key);
        // A password hash contains no NUL byte, so two different pairs never form the same input.
        context.update(hash.text().as_bytes());
        context.update(&[0]);
        context.update(presented.reveal().as_bytes());
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn is_known(&self, tag: &Tag) -> bool {
        self.0.state().verified.get(tag).is_some()
    }

    async fn verify(
        &self,
        tag: Tag,
        secret: &StoredSecret,
        hash: &Arc<PasswordHash>,
        presented: &ClientSecret,
    ) -> Result<bool, Unavailable> {
        let (answer, waiting) = oneshot::channel();
        let is_new = self.join(tag, &secret.id, answer)?;
        if is_new {
            let task = VerificationTask {
                inner: self.0.clone(),
                tag,
                deregistered: false,
            };
            let (hash, secret) = (hash.clone(), ClientSecret::new(presented.reveal().to_owned()));
            // A task of its own: if the caller disconnects, the other waiters still get the result.
            tokio::spawn(task.work(hash, secret));
        }
        match timeout(QUEUE_TIMEOUT, waiting).await {
            Ok(Ok(correct)) => Ok(correct),
            Ok(Err(_)) | Err(_) => Err(self.0.reject()),
        }
    }

    /// Joins the verification of `tag`, or registers a new one; `true` if the caller must start it.
    fn join(&self, tag: Tag, secret_id: &str, answer: oneshot::Sender<bool>) -> Result<bool, Unavailable> {
        let mut state = self.0.state();
        if let Some(verification) = state.in_progress.get_mut(&tag) {
            verification.waiters.push(answer);
            return Ok(false);
        }
        let of_this_secret = state
            .in_progress
            .values()
            .filter(|verification| verification.secret_id == secret_id);
        if state.in_progress.len() >= MAX_RUNNING + MAX_WAITING || of_this_secret.count() >= MAX_WAITING_EACH {
            return Err(self.0.reject());
        }
        let verification = Verification {
            secret_id: secret_id.to_owned(),
            waiters: vec![answer],
        };
        state.in_progress.insert(tag, verification);
        Ok(true)
    }

    /// Replaces the password hash of a generated secret by a digest, unless that is done or in
    /// progress.
    async fn upgrade_to_digest(
        &self,
        tag: Tag,
        presented: &ClientSecret,
        secret: &StoredSecret,
        client: &ClientId,
        now: UnixMillis,
    ) {
        if !self.should_store_digest(&tag, now) {
            return;
        }
        let (this, client, id) = (self.clone(), client.clone(), secret.id.clone());
        let (from, to) = (secret.hash.clone(), SecretHash::of(presented));
        let storing = tokio::spawn(async move { this.store_digest(tag, client, id, (from, to), now).await });
        // Storing continues after the timeout.
        let _ = timeout(STORE_TIMEOUT, storing).await;
    }

    /// Whether to store the digest now. Of concurrent callers only one gets `true`.
    fn should_store_digest(&self, tag: &Tag, now: UnixMillis) -> bool {
        let mut state = self.0.state();
        match state.verified.get_mut(tag) {
            Some(Some(next_attempt)) if *next_attempt <= now => {
                *next_attempt = UnixMillis(now.0.saturating_add(STORE_RETRY_DELAY));
                true
            }
            _ => false,
        }
    }

    async fn store_digest(
        &self,
        tag: Tag,
        client: ClientId,
        secret_id: Arc<str>,
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
                // Replaced here or by another instance, or the secret is gone: no further attempt.
                self.0.state().verified.put(tag, None);
                if replaced {
                    self.0.replaced.fetch_add(1, Ordering::Relaxed);
                    log::info!(client:%, secret:% = secret_id; "password hash upgraded");
                }
            }
            // Tried again later. An outage is logged by the circuit breaker.
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
        lock(&self.state)
    }

    fn reject(&self) -> Unavailable {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Unavailable
    }
}

/// The task of a [`Verification`]. However it ends, the verification is deregistered, so that the
/// next request can start another.
struct VerificationTask {
    inner: Arc<Inner>,
    tag: Tag,
    /// Whether it has left [`State::in_progress`].
    deregistered: bool,
}

impl VerificationTask {
    async fn work(mut self, hash: Arc<PasswordHash>, secret: ClientSecret) {
        let Ok(permit) = self.inner.permits.clone().acquire_owned().await else {
            return;
        };
        if self.end_if_abandoned() {
            return;
        }
        let inner = self.inner.clone();
        let verifying = tokio::task::spawn_blocking(move || {
            // The thread holds the permit, so a verification that outlives its callers still
            // occupies its slot.
            let _permit = permit;
            inner.running.fetch_add(1, Ordering::Relaxed);
            let result = hash.verify(&secret).then(|| looks_generated(&secret));
            inner.running.fetch_sub(1, Ordering::Relaxed);
            result
        });
        let Ok(result) = verifying.await else {
            return;
        };
        self.inner.verified.fetch_add(1, Ordering::Relaxed);
        for waiter in self.end(result) {
            // The caller may have disconnected.
            let _ = waiter.send(result.is_some());
        }
    }

    /// Ends the task without verifying if every caller has disconnected.
    fn end_if_abandoned(&mut self) -> bool {
        let mut state = self.inner.state();
        let verification = state.in_progress.get(&self.tag);
        self.deregistered =
            verification.is_none_or(|verification| verification.waiters.iter().all(oneshot::Sender::is_closed));
        if self.deregistered {
            state.in_progress.remove(&self.tag);
        }
        self.deregistered
    }

    /// Records the result and returns the waiters. `result` is `None` for a wrong secret, otherwise
    /// whether the secret looks generated.
    ///
    /// Both happen under one lock, so that a later request finds either the running verification or
    /// its result.
    fn end(&mut self, result: Option<bool>) -> Vec<oneshot::Sender<bool>> {
        let mut state = self.inner.state();
        if let Some(generated) = result {
            state.verified.put(self.tag, generated.then_some(UnixMillis(i64::MIN)));
        }
        self.deregistered = true;
        let verification = state.in_progress.remove(&self.tag);
        verification
            .map(|verification| verification.waiters)
            .unwrap_or_default()
    }
}

impl Drop for VerificationTask {
    fn drop(&mut self) {
        if !self.deregistered {
            self.inner.state().in_progress.remove(&self.tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A verifier whose database is never used.
    fn password_verifier() -> PasswordVerifier {
        PasswordVerifier::new(Db::unreachable(), PasswordVerifier::permits())
    }

    /// How many of `count` different secrets presented for `secret_id` are accepted.
    fn accepted(verifier: &PasswordVerifier, secret_id: &str, count: u8) -> usize {
        let hash = PasswordHash::of(&ClientSecret::new(secret_id.into()));
        let join = |number: u8| {
            let tag = verifier.tag(&hash, &ClientSecret::new(number.to_string()));
            verifier.join(tag, secret_id, oneshot::channel().0)
        };
        (0..count).filter(|number| join(*number) == Ok(true)).count()
    }

    #[test]
    fn guesses_at_one_client_leave_capacity_for_the_others() {
        let verifier = password_verifier();
        assert_eq!(accepted(&verifier, "a", 100), MAX_WAITING_EACH);
        assert_eq!(accepted(&verifier, "b", 1), 1);
        assert_eq!(verifier.counts().busy, 100 - MAX_WAITING_EACH as u64);
    }

    #[test]
    fn the_total_of_verifications_is_bounded() {
        let verifier = password_verifier();
        let accepted: usize = ["a", "b", "c", "d", "e"]
            .iter()
            .map(|id| accepted(&verifier, id, 16))
            .sum();
        assert_eq!(accepted, MAX_RUNNING + MAX_WAITING);
    }

    #[test]
    fn the_same_secret_joins_the_running_verification() {
        let verifier = password_verifier();
        let join = || verifier.join([7; 32], "a", oneshot::channel().0);
        assert_eq!(join(), Ok(true));
        assert!((0..1000).all(|_| join() == Ok(false)));
        assert_eq!(verifier.counts().waiting, 1);
    }

    #[test]
    fn a_tag_depends_on_the_hash_the_secret_and_the_process() {
        let (verifier, other) = (password_verifier(), password_verifier());
        let secret = |text: &str| ClientSecret::new(text.into());
        let (first, second) = (PasswordHash::of(&secret("a")), PasswordHash::of(&secret("a")));
        let tag = verifier.tag(&first, &secret("a"));
        assert!(tag == verifier.tag(&first, &secret("a")));
        assert!(tag != verifier.tag(&first, &secret("b")) && tag != verifier.tag(&second, &secret("a")));
        assert!(tag != other.tag(&first, &secret("a")));
    }
}
