//! The limit on failed authentications (docs/protocol.md#p17): per pair of address and client id,
//! and per address.
//!
//! A client id alone is never limited. Otherwise anyone could lock a client out by failing in its
//! name from anywhere. Each limit is a bucket: `limits.auth_failures_per_minute` failures at once,
//! then one more for each that has drained. Beyond the limit, credentials are not verified, so
//! further attempts reveal nothing.
//!
//! Only failures write here. While no caller is limited, a successful request reads one number.
//!
//! With Redis, a failure is also shared with the other instances. Their counts are added here when
//! Redis answers, shortly after the failure was answered. No request waits for Redis, and its
//! answers never reduce a local count.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use ahash::RandomState;
use aws_lc_rs::hmac;
use lru::LruCache;

use super::bucket::{Bucket, MINUTE_MICROS, Rate};
use super::failure::{Failure, SharedBucket};
use super::network::Network;
use crate::mutex::lock;
use crate::oauth::client::ClientId;
use crate::oauth::error::RetryAfter;
use crate::time::UnixMillis;

/// How many times as many failures an address may have as one client at that address. A client with
/// a wrong secret uses up a tenth of what it shares with its neighbours behind one address, so they
/// are not locked out.
const ADDRESS_FACTOR: i64 = 10;

/// Maximum number of remembered addresses. Beyond it, the address with the oldest failure is
/// forgotten, so the limit errs towards allowing an attempt. A botnet of 65,536 addresses is too
/// large for limits by address anyway. A full map takes 6 MB.
const MAX_ADDRESSES: NonZeroUsize = NonZeroUsize::new(65_536).expect("it is not zero");

/// Maximum number of remembered pairs: as many as 200 addresses can fill at once with a new id for
/// each failure. Those addresses are then limited as a whole. A full map takes another 6 MB.
const MAX_PAIRS: NonZeroUsize = NonZeroUsize::new(65_536).expect("it is not zero");

/// A network and a client id, hashed with a key that only this process has. The hash has a fixed
/// size and does not reveal the id, and no one can search for two ids that share a bucket.
type Pair = [u8; 16];

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Limited {
    /// A client id from one address.
    Client,
    /// An address, for every client id.
    Address,
}

/// The result of noting a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The failure was counted.
    Counted,
    /// The failure was counted and reached the limit.
    Reached(Limited),
    /// The limit was reached by other failures while this attempt was being verified.
    TooMany(RetryAfter),
}

/// The limits, shared by all workers.
pub struct AuthLimits {
    /// An upper bound, in milliseconds since the Unix epoch: no caller is limited from this moment
    /// on.
    limited_until: AtomicI64,
    key: hmac::Key,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    /// The limit; 0 for none.
    per_minute: u32,
    addresses: LruCache<Network, Bucket, RandomState>,
    pairs: LruCache<Pair, Bucket, RandomState>,
}

impl Buckets {
    fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            addresses: bounded(MAX_ADDRESSES),
            pairs: bounded(MAX_PAIRS),
        }
    }

    /// The rates of a pair and of an address, or `None` without a limit.
    fn rates(&self) -> Option<(Rate, Rate)> {
        let failures = i64::from(self.per_minute);
        (failures > 0).then(|| (Rate::per_minute(failures), Rate::per_minute(failures * ADDRESS_FACTOR)))
    }
}

/// An empty map that grows up to its capacity. Created with the capacity, it would allocate all of
/// its memory at once.
fn bounded<K: std::hash::Hash + Eq>(capacity: NonZeroUsize) -> LruCache<K, Bucket, RandomState> {
    let mut map = LruCache::unbounded_with_hasher(RandomState::new());
    map.resize(capacity);
    map
}

