//! The model of `docs/scaling.md`: what must hold of it whatever the figures are, and its approximations beside simulations.

#[path = "../benches/scaling/model/mod.rs"]
mod model;
#[path = "../benches/report/mod.rs"]
mod report;

use model::cache::{Cache, characteristic_time};
use model::cluster::{Cluster, Routing};
use model::connections::{chance_to_wait, least, most};
use model::feed::{Feed, heard, heard_by_all};
use model::inputs::{MEASURED, sources};
use model::popularity::Popularity;
use model::random::Random;
use model::records::{Flushes, Keeping};
use model::secret_uses::Uses;
use model::simulated;

fn cache(capacity: f64, ttl: f64) -> Cache {
    Cache {
        capacity,
        ttl,
        changes: 0.0,
    }
}

fn both(clients: u64, rate: f64) -> [Popularity; 2] {
    [Popularity::uniform(clients, rate), Popularity::zipf(clients, rate)]
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance
}

#[test]
fn the_approximation_of_the_cache_agrees_with_the_cache_itself() {
    for (number, seen) in (1..).zip(both(2000, 50.0)) {
        // One decides, or the other, or both.
        for (capacity, ttl) in [
            (200.0, 2.0),
            (200.0, 20.0),
            (1000.0, 30.0),
            (1000.0, 60.0),
            (1900.0, 600.0),
            (5000.0, 60.0),
        ] {
            let cache = cache(capacity, ttl);
            let computed = cache.answers(&seen).hit_rate;
            let itself = simulated::hit_rate(&cache, &seen, 120_000, number);
            assert!(
                close(computed, itself, 0.006),
                "{capacity} {ttl}: {computed} and {itself}"
            );
        }
    }
}

#[test]
fn a_cache_without_room_or_without_time_answers_nothing_and_one_with_both_everything() {
    for seen in both(10_000, 100.0) {
        assert_eq!(cache(0.0, 600.0).answers(&seen).hit_rate, 0.0);
        assert!(cache(20_000.0, 1e-6).answers(&seen).hit_rate < 1e-4);
        assert!(cache(20_000.0, 1e12).answers(&seen).hit_rate > 0.999_999);
    }
}

#[test]
fn more_time_and_more_room_never_answer_less_and_changes_never_more() {
    for seen in both(10_000, 100.0) {
        let mut last = 0.0;
        for ttl in (0..60).map(|step| 0.1 * 1.25f64.powi(step)) {
            let rate = cache(1000.0, ttl).answers(&seen).hit_rate;
            assert!(rate >= last - 1e-9 && rate < 1.0, "ttl {ttl}: {rate} after {last}");
            last = rate;
        }
        let mut last = 0.0;
        for capacity in (1..=60).map(|step| 200.0 * f64::from(step)) {
            let rate = cache(capacity, 120.0).answers(&seen).hit_rate;
            assert!(rate >= last - 1e-9, "capacity {capacity}: {rate} after {last}");
            last = rate;
        }
        let mut last = 1.0;
        for changes in [0.0, 1e-4, 1e-3, 1e-2, 1.0] {
            let cache = Cache {
                changes,
                ..cache(1000.0, 600.0)
            };
            let rate = cache.answers(&seen).hit_rate;
            assert!(rate < last, "{changes} changes: {rate} after {last}");
            last = rate;
        }
    }
}

#[test]
fn with_room_for_all_the_hit_rate_is_that_of_the_lifetime_alone() {
    let seen = Popularity::uniform(1000, 10.0);
    for ttl in [1.0, 100.0, 10_000.0] {
        let expected = 0.01 * ttl / (1.0 + 0.01 * ttl);
        assert!(close(cache(1000.0, ttl).answers(&seen).hit_rate, expected, 1e-12));
    }
}

#[test]
fn with_room_for_all_changes_end_an_entry_as_its_lifetime_does() {
    let seen = Popularity::uniform(1000, 10.0);
    let cache = Cache {
        changes: 0.002,
        ..cache(1000.0, 500.0)
    };
    let life = (1.0 - f64::exp(-1.0)) / 0.002;
    assert!(close(
        cache.answers(&seen).hit_rate,
        0.01 * life / (1.0 + 0.01 * life),
        1e-9
    ));
}

#[test]
fn without_a_lifetime_an_entry_answers_until_nobody_has_asked_for_it_for_long() {
    // An entry is followed by hits until a gap is too long: the share of hits is the chance that one is not.
    for capacity in [100.0, 500.0, 900.0] {
        let seen = Popularity::uniform(1000, 10.0);
        let asked_in_time = 1.0 - (-0.01 * characteristic_time(&seen, capacity)).exp();
        let computed = cache(capacity, 1e9).answers(&seen).hit_rate;
        assert!(close(computed, asked_in_time, 1e-4), "{computed} and {asked_in_time}");
    }
}

