//! The rules of key rotation: which key signs, when a new key is published, and when an old one is
//! removed (docs/protocol.md#p50).
//!
//! The rules are pure functions of the key records and the time. A key is *next* while it is
//! published and does not sign yet, *active* while it signs, and *retired* until its last token has
//! expired. No message activates a key. Each instance activates it by its own clock, and by then
//! every instance has had time to receive the key.

use std::time::Duration;

use strum::IntoStaticStr;

use super::KeyRecord;
use crate::oauth::alg::Alg;
use crate::oauth::client::TTL_SECONDS;
use crate::time::UnixMillis;

/// Maximum time until every working instance has a new key in its JWKS. An instance that has not
/// received changes for longer stops answering whether a token is active.
pub const PROPAGATION_DELAY: Duration = Duration::from_secs(5);

/// How long a key verifies after its successor was activated. No token lives longer than 30 days,
/// whatever was configured while the key signed. One more day allows for clock skew and for an
/// instance that was cut off and kept signing.
pub const RETIRED_KEY_RETENTION: Duration = Duration::from_secs(*TTL_SECONDS.end() as u64 + 24 * 3600);

/// The state of a key at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum KeyState {
    /// Published and not signing yet.
    Next,
    /// Signing.
    Active,
    /// Only verifying.
    Retired,
    /// Not used, because its row is not believed ([`super::trust`]).
    Rejected,
}

impl KeyState {
    /// The name in responses.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The configured times of rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    rotate_every: Duration,
    lead: Duration,
}

impl Schedule {
    /// Uses the settings of `[keys]`. A key is published for at least `publish_before`, and for at
    /// least as long as a verifier that caches the JWKS of any instance for `jwks_max_age` needs to
    /// receive the key.
    pub fn new(rotate_every: Duration, publish_before: Duration, jwks_max_age: Duration) -> Self {
        Self {
            rotate_every,
            lead: publish_before.max(jwks_max_age.saturating_add(PROPAGATION_DELAY)),
        }
    }

    /// How long a key is published before it signs.
    pub fn lead(&self) -> Duration {
        self.lead
    }

    /// When the successor of the newest key of an algorithm is published, as [`due`] decides it.
    pub fn successor_due(&self, newest: &KeyRecord) -> UnixMillis {
        after(newest.activates_at, self.rotate_every.saturating_sub(self.lead))
    }

    /// How long a verifier may cache the JWKS of an instance that last received changes `silence`
    /// ago. After a long silence, the instance may not know a published key, so less time is left
    /// until that key signs.
    pub fn jwks_max_age(&self, configured: Duration, silence: Duration) -> Duration {
        if silence <= PROPAGATION_DELAY {
            return configured;
        }
        configured.min(self.lead.saturating_sub(silence.saturating_add(PROPAGATION_DELAY)))
    }
}

/// When a new key is activated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// When every instance has the key. Tokens of the old keys stay valid.
    Scheduled,
    /// Immediately. The old keys are removed, which invalidates all their tokens. For a leaked key.
    Immediate,
}

/// A new key to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The algorithm.
    pub alg: Alg,
    /// The key signs from this moment on.
    pub activates_at: UnixMillis,
    /// The other keys of this algorithm are removed at this moment.
    pub others_until: UnixMillis,
}

impl Publication {
    fn new(alg: Alg, now: UnixMillis, activation: Activation, schedule: &Schedule) -> Self {
        match activation {
            Activation::Scheduled => {
                let activates_at = after(now, schedule.lead);
                Self {
                    alg,
                    activates_at,
                    others_until: after(activates_at, RETIRED_KEY_RETENTION),
                }
            }
            Activation::Immediate => Self {
                alg,
                activates_at: now,
                others_until: now,
            },
        }
    }
}

/// The changes that are due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// New keys to publish, at most one per algorithm.
    pub publish: Vec<Publication>,
    /// The kids of the keys that are removed, because no token that they signed can still be valid.
    pub remove: Vec<String>,
}

impl Due {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.publish.is_empty() && self.remove.is_empty()
    }
}

