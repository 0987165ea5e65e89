//! Random requests to the server's own client cache, with a simulated clock: the reference for the
//! approximation in [`crate::cache`].

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use mintage::actors::client_cache::{ClientCache, Remembered};
use mintage::config;
use mintage::oauth::client::{AuthMethod, Client, ClientId};
use mintage::oauth::scope::Scope;
use mintage::time::UnixMillis;

use crate::popularity::{Group, Popularity};
use crate::random::Random;

/// The hit rate of `requests` lookups, after half as many that fill the cache. Clients do not
/// change.
pub fn hit_rate(capacity: f64, ttl: f64, seen: &Popularity, requests: usize, seed: u64) -> f64 {
    let settings = config::Cache {
        capacity: capacity as usize,
        ttl: config::Duration(Duration::from_secs_f64(ttl)),
        ..Default::default()
    };
    let loader = Rc::new(|_| -> LocalBoxFuture<'static, _> { Box::pin(async { Ok(None) }) });
    let mut map = ClientCache::new(&settings, loader, Rc::new(|| false));
    // The sum of the rates up to each client.
    let rates = |group: &Group| std::iter::repeat_n(group.rate, group.clients.round() as usize);
    let add = |sum: &mut f64, rate: f64| {
        *sum += rate;
        Some(*sum)
    };
    let sums: Vec<f64> = seen.0.iter().flat_map(rates).scan(0.0, add).collect();
    let clients: Vec<_> = (0..sums.len()).map(|number| Arc::new(client(number))).collect();
    let mut random = Random(seed);
    let (mut now, mut hits) = (0.0, 0);
    for number in 0..requests + requests / 2 {
        now += random.wait(seen.rate());
        let (moment, drawn) = (UnixMillis((now * 1e3) as i64), random.share() * sums[sums.len() - 1]);
        let client = clients[sums.partition_point(|sum| *sum <= drawn)].clone();
        match map.remembered(client.id.as_str(), moment) {
            Remembered::Known(_) => hits += u32::from(number >= requests / 2),
            // Loading takes no time in this simulation.
            _ => map.remember(client, moment),
        }
    }
    f64::from(hits) / requests as f64
}

fn client(number: usize) -> Client {
    Client {
        id: ClientId::parse(&format!("client{number:07}")).expect("an id"),
        name: String::new(),
        enabled: true,
        scope: Scope::empty(),
        default_scope: Scope::empty(),
        audiences: vec![],
        introspection_audiences: vec![],
        auth_methods: AuthMethod::ALL.to_vec(),
        ttl_seconds: None,
        alg: None,
        token: Default::default(),
        labels: Default::default(),
        secrets: vec![],
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
    }
}
