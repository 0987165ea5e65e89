//! Switches of the benchmark: what a token request did before, so that the comparison in `docs/benchmarks.md` can always
//! be run. Without the feature `bench-switches` nothing calls this and nothing of it is in the program.

use std::hint::black_box;
use std::sync::LazyLock;

use crate::oauth::client::{Client, RESERVED_PREFIX};
use crate::oauth::scope::Scope;

/// The scopes of the client are parsed at each request instead of once, when it is loaded.
static PARSE_SCOPES: LazyLock<bool> = LazyLock::new(|| is_set("BENCH_PARSE_SCOPES"));

/// Each request writes debug lines, as many as a handler, a cache and a writer write that tell what they do.
static LOG_REQUESTS: LazyLock<bool> = LazyLock::new(|| is_set("BENCH_LOG_REQUESTS"));

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

/// Does what the switches say, for a client that has authenticated itself.
pub fn before_the_grant(client: &Client) {
    if *PARSE_SCOPES {
        let scope = Scope::parse(black_box(client.scope.as_str()));
        let default_scope = scope.map(|scope| scope.without_prefix(RESERVED_PREFIX));
        let _ = black_box(default_scope);
    }
    if *LOG_REQUESTS {
        log::debug!(client:% = client.id; "token request received");
        log::debug!(client:% = client.id, name:% = client.name, scope:% = client.scope; "client found");
        log::debug!(client:% = client.id, secrets = client.secrets.len(); "client authenticated");
        log::debug!(client:% = client.id; "token record queued");
    }
}