/// The changes that are due at `now`. A new key is published for each algorithm whose newest key
/// will have signed for `rotate_every` once the new one is activated. Expired keys are removed.
pub fn due(keys: &[KeyRecord], schedule: &Schedule, now: UnixMillis) -> Due {
    let wanted = |alg: &Alg| match newest(keys, *alg) {
        None => true,
        // A key that is already published is activated first, so there is never more than one.
        Some(newest) if newest.activates_at > now => false,
        Some(newest) => after(newest.activates_at, schedule.rotate_every) <= after(now, schedule.lead),
    };
    Due {
        publish: publications(
            Alg::ALL.into_iter().filter(wanted),
            Activation::Scheduled,
            schedule,
            now,
        ),
        remove: keys
            .iter()
            .filter(|key| key.is_expired(now))
            .map(|key| key.kid.clone())
            .collect(),
    }
}

/// The keys to publish on request. An algorithm with a published key that does not sign yet gets
/// none, unless the new key is to be activated immediately.
pub fn requested(
    keys: &[KeyRecord],
    algs: &[Alg],
    activation: Activation,
    schedule: &Schedule,
    now: UnixMillis,
) -> Vec<Publication> {
    let free = |alg: &Alg| activation == Activation::Immediate || waiting(keys, *alg, now).is_none();
    publications(algs.iter().copied().filter(free), activation, schedule, now)
}

fn publications(
    algs: impl Iterator<Item = Alg>,
    activation: Activation,
    schedule: &Schedule,
    now: UnixMillis,
) -> Vec<Publication> {
    algs.map(|alg| Publication::new(alg, now, activation, schedule))
        .collect()
}

/// The key of an algorithm that is published and does not sign yet.
pub fn waiting(keys: &[KeyRecord], alg: Alg, now: UnixMillis) -> Option<&KeyRecord> {
    newest(keys, alg).filter(|newest| state(newest, keys, now) == KeyState::Next)
}

/// The key that signs for an algorithm: the newest one that has been activated. If the clock was
/// set back to before every activation, the oldest key signs, because every verifier has it. So
/// there is always exactly one.
pub fn signer(keys: &[KeyRecord], alg: Alg, now: UnixMillis) -> Option<&KeyRecord> {
    let of_alg = || keys.iter().filter(|key| key.alg == alg && !key.is_expired(now));
    let may_sign = of_alg().filter(|key| key.activates_at <= now);
    may_sign
        .max_by(|a, b| a.order().cmp(&b.order()))
        .or_else(|| of_alg().min_by(|a, b| a.order().cmp(&b.order())))
}

/// When the next key is activated, if one is published.
pub fn next_activation(keys: &[KeyRecord], now: UnixMillis) -> Option<UnixMillis> {
    keys.iter().map(|key| key.activates_at).filter(|at| *at > now).min()
}

/// The state of a key among `all`.
pub fn state(key: &KeyRecord, all: &[KeyRecord], now: UnixMillis) -> KeyState {
    match signer(all, key.alg, now) {
        Some(signer) if signer.kid == key.kid => KeyState::Active,
        _ if key.activates_at > now => KeyState::Next,
        _ => KeyState::Retired,
    }
}

/// The key of an algorithm that is activated last.
pub fn newest(keys: &[KeyRecord], alg: Alg) -> Option<&KeyRecord> {
    let of_alg = keys.iter().filter(|key| key.alg == alg);
    of_alg.max_by(|a, b| a.order().cmp(&b.order()))
}

