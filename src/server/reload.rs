//! SIGHUP: reloads the configuration and applies the reloadable keys, one row per key.

use std::sync::Arc;

use crate::actors::client_cache::Lifetimes;
use crate::config::{Config, Sources};
use crate::http::Shared;
use crate::oauth::grant::TokenPolicy;

/// A key, or a section with a final dot, and its setter.
type Row = (&'static str, fn(&mut Config, &Config));

/// Every key that can change while the server runs. All others need a restart.
const RELOADABLE: [Row; 7] = [
    ("token.", |current, fresh| current.token = fresh.token.clone()),
    ("cache.ttl", |current, fresh| current.cache.ttl = fresh.cache.ttl),
    ("cache.negative_ttl", |current, fresh| {
        current.cache.negative_ttl = fresh.cache.negative_ttl;
    }),
    ("cache.stale_if_error", |current, fresh| {
        current.cache.stale_if_error = fresh.cache.stale_if_error;
    }),
    ("writer.flush_interval", |current, fresh| {
        current.writer.flush_interval = fresh.writer.flush_interval;
    }),
    ("writer.max_batch", |current, fresh| {
        current.writer.max_batch = fresh.writer.max_batch;
    }),
    ("limits.auth_failures_per_minute", |current, fresh| {
        current.limits.auth_failures_per_minute = fresh.limits.auth_failures_per_minute;
    }),
];

/// Applies the reloadable keys that have changed, and logs those that need a restart.
pub(super) async fn reload(config: &mut Config, sources: &Sources, shared: &Shared) {
    let fresh = match sources.load() {
        Ok(fresh) => fresh,
        Err(error) => return log::error!(error:%; "configuration not reloaded"),
    };
    let failures_per_minute = config.limits.auth_failures_per_minute;
    for key in config.differences(&fresh) {
        match RELOADABLE.iter().find(|(reloadable, _)| key.starts_with(reloadable)) {
            Some((_, set)) => {
                set(config, &fresh);
                log::info!(key:%; "configuration key reloaded");
            }
            None => log::warn!(key:%; "configuration key needs restart"),
        }
    }
    if config.limits.auth_failures_per_minute != failures_per_minute {
        shared.auth_limits.set(config.limits.auth_failures_per_minute);
    }
    shared.policy.store(Arc::new(token_policy(config)));
    shared.cache_ttl.store(Arc::new(config.cache.ttl.0));
    shared.caches.tune(Lifetimes::from(&config.cache)).await;
    shared.writer.tune(&config.writer).await;
    log::info!("configuration reloaded");
}

/// The token policy from `[token]`.
pub(super) fn token_policy(config: &Config) -> TokenPolicy {
    TokenPolicy {
        issuer: config.server.issuer.as_str().into(),
        audience: config.default_audience().into(),
        admin_audience: config.admin_audience().into(),
        ttl_seconds: config.token.ttl.as_seconds(),
        one_time_ttl_seconds: config.token.one_time_ttl.as_seconds(),
        alg: config.token.alg.parse().expect("the configuration has been validated"),
        scope_claim: config
            .token
            .scope_claim
            .parse()
            .expect("the configuration has been validated"),
        typ: config.token.typ.parse().expect("the configuration has been validated"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The words of `text` in backticks that look like a key.
    fn keys(text: &str) -> BTreeSet<&str> {
        let quoted = text.split('`').skip(1).step_by(2);
        let part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let is_key = |word: &&str| {
            word.split_once('.')
                .is_some_and(|(section, key)| part(section) && (key == "*" || part(key)))
        };
        quoted.filter(is_key).collect()
    }

    #[test]
    fn operations_md_lists_the_reloadable_keys() {
        let document = include_str!("../../docs/operations.md");
        let listed = document
            .split("\n\n")
            .map(keys)
            .find(|keys| keys.contains("cache.stale_if_error") && keys.contains("writer.flush_interval"))
            .expect("a paragraph of operations.md lists the keys");
        let default: toml::Table = toml::Table::try_from(Config::default()).unwrap();
        let keys_of = |key: &str| match key.strip_suffix('.') {
            Some(section) => default[section]
                .as_table()
                .unwrap()
                .keys()
                .map(|name| format!("{key}{name}"))
                .collect(),
            None => vec![key.to_owned()],
        };
        let applied: Vec<String> = RELOADABLE.iter().flat_map(|(key, _)| keys_of(key)).collect();
        assert_eq!(listed, applied.iter().map(String::as_str).collect());
    }

    #[test]
    fn a_setter_sets_only_its_key() {
        let default: toml::Table = toml::Table::try_from(Config::default()).unwrap();
        for (key, set) in RELOADABLE.iter().filter(|(key, _)| !key.ends_with('.')) {
            let (section, name) = key.split_once('.').unwrap();
            let mut changed = default.clone();
            let value = &mut changed[section][name];
            *value = match value {
                toml::Value::Integer(number) => (*number + 1).into(),
                _ => "7s".into(),
            };
            let fresh: Config = changed.try_into().unwrap();
            let mut current = Config::default();
            set(&mut current, &fresh);
            assert_eq!(Config::default().differences(&current), [*key]);
        }
    }
}