impl AuthLimits {
    /// Uses `limits.auth_failures_per_minute`; 0 for no limit.
    pub fn new(per_minute: u32) -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *key).expect("the operating system's randomness is available once it has booted");
        Self {
            limited_until: AtomicI64::new(i64::MIN),
            key: hmac::Key::new(hmac::HMAC_SHA256, &*key),
            buckets: Mutex::new(Buckets::new(per_minute)),
        }
    }

    /// Sets another limit and forgets the failures counted for the old one.
    pub fn set(&self, per_minute: u32) {
        let mut buckets = self.lock();
        *buckets = Buckets::new(per_minute);
        self.limited_until.store(i64::MIN, Ordering::Relaxed);
    }

    /// Whether any caller may be limited now. A request on the warm path checks only this.
    ///
    /// Relaxed ordering is enough: a worker that sees an old value admits an attempt, and its
    /// failure is then checked under the lock.
    pub fn any_limited(&self, now: UnixMillis) -> bool {
        now.0 < self.limited_until.load(Ordering::Relaxed)
    }

    /// How long this caller must wait before its credentials are verified. `None` if it need not
    /// wait.
    pub fn wait(&self, peer: IpAddr, client: Option<&ClientId>, now: UnixMillis) -> Option<RetryAfter> {
        let network = Network::of(peer);
        let micros = micros(now);
        let mut buckets = self.lock();
        // No wait is longer than a minute, unless the clock was set back. This corrects the bound
        // in that case.
        let bound = now.0.saturating_add(MINUTE_MICROS / 1000);
        self.limited_until.fetch_min(bound, Ordering::Relaxed);
        let (pair_rate, address_rate) = buckets.rates()?;
        // Without recent failures of the address there are none of a pair, so most callers pass
        // without a hash.
        let address_wait = buckets.addresses.get_mut(&network)?.wait(address_rate, micros);
        let pair_wait = client
            .and_then(|client| buckets.pairs.get_mut(&self.pair(network, client)))
            .map_or(0, |bucket| bucket.wait(pair_rate, micros));
        seconds(address_wait.max(pair_wait))
    }

    /// Counts a failure for the address and, if a client id was named, for the pair.
    pub fn note(&self, peer: IpAddr, client: Option<&ClientId>, now: UnixMillis) -> Noted {
        let network = Network::of(peer);
        let pair = client.map(|client| self.pair(network, client));
        let micros = micros(now);
        let mut buckets = self.lock();
        let Some((pair_rate, address_rate)) = buckets.rates() else {
            return Noted::Counted;
        };
        let Buckets { addresses, pairs, .. } = &mut *buckets;
        let address = addresses.get_or_insert_mut(network, || Bucket::empty(micros));
        if let Some(wait) = seconds(address.wait(address_rate, micros)) {
            return Noted::TooMany(wait);
        }
        let mut pair = pair.map(|pair| pairs.get_or_insert_mut(pair, || Bucket::empty(micros)));
        if let Some(wait) = pair.as_mut().and_then(|pair| seconds(pair.wait(pair_rate, micros))) {
            return Noted::TooMany(wait);
        }
        let (address_wait, address_is_new) = address.add(address_rate, micros);
        let (pair_wait, pair_is_new) = pair.map_or((0, false), |pair| pair.add(pair_rate, micros));
        self.limit_for(address_wait.max(pair_wait), micros);
        match (address_is_new, pair_is_new) {
            (true, _) => Noted::Reached(Limited::Address),
            (false, true) => Noted::Reached(Limited::Client),
            (false, false) => Noted::Counted,
        }
    }

    /// The failure as it is shared with peers: first the address, then the pair if a client id was
    /// named.
    pub fn shared(&self, peer: IpAddr, client: Option<&ClientId>) -> Vec<Failure> {
        let buckets = self.lock();
        let Some((pair_rate, address_rate)) = buckets.rates() else {
            return Vec::new();
        };
        let failures = i64::from(buckets.per_minute);
        let network = Network::of(peer).to_bytes();
        let failure = |of: Vec<u8>, per_minute: i64, rate: Rate| Failure {
            bucket: SharedBucket { of, per_minute },
            each: Duration::from_micros(rate.each.unsigned_abs()),
            whole: Duration::from_micros(rate.whole.unsigned_abs()),
        };
        let address = failure(network.to_vec(), failures * ADDRESS_FACTOR, address_rate);
        let pair = client.map(|client| {
            let of = [&network[..], client.as_str().as_bytes()].concat();
            failure(of, failures, pair_rate)
        });
        [address].into_iter().chain(pair).collect()
    }

    /// Raises the buckets of a failure to their levels across all instances, in the order of
    /// [`AuthLimits::shared`]. A bucket that is fuller here stays as it is. Returns what is limited
    /// by this, if it was not reported before.
    pub fn merge(
        &self,
        peer: IpAddr,
        client: Option<&ClientId>,
        left: &[Duration],
        now: UnixMillis,
    ) -> Option<Limited> {
        let network = Network::of(peer);
        let pair = client.map(|client| self.pair(network, client));
        let micros = micros(now);
        let mut buckets = self.lock();
        let (pair_rate, address_rate) = buckets.rates()?;
        let Buckets { addresses, pairs, .. } = &mut *buckets;
        let address = addresses.get_or_insert_mut(network, || Bucket::empty(micros));
        let (mut wait, address_is_new) = address.fill(address_rate, *left.first()?, micros);
        let mut pair_is_new = false;
        if let (Some(pair), Some(left)) = (pair, left.get(1)) {
            let bucket = pairs.get_or_insert_mut(pair, || Bucket::empty(micros));
            let (pair_wait, is_new) = bucket.fill(pair_rate, *left, micros);
            (wait, pair_is_new) = (wait.max(pair_wait), is_new);
        }
        self.limit_for(wait, micros);
        match (address_is_new, pair_is_new) {
            (true, _) => Some(Limited::Address),
            (false, true) => Some(Limited::Client),
            (false, false) => None,
        }
    }

    /// A caller is limited for this many microseconds.
    fn limit_for(&self, wait: i64, micros: i64) {
        if wait > 0 {
            let until = (micros + wait + 999) / 1000;
            self.limited_until.fetch_max(until, Ordering::Relaxed);
        }
    }

    fn pair(&self, network: Network, client: &ClientId) -> Pair {
        let mut context = hmac::Context::with_key(&self.key);
        // The network always has the same length, so different pairs are different bytes.
        context.update(&network.to_bytes());
        context.update(client.as_str().as_bytes());
        let mut pair = [0; 16];
        pair.copy_from_slice(&context.sign().as_ref()[..16]);
        pair
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Buckets> {
        lock(&self.buckets)
    }
}

