//! The check of [`super::cache`]: requests at random go into the client cache of the server itself, one after the other, at
//! times of our own, and hits are counted.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mintage::actors::client_cache::{ClientCache, Remembered};
use mintage::config;
use mintage::oauth::client::{AuthMethod, Client, ClientId};
use mintage::oauth::scope::Scope;
use mintage::time::UnixMillis;

use super::cache::Cache;
use super::popularity::Popularity;
use super::random::Random;

/// The hit rate of `requests` lookups, after half as many that fill the cache. Clients do not change.
pub fn hit_rate(cache: &Cache, seen: &Popularity, requests: usize, seed: u64) -> f64 {
    let mut random = Random(seed);
    let mut clients = Clients::of(seen);
    let mut map = empty(cache);
    let rate = seen.rate();
    let (mut now, mut hits) = (0.0, 0);
    for number in 0..requests + requests / 2 {
        now += random.wait(rate);
        let moment = UnixMillis((now * 1e3) as i64);
        let client = clients.draw(&mut random);
        match map.remembered(client.id.as_str(), moment) {
            Remembered::Known(_) if number >= requests / 2 => hits += 1,
            Remembered::Known(_) => {}
            // It is loaded, which takes no time here.
            _ => map.remember(client, moment),
        }
    }
    f64::from(hits) / requests as f64
}

fn empty(cache: &Cache) -> ClientCache {
    let settings = config::Cache {
        capacity: cache.capacity as usize,
        ttl: config::Duration(Duration::from_secs_f64(cache.ttl)),
        ..Default::default()
    };
    let nobody = Rc::new(|_| -> futures_util::future::LocalBoxFuture<'static, _> { Box::pin(async { Ok(None) }) });
    ClientCache::new(&settings, nobody, Rc::new(|| false))
}

/// Clients, drawn as often as they ask.
struct Clients {
    known: Vec<Arc<Client>>,
    /// The sums of the rates up to each client.
    sums: Vec<f64>,
}

impl Clients {
    fn of(seen: &Popularity) -> Self {
        let (mut known, mut sums, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for group in &seen.0 {
            for _ in 0..group.clients.round() as usize {
                sum += group.rate;
                sums.push(sum);
                known.push(Arc::new(client(known.len())));
            }
        }
        Self { known, sums }
    }

    fn draw(&mut self, random: &mut Random) -> Arc<Client> {
        let all = self.sums[self.sums.len() - 1];
        let at = random.share() * all;
        let place = self.sums.partition_point(|sum| *sum <= at);
        self.known[place.min(self.known.len() - 1)].clone()
    }
}

fn client(number: usize) -> Client {
    Client {
        id: ClientId::parse(&format!("client{number:07}")).expect("an id"),
        name: String::new(),
        enabled: true,
        scope: Scope::empty(),
        default_scope: Scope::empty(),
        audiences: vec![],
        serves: vec![],
        auth_methods: AuthMethod::ALL.to_vec(),
        ttl_seconds: None,
        alg: None,
        secrets: vec![],
        created_at: UnixMillis(0),
        updated_at: UnixMillis(0),
    }
}