fn after(time: UnixMillis, duration: Duration) -> UnixMillis {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    UnixMillis(time.0.saturating_add(millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// The defaults: rotation every 90 days, one hour of publication, 15 minutes of JWKS caching.
    fn defaults() -> Schedule {
        Schedule::new(90 * DAY, HOUR, 900 * SECOND)
    }

    fn key(kid: &str, activates_at: i64) -> KeyRecord {
        KeyRecord {
            kid: kid.into(),
            alg: Alg::Es256,
            encrypted: false,
            created_at: UnixMillis(activates_at),
            activates_at: UnixMillis(activates_at),
            retires_at: None,
        }
    }

    fn of_every_alg(activates_at: i64) -> Vec<KeyRecord> {
        let of = |alg: Alg| KeyRecord {
            alg,
            ..key(alg.name(), activates_at)
        };
        Alg::ALL.into_iter().map(of).collect()
    }

    /// Applies a publication as the database does.
    fn publish(keys: &mut Vec<KeyRecord>, publication: Publication, now: UnixMillis) {
        for other in keys.iter_mut().filter(|key| key.alg == publication.alg) {
            let end = other.retires_at.unwrap_or(UnixMillis(i64::MAX));
            other.retires_at = Some(end.min(publication.others_until));
        }
        keys.push(KeyRecord {
            kid: format!("{} of {}", publication.alg, now.0),
            alg: publication.alg,
            encrypted: false,
            created_at: now,
            activates_at: publication.activates_at,
            retires_at: None,
        });
        keys.retain(|key| !key.is_expired(now));
    }

    #[test]
    fn a_new_key_is_published_early_enough_that_the_old_one_signs_no_longer_than_configured() {
        let keys = of_every_alg(0);
        let activation = after(UnixMillis(0), 90 * DAY);
        let just_in_time = after(UnixMillis(0), 90 * DAY - HOUR);
        assert!(due(&keys, &defaults(), UnixMillis(just_in_time.0 - 1)).is_empty());
        let due = due(&keys, &defaults(), just_in_time);
        assert_eq!(due.publish.len(), Alg::ALL.len());
        assert!(due.publish.iter().all(|new| new.activates_at == activation));
        assert!(due.remove.is_empty());
    }

    #[test]
    fn a_published_key_is_activated_before_another_is_published() {
        let mut keys = of_every_alg(0);
        let now = after(UnixMillis(0), 90 * DAY);
        for publication in due(&keys, &defaults(), now).publish {
            publish(&mut keys, publication, now);
        }
        assert!(due(&keys, &defaults(), now).is_empty());
        assert!(requested(&keys, &Alg::ALL, Activation::Scheduled, &defaults(), now).is_empty());
        assert!(waiting(&keys, Alg::Hs256, now).is_some());
        let in_use = after(now, HOUR);
        assert!(waiting(&keys, Alg::Hs256, in_use).is_none());
        assert_eq!(
            requested(&keys, &Alg::ALL, Activation::Scheduled, &defaults(), in_use).len(),
            5
        );
    }

    #[test]
    fn a_request_gets_keys_for_the_named_algorithms_only() {
        let keys = of_every_alg(0);
        let publications = requested(&keys, &[Alg::EdDsa], Activation::Scheduled, &defaults(), UnixMillis(7));
        assert_eq!(publications.iter().map(|new| new.alg).collect::<Vec<_>>(), [Alg::EdDsa]);
        assert_eq!(publications[0].activates_at, after(UnixMillis(7), HOUR));
    }

    #[test]
    fn an_algorithm_without_a_key_gets_one() {
        let keys: Vec<KeyRecord> = of_every_alg(0)
            .into_iter()
            .filter(|key| key.alg != Alg::Ps256)
            .collect();
        let due = due(&keys, &defaults(), UnixMillis(1));
        assert_eq!(due.publish.iter().map(|new| new.alg).collect::<Vec<_>>(), [Alg::Ps256]);
    }

    #[test]
    fn immediate_activation_removes_a_leaked_key_and_the_next_one_at_once() {
        let mut keys = vec![key("stolen", 0), key("waits", 500)];
        let now = UnixMillis(100);
        let publications = requested(&keys, &[Alg::Es256], Activation::Immediate, &defaults(), now);
        publish(&mut keys, publications[0], now);
        assert_eq!(keys.len(), 1);
        assert_eq!(signer(&keys, Alg::Es256, now), keys.first());
    }

    #[test]
    fn the_newest_activated_key_signs_and_the_oldest_if_none_is_activated() {
        let keys = [key("b", 20), key("a", 10), key("c", 30), key("d", 20)];
        let signs = |now| signer(&keys, Alg::Es256, UnixMillis(now)).unwrap().kid.as_str();
        assert_eq!(
            [signs(9), signs(10), signs(19), signs(20), signs(30)],
            ["a", "a", "a", "d", "c"]
        );
        assert_eq!(signer(&keys, Alg::EdDsa, UnixMillis(20)), None);
        assert_eq!(next_activation(&keys, UnixMillis(19)), Some(UnixMillis(20)));
        assert_eq!(next_activation(&keys, UnixMillis(30)), None);
    }

    #[test]
    fn a_key_is_next_then_active_then_retired() {
        let keys = [key("a", 10), key("b", 20)];
        let states = |now| [0, 1].map(|at: usize| state(&keys[at], &keys, UnixMillis(now)).name());
        assert_eq!(states(19), ["active", "next"]);
        assert_eq!(states(20), ["retired", "active"]);
    }

    #[test]
    fn p50_a_key_is_never_published_for_less_than_the_jwks_may_be_kept() {
        let lead = |publish_before, max_age| Schedule::new(DAY, publish_before, max_age).lead();
        assert_eq!(lead(HOUR, 900 * SECOND), HOUR);
        assert_eq!(lead(SECOND, 2 * SECOND), 7 * SECOND);
        assert_eq!(lead(HOUR, HOUR), HOUR + 5 * SECOND);
    }

    #[test]
    fn p50_an_instance_without_recent_changes_shortens_the_caching_of_its_jwks() {
        let max_age = |silence| defaults().jwks_max_age(900 * SECOND, silence);
        assert_eq!(max_age(5 * SECOND), 900 * SECOND);
        assert_eq!(max_age(2000 * SECOND), 900 * SECOND);
        assert_eq!(max_age(3000 * SECOND), 595 * SECOND);
        assert_eq!(max_age(HOUR), Duration::ZERO);
    }

    /// An event in the lifetime of a set of keys.
    #[derive(Clone, Debug)]
    enum Event {
        /// The rotator runs.
        Tick,
        /// An operator requests new keys.
        Requested(Alg),
    }

    fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
        let event = prop_oneof![
            4 => Just(Event::Tick),
            1 => (0..Alg::ALL.len()).prop_map(|at| Event::Requested(Alg::ALL[at])),
        ];
        // Up to eight days between two events.
        prop::collection::vec((0..8 * 24 * 3_600_000u64, event), 1..30)
    }

    fn schedules() -> impl Strategy<Value = Schedule> {
        let seconds = |range: std::ops::Range<u64>| range.prop_map(Duration::from_secs);
        (seconds(1..8_000_000), seconds(0..200_000), seconds(0..200_000))
            .prop_map(|(every, before, max_age)| Schedule::new(every, before, max_age))
    }

    proptest! {
        /// At every moment exactly one key per algorithm signs, that key was published long enough
        /// before, and every unexpired token verifies, whatever its lifetime.
        #[test]
        fn p50_no_rotation_breaks_a_verifier(schedule in schedules(), events in events()) {
            let mut now = UnixMillis(1_700_000_000_000);
            let mut keys = of_every_alg(now.0);
            let first = keys.clone();
            let mut tokens: Vec<(String, UnixMillis)> = Vec::new();
            for (wait, event) in events {
                now = UnixMillis(now.0 + wait as i64);
                let publications = match event {
                    Event::Tick => due(&keys, &schedule, now).publish,
                    Event::Requested(alg) => requested(&keys, &[alg], Activation::Scheduled, &schedule, now),
                };
                for publication in publications {
                    publish(&mut keys, publication, now);
                }
                let over = due(&keys, &schedule, now).remove;
                keys.retain(|key| !over.contains(&key.kid));
                for alg in Alg::ALL {
                    let of_alg: Vec<&KeyRecord> = keys.iter().filter(|key| key.alg == alg).collect();
                    let count = |wanted| of_alg.iter().filter(|key| state(key, &keys, now) == wanted).count();
                    prop_assert_eq!(count(KeyState::Active), 1);
                    prop_assert!(count(KeyState::Next) <= 1);
                    let signer = signer(&keys, alg, now).unwrap();
                    let is_first = first.iter().any(|key| key.kid == signer.kid);
                    prop_assert!(is_first || after(signer.created_at, schedule.lead()) <= now);
                    tokens.push((signer.kid.clone(), after(now, 30 * DAY)));
                }
                tokens.retain(|(_, exp)| now < *exp);
                for (kid, _) in &tokens {
                    prop_assert!(keys.iter().any(|key| key.kid == *kid && !key.is_expired(now)), "{kid} was removed");
                }
            }
        }

        /// Expired keys do not accumulate.
        #[test]
        fn a_key_goes_when_its_last_token_has_expired(at in 0..1_000_000_000i64) {
            let mut keys = of_every_alg(at);
            let published = after(UnixMillis(at), 90 * DAY);
            for publication in due(&keys, &defaults(), published).publish {
                publish(&mut keys, publication, published);
            }
            let end = after(published, HOUR + 31 * DAY);
            prop_assert!(due(&keys, &defaults(), UnixMillis(end.0 - 1)).remove.is_empty());
            prop_assert_eq!(due(&keys, &defaults(), end).remove.len(), Alg::ALL.len());
        }
    }
}