#[test]
fn nothing_is_lost_between_requests_hits_and_loads() {
    for seen in both(1_000_000, 16_667.0) {
        assert!(close(seen.clients(), 1e6, 1e-3) && close(seen.rate(), 16_667.0, 1e-6));
        for parts in [seen.spread_over(200.0), seen.divided_among(200.0)] {
            assert!(close(parts.rate() * 200.0, seen.rate(), 1e-6));
        }
        let answers = cache(5000.0, 600.0).answers(&seen);
        assert!(close(answers.loads, seen.rate() * (1.0 - answers.hit_rate), 1e-6));
        let time = characteristic_time(&seen, 5000.0);
        let kept: f64 = seen
            .0
            .iter()
            .map(|group| group.clients * (1.0 - (-group.rate * time).exp()))
            .sum();
        assert!(close(kept, 5000.0, 0.01), "{kept} clients are kept");
    }
}

#[test]
fn zipf_in_groups_asks_as_zipf_does() {
    let groups = Popularity::zipf(1_000_000, 1.0);
    let harmonic: f64 = (1..=1_000_000).map(|rank| 1.0 / f64::from(rank)).sum();
    let (first, hundred) = (groups.0[0].rate, Popularity(groups.0[..10].to_vec()).rate());
    let expected: f64 = (1..=10).map(|rank| 1.0 / f64::from(rank) / harmonic).sum();
    assert!(close(first, 1.0 / harmonic, 1e-9) && close(hundred, expected, 1e-9));
    assert!(groups.0.len() < 1000, "{} groups", groups.0.len());
}

#[test]
fn the_cache_followed_request_by_request_has_the_computed_hit_rate() {
    // The same as above by another way: one client over the workers of a cluster.
    for (rate, ttl, unit) in [(0.02, 600.0, f64::INFINITY), (0.05, 600.0, 300.0), (0.02, 100.0, 1e4)] {
        let uses = Uses {
            instances: 3,
            workers: 2,
            ttl,
            characteristic_time: unit,
        };
        let seen = Popularity::uniform(1, rate / 6.0);
        // As many others as make that time.
        let others = Popularity::uniform(1000, 1000.0 * rate / 6.0);
        let cache = match unit.is_finite() {
            true => {
                cache(1000.0 * (1.0 - (-rate / 6.0 * unit).exp()), ttl)
                    .answers(&others)
                    .hit_rate
            }
            false => cache(1.0, ttl).answers(&seen).hit_rate,
        };
        let counted = uses.counted(rate, 100_000, 3).hits;
        assert!(
            close(cache, counted, 0.01),
            "{rate} {ttl} {unit}: {cache} and {counted}"
        );
    }
}

#[test]
fn a_use_is_written_once_a_minute_at_most_for_each_worker_and_never_more_often_than_it_happens() {
    let uses = |instances, workers| Uses {
        instances,
        workers,
        ttl: 1e9,
        characteristic_time: f64::INFINITY,
    };
    let often = uses(1, 1).counted(10.0, 100_000, 1).written * 10.0 * 60.0;
    assert!(close(often, 1.0, 0.02), "{often} a minute");
    let seldom = uses(1, 1).counted(1e-4, 1000, 1).written;
    assert!(close(seldom, 1.0, 0.01), "{seldom} of the uses");
    let many = uses(5, 2).counted(100.0, 300_000, 1).written * 100.0 * 60.0;
    assert!(
        (5.0..=10.0).contains(&many),
        "{many} a minute of 5 instances with 2 workers"
    );
}

#[test]
fn a_change_is_heard_of_as_late_as_the_timer_lets_it_be() {
    let mut random = Random(5);
    let mut waits: Vec<f64> = (0..60_000)
        .map(|_| {
            // A change falls into an interval in proportion to its length: it is drawn until one is long enough.
            loop {
                let interval = 0.25 * (0.9 + 0.2 * random.share());
                let at = 0.275 * random.share();
                if at < interval {
                    return interval - at;
                }
            }
        })
        .collect();
    waits.sort_by(f64::total_cmp);
    for share in [0.1, 0.5, 0.9, 0.99] {
        let wait = waits[(share * waits.len() as f64) as usize];
        assert!(close(heard(wait, &MEASURED), share, 0.01), "{share} at {wait}");
        assert!(
            close(heard_by_all(share, 1.0, &MEASURED), wait, 0.004),
            "{share} at {wait}"
        );
    }
    assert_eq!((heard(0.0, &MEASURED), heard(0.275, &MEASURED)), (0.0, 1.0));
    assert!(heard_by_all(0.5, 100.0, &MEASURED) > heard_by_all(0.5, 10.0, &MEASURED));
    assert!(heard_by_all(0.999, 1e6, &MEASURED) <= 0.275 + 1e-9);
}