fn micros(now: UnixMillis) -> i64 {
    // Far enough from both ends that adding a minute does not overflow.
    now.0.clamp(-(1 << 50), 1 << 50) * 1000
}

/// A wait in whole seconds, rounded up, so that the bucket can take a failure afterwards.
fn seconds(micros: i64) -> Option<RetryAfter> {
    let seconds = u32::try_from((micros + 999_999) / 1_000_000).unwrap_or(u32::MAX);
    (seconds > 0).then_some(RetryAfter(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: i64 = 1_700_000_000_000;
    const HERE: &str = "192.0.2.1";
    const THERE: &str = "192.0.2.2";

    /// Failures of a client at an address, at a time in milliseconds after the start.
    struct Fixture(AuthLimits);

    impl Fixture {
        fn new(per_minute: u32) -> Self {
            Self(AuthLimits::new(per_minute))
        }

        fn fail(&self, peer: &str, client: &str, at: i64) -> Noted {
            self.0.note(
                peer.parse().unwrap(),
                ClientId::parse(client).as_ref(),
                UnixMillis(START + at),
            )
        }

        fn fail_often(&self, times: usize, at: i64) {
            for _ in 0..times {
                self.fail(HERE, "a", at);
            }
        }

        /// As a request does: first whether any caller is limited, then this caller.
        fn wait(&self, peer: &str, client: &str, at: i64) -> Option<u32> {
            let now = UnixMillis(START + at);
            if !self.0.any_limited(now) {
                return None;
            }
            let wait = self
                .0
                .wait(peer.parse().unwrap(), ClientId::parse(client).as_ref(), now);
            wait.map(|wait| wait.0)
        }

        fn remembered(&self) -> (usize, usize) {
            let buckets = self.0.lock();
            (buckets.addresses.len(), buckets.pairs.len())
        }
    }

    #[test]
    fn p17_the_limit_applies_to_the_client_at_the_address_only() {
        let fixture = Fixture::new(30);
        for _ in 0..29 {
            assert_eq!(fixture.fail(HERE, "a", 0), Noted::Counted);
        }
        assert_eq!(fixture.wait(HERE, "a", 0), None);
        assert_eq!(fixture.fail(HERE, "a", 0), Noted::Reached(Limited::Client));
        assert_eq!(fixture.wait(HERE, "a", 0), Some(2));
        assert_eq!(fixture.fail(HERE, "a", 0), Noted::TooMany(RetryAfter(2)));
        assert_eq!((fixture.wait(THERE, "a", 0), fixture.wait(HERE, "b", 0)), (None, None));
        assert_eq!(fixture.fail(THERE, "a", 0), Noted::Counted);
    }

    #[test]
    fn p17_a_failure_drains_away_after_its_share_of_a_minute() {
        let fixture = Fixture::new(30);
        fixture.fail_often(40, 0);
        assert_eq!(fixture.wait(HERE, "a", 1_000), Some(1));
        assert_eq!(fixture.wait(HERE, "a", 1_999), Some(1));
        assert_eq!(fixture.wait(HERE, "a", 2_000), None);
        assert_ne!(fixture.fail(HERE, "a", 2_000), Noted::TooMany(RetryAfter(2)));
        assert_eq!(fixture.wait(HERE, "a", 2_000), Some(2));
        (0..29).for_each(|_| assert_eq!(fixture.fail(HERE, "a", 62_000), Noted::Counted));
        assert_eq!(fixture.fail(HERE, "a", 62_000), Noted::Reached(Limited::Client));
    }

    #[test]
    fn p17_an_address_may_fail_ten_times_as_often_whatever_it_tries() {
        let fixture = Fixture::new(3);
        for number in 0..29 {
            assert_eq!(fixture.fail(HERE, &format!("id-{number}"), 0), Noted::Counted);
        }
        // Credentials without a readable id are counted for the address.
        assert_eq!(fixture.fail(HERE, "", 0), Noted::Reached(Limited::Address));
        assert_eq!(fixture.wait(HERE, "never-tried", 0), Some(2));
        assert_eq!(fixture.wait(HERE, "", 0), Some(2));
        assert_eq!(fixture.wait(THERE, "id-1", 0), None);
        assert_eq!(fixture.wait(HERE, "never-tried", 2_000), None);
    }

    #[test]
    fn p17_a_client_with_a_wrong_secret_does_not_lock_out_its_neighbours() {
        let fixture = Fixture::new(30);
        for at in (0..600_000).step_by(100) {
            fixture.fail(HERE, "misconfigured", at);
            assert_eq!(fixture.wait(HERE, "neighbour", at), None);
        }
    }

    #[test]
    fn p17_an_ipv6_host_is_its_network_of_64_bits() {
        let fixture = Fixture::new(1);
        fixture.fail("2001:db8:0:1::1", "a", 0);
        assert_eq!(fixture.wait("2001:db8:0:1:ffff::2", "a", 0), Some(60));
        assert_eq!(fixture.wait("2001:db8:0:2::1", "a", 0), None);
        fixture.fail("::ffff:192.0.2.1", "a", 0);
        assert_eq!(fixture.wait("192.0.2.1", "a", 0), Some(60));
    }

    #[test]
    fn p17_zero_disables_the_limit_and_a_reload_resets_it() {
        let fixture = Fixture::new(0);
        (0..1000).for_each(|_| assert_eq!(fixture.fail(HERE, "a", 0), Noted::Counted));
        assert_eq!((fixture.wait(HERE, "a", 0), fixture.remembered()), (None, (0, 0)));
        fixture.0.set(1);
        assert_eq!(fixture.fail(HERE, "a", 0), Noted::Reached(Limited::Client));
        assert_eq!(fixture.wait(HERE, "a", 0), Some(60));
        fixture.0.set(0);
        assert_eq!(fixture.wait(HERE, "a", 0), None);
        assert!(!fixture.0.any_limited(UnixMillis(START)));
    }

    #[test]
    fn p17_the_limit_is_reported_once_and_again_after_a_pause() {
        let fixture = Fixture::new(30);
        let news = |at: i64| matches!(fixture.fail(HERE, "a", at), Noted::Reached(_));
        assert_eq!((0..100).filter(|_| news(0)).count(), 1);
        assert_eq!((0..60_000).step_by(500).filter(|at| news(*at)).count(), 0);
        assert_eq!((0..100).filter(|_| news(120_000)).count(), 1);
    }

    #[test]
    fn p17_a_clock_set_back_does_not_extend_a_lockout() {
        let fixture = Fixture::new(30);
        fixture.fail_often(30, 0);
        let hour = 3_600_000;
        assert_eq!(fixture.wait(HERE, "a", -hour), Some(2));
        assert_eq!(fixture.wait(HERE, "a", 2_000 - hour), None);
        // The warm path is warm again within a minute.
        assert!(!fixture.0.any_limited(UnixMillis(START + 60_001 - hour)));
        // After a jump forward, everything has drained. After the jump back, the state is as
        // before.
        fixture.fail_often(30, hour);
        assert_eq!(fixture.wait(HERE, "a", hour), Some(2));
        assert_eq!(fixture.wait(HERE, "a", 0), Some(2));
        assert_eq!(fixture.wait(HERE, "a", 2_000), None);
    }

    /// Merges the counts of other instances, given as the failures that are left.
    fn merge(fixture: &Fixture, address: i64, pair: i64) -> Option<Limited> {
        let (peer, client) = (HERE.parse().unwrap(), ClientId::parse("a"));
        let shared = fixture.0.shared(peer, client.as_ref());
        let left = [shared[0].each * address as u32, shared[1].each * pair as u32];
        fixture.0.merge(peer, client.as_ref(), &left, UnixMillis(START))
    }

    #[test]
    fn p17_failures_on_other_instances_are_counted_here() {
        let fixture = Fixture::new(30);
        fixture.fail_often(10, 0);
        assert_eq!(merge(&fixture, 29, 29), None);
        assert_eq!(fixture.fail(HERE, "a", 0), Noted::Reached(Limited::Client));
        let fixture = Fixture::new(30);
        assert_eq!(merge(&fixture, 30, 30), Some(Limited::Client));
        assert_eq!(
            (fixture.wait(HERE, "a", 0), fixture.wait(HERE, "a", 2_000)),
            (Some(2), None)
        );
        assert_eq!((fixture.wait(HERE, "b", 0), fixture.wait(THERE, "a", 0)), (None, None));
        assert_eq!(merge(&fixture, 300, 30), Some(Limited::Address));
        assert_eq!(fixture.wait(HERE, "b", 0), Some(1));
        assert_eq!(merge(&fixture, 300, 30), None);
    }

    #[test]
    fn p17_answers_of_redis_never_reduce_a_local_count() {
        let fixture = Fixture::new(30);
        fixture.fail_often(30, 0);
        assert_eq!(merge(&fixture, 0, 0), None);
        assert_eq!(fixture.wait(HERE, "a", 0), Some(2));
    }

    #[test]
    fn p17_answers_of_redis_limit_no_longer_than_a_full_bucket() {
        let fixture = Fixture::new(30);
        let (peer, client) = (HERE.parse().unwrap(), ClientId::parse("a"));
        fixture.0.merge(
            peer,
            client.as_ref(),
            &[Duration::MAX, Duration::MAX],
            UnixMillis(START),
        );
        assert_eq!(fixture.wait(HERE, "a", 0), Some(2));
        assert_eq!(fixture.wait(HERE, "a", 2_000), None);
        // An impossible answer is ignored.
        assert_eq!(fixture.0.merge(peer, client.as_ref(), &[], UnixMillis(START)), None);
    }

    #[test]
    fn p17_another_limit_uses_another_bucket() {
        let shared = |per_minute, client: &str| {
            let shared = Fixture::new(per_minute)
                .0
                .shared(HERE.parse().unwrap(), ClientId::parse(client).as_ref());
            shared.into_iter().map(|failure| failure.bucket).collect::<Vec<_>>()
        };
        assert_eq!(shared(30, "a"), shared(30, "a"));
        assert_eq!(shared(30, "a")[0], shared(30, "b")[0]);
        assert_ne!(shared(30, "a")[1], shared(30, "b")[1]);
        assert_ne!(shared(30, "a")[0], shared(31, "a")[0]);
        assert_eq!((shared(30, "").len(), shared(0, "a").len()), (1, 0));
    }

    #[test]
    fn p17_memory_is_bounded_for_any_attempts() {
        let fixture = Fixture::new(1);
        for number in 0..1_000_000u32 {
            let peer = IpAddr::from(std::net::Ipv4Addr::from_bits(number));
            let client = ClientId::parse(&number.to_string());
            // With a clock that jumps.
            let now = UnixMillis(START + i64::from(number % 7) * 1_000_000);
            fixture.0.note(peer, client.as_ref(), now);
        }
        assert_eq!(fixture.remembered(), (MAX_ADDRESSES.get(), MAX_PAIRS.get()));
        // Memory of a full map: each entry with its two links, and a table that is at least seven
        // sixteenths full.
        let entry = |key: usize| key + size_of::<Bucket>() + 2 * size_of::<usize>();
        let bytes = |key: usize, most: usize| most * entry(key) + most * 2 * (2 * size_of::<usize>() + 1);
        assert!(bytes(size_of::<Network>(), MAX_ADDRESSES.get()) < 6 << 20);
        assert!(bytes(size_of::<Pair>(), MAX_PAIRS.get()) < 6 << 20);
    }

    #[test]
    fn p17_one_address_fills_a_small_part_of_the_memory() {
        let fixture = Fixture::new(30);
        for number in 0..100_000 {
            fixture.fail(HERE, &format!("id-{number}"), 0);
        }
        assert_eq!(fixture.remembered(), (1, 300));
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let fixture = Fixture::new(1);
        for now in [i64::MIN, -1, 0, i64::MAX, i64::MIN, i64::MAX] {
            let peer = HERE.parse().unwrap();
            fixture.0.note(peer, None, UnixMillis(now));
            fixture.0.wait(peer, None, UnixMillis(now));
        }
    }

    proptest! {
        /// However failures are spread over time: no more attempts are verified than the limit
        /// allows, the reported wait is long enough, and it is never longer than a minute.
        #[test]
        fn p17_no_more_attempts_are_verified_than_allowed(per_minute in 1u32..100, gaps in prop::collection::vec(0i64..5_000, 1..300)) {
            let fixture = Fixture::new(per_minute);
            let (mut at, mut verified) = (0, 0u32);
            for gap in gaps {
                at += gap;
                match fixture.wait(HERE, "a", at) {
                    Some(wait) => {
                        prop_assert!((1..=60).contains(&wait));
                        prop_assert_eq!(fixture.wait(HERE, "a", at + i64::from(wait) * 1000), None);
                        prop_assert!(matches!(fixture.fail(HERE, "a", at), Noted::TooMany(_)));
                    }
                    None => {
                        prop_assert!(!matches!(fixture.fail(HERE, "a", at), Noted::TooMany(_)));
                        verified += 1;
                    }
                }
            }
            let drained = at * i64::from(per_minute) / 60_000;
            prop_assert!(i64::from(verified) <= i64::from(per_minute) + drained + 1);
        }

        /// Whatever the clock does, no caller is limited after a minute without failures.
        #[test]
        fn p17_no_caller_is_limited_after_a_minute_without_failures(times in prop::collection::vec(-10_000_000i64..10_000_000, 1..200), last in -10_000_000i64..10_000_000) {
            let fixture = Fixture::new(2);
            for at in times {
                fixture.fail(HERE, "a", at);
            }
            fixture.wait(HERE, "a", last);
            prop_assert_eq!(fixture.wait(HERE, "a", last + 60_000), None);
        }
    }
}