#[test]
fn polling_costs_each_instance_the_same_and_poll_now_costs_only_where_something_changes() {
    let cost = |instances, client_changes, poll_now| {
        let feed = Feed {
            instances,
            client_changes,
            spent: 0.0,
            poll_now,
        };
        feed.cost(&MEASURED)
    };
    assert!(close(
        cost(100.0, 5.0, false).cores,
        100.0 * cost(1.0, 5.0, false).cores,
        1e-9
    ));
    assert_eq!(cost(10.0, 0.0, true).polls, cost(10.0, 0.0, false).polls);
    let (timer, now) = (cost(10.0, 50.0, false), cost(10.0, 50.0, true));
    assert!(now.polls > timer.polls && now.cores > timer.cores && now.lines == timer.lines);
    assert!(timer.standings <= timer.polls && now.standings <= now.polls);
    assert!(cost(1.0, 1e9, true).polls < 5.0 + 1.0 / MEASURED.poll_seconds);
}

#[test]
fn calls_wait_for_connections_as_queues_do() {
    // One server: the chance is how busy it is. None busy: nobody waits. As many busy as there are: everybody does.
    assert!(close(chance_to_wait(0.3, 1), 0.3, 1e-12));
    assert_eq!((chance_to_wait(0.0, 5), chance_to_wait(5.0, 5)), (0.0, 1.0));
    let simulated = waited_in_a_queue(3.0, 5);
    assert!(close(chance_to_wait(3.0, 5), simulated, 0.01), "{simulated}");
    for busy in [0.01, 0.3, 3.0, 30.0] {
        let pool = least(busy, 0.01);
        assert!(chance_to_wait(busy, pool) <= 0.01 && (pool == 1 || chance_to_wait(busy, pool - 1) > 0.01));
    }
    assert_eq!((most(100, 6, 3), most(100, 6, 100)), (31, 0));
}

/// The share of calls that find all connections in use: calls come at random and last as long as they like.
fn waited_in_a_queue(busy: f64, connections: usize) -> f64 {
    let mut random = Random(9);
    let (mut now, mut waited) = (0.0, 0);
    let mut free_at: Vec<f64> = vec![0.0; connections];
    const CALLS: usize = 200_000;
    for _ in 0..CALLS {
        now += random.wait(busy);
        let first = free_at
            .iter_mut()
            .min_by(|a, b| f64::total_cmp(a, b))
            .expect("there are some");
        waited += usize::from(*first > now);
        *first = f64::max(*first, now) + random.wait(1.0);
    }
    waited as f64 / CALLS as f64
}

#[test]
fn every_token_is_a_row_and_a_flush_is_never_larger_than_a_batch() {
    for tokens in [0.1, 278.0, 16_667.0, 1e6] {
        for instances in [1.0, 100.0] {
            let flushes = Flushes::of(tokens, instances, &MEASURED);
            assert!(close(flushes.flushes * flushes.rows / tokens, 1.0, 1e-9));
            assert!((1.0..=1000.0).contains(&flushes.rows), "{} rows", flushes.rows);
        }
    }
}

#[test]
fn a_record_is_kept_for_its_lifetime_and_as_long_after_it_as_asked_for() {
    let keeping = |ttl, keep_expired| Keeping { ttl, keep_expired };
    let day = keeping(3600.0, 86_400.0);
    assert_eq!((day.on_sqlite(), day.on_postgres()), (90_000.0, 90_000.0 + 10_800.0));
    assert_eq!(day.on_postgres_at_most(), 90_000.0 + 21_600.0);
    // Less than a partition is wide: row by row.
    assert_eq!(keeping(3600.0, 3600.0).on_postgres(), 7200.0);
}

fn cluster(instances: u32) -> Cluster {
    Cluster {
        instances,
        workers: 2,
        popularity: Popularity::uniform(20_000, 500.0),
        routing: Routing::Spread,
        cache: cache(1000.0, 600.0),
        shared_cache: None,
        client_changes: 1.0,
        spent: 10.0,
        poll_now: false,
    }
}

#[test]
fn a_cluster_of_one_is_routed_in_one_way_only_and_a_shared_cache_or_routing_never_adds_loads() {
    let changed = |instances, change: fn(&mut Cluster)| {
        let mut cluster = cluster(instances);
        change(&mut cluster);
        cluster.load(&MEASURED)
    };
    let by_client = |cluster: &mut Cluster| cluster.routing = Routing::ByClient;
    assert!(close(changed(1, by_client).loads, changed(1, |_| {}).loads, 1e-9));
    for instances in [1, 10, 100] {
        let spread = changed(instances, |_| {});
        let routed = changed(instances, by_client);
        let shared = changed(instances, |cluster| cluster.shared_cache = Some(600.0));
        assert!(spread.loads <= 500.0 && routed.loads <= spread.loads + 1e-9 && shared.loads < spread.loads);
        // Of each client, one in each lifetime.
        assert!(shared.loads <= 20_000.0 / 600.0);
        assert!(spread.uses <= 500.0 && spread.cores() > spread.loading);
    }
}

#[test]
fn the_document_shows_the_figures_that_the_model_takes_for_granted() {
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/scaling.md")).expect("it is there");
    for source in sources(&MEASURED) {
        let figure = report::table::figure(source.value);
        let row = format!(
            "| {} | {figure} {} | {} | {} |",
            source.what, source.unit, source.seen, source.from
        );
        assert!(document.contains(&row), "run `cargo bench --bench scaling`: no {row}");
    }
}
