// Reads the text format of Prometheus, and computes figures from two scrapes as `mintage stats` does.

const LINE = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([A-Za-z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** Samples by name: `Map<string, { labels, value }[]>`. */
export function read(text) {
  const families = new Map();
  for (const line of text.split('\n')) {
    const found = LINE.exec(line);
    if (!found) continue;
    const [, name, labels = '', value] = found;
    const sample = { labels: {}, value: number(value) };
    for (const [, label, escaped] of labels.matchAll(LABEL)) {
      sample.labels[label] = escaped.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c));
    }
    if (!families.has(name)) families.set(name, []);
    families.get(name).push(sample);
  }
  return families;
}

function number(text) {
  return text === '+Inf' ? Infinity : Number(text);
}

function sum(scrape, name, filter = () => true) {
  const samples = (scrape.get(name) ?? []).filter(filter);
  return samples.length === 0 ? null : samples.reduce((sum, sample) => sum + sample.value, 0);
}

const BREAKER = ['closed', 'half open', 'open'];

/** The figures between two scrapes, `seconds` apart; `null` if unknown. */
export function between(before, now, seconds) {
  const gauge = (name, filter) => sum(now, name, filter);
  // A counter that is lower than before was reset by a restart of the server.
  const rise = (name, filter) => {
    const [old, fresh] = [sum(before, name, filter) ?? 0, sum(now, name, filter) ?? 0];
    return fresh < old ? fresh : fresh - old;
  };
  const rate = (name, filter) => rise(name, filter) / Math.max(seconds, 1e-3);
  const hits = rise('mintage_client_cache_hits_total');
  const lookups = hits + rise('mintage_client_cache_misses_total');
  const buckets = bucketsOf(now, rise);
  const breaker = gauge('mintage_breaker_state');
  return {
    version: now.get('mintage_build_info')?.[0]?.labels.version ?? null,
    ready: gauge('mintage_ready'),
    tokens: rate('mintage_tokens_issued_total'),
    errors: rate('mintage_token_errors_total'),
    // Without the requests of this page.
    requests: rate('mintage_http_requests_total', ({ labels }) => !/^\/(metrics|admin|console)/.test(labels.route)),
    failures: rate('mintage_http_requests_total', ({ labels }) => labels.status.startsWith('5')),
    p50: quantile(buckets, 0.5),
    p90: quantile(buckets, 0.9),
    p99: quantile(buckets, 0.99),
    hitRate: lookups > 0 ? hits / lookups : null,
    entries: gauge('mintage_client_cache_entries'),
    pending: gauge('mintage_writer_pending'),
    maxPending: gauge('mintage_writer_max_pending'),
    oldest: gauge('mintage_writer_oldest_unflushed_seconds'),
    written: rate('mintage_writer_flushed_total'),
    inUse: gauge('mintage_pool_connections', ({ labels }) => labels.state === 'in_use'),
    maxSize: gauge('mintage_pool_max_size'),
    waiting: gauge('mintage_pool_waiting'),
    breaker,
    breakerName: breaker === null ? null : BREAKER[breaker],
    revocations: gauge('mintage_revocations_known'),
    lag: gauge('mintage_change_feed_lag_seconds'),
  };
}

/** Upper bounds of the latency of `/token`, with the number of responses up to each. */
function bucketsOf(now, rise) {
  const name = 'mintage_http_request_duration_seconds_bucket';
  const ofToken = (now.get(name) ?? []).filter(({ labels }) => labels.route === '/token');
  const buckets = ofToken.map(({ labels: { le } }) => {
    const count = rise(name, ({ labels }) => labels.route === '/token' && labels.le === le);
    return { bound: number(le), count };
  });
  return buckets.sort((one, other) => one.bound - other.bound);
}

/** The quantile of a cumulative histogram, interpolated within its bucket as Prometheus does it. */
export function quantile(buckets, quantile) {
  const total = buckets.at(-1)?.count ?? 0;
  if (total <= 0) return null;
  const rank = quantile * total;
  const at = buckets.findIndex(({ count }) => count >= rank);
  const below = at === 0 ? { bound: 0, count: 0 } : buckets[at - 1];
  // Only that the value exceeds the last bound is known.
  if (buckets[at].bound === Infinity) return below.bound;
  const share = (rank - below.count) / Math.max(buckets[at].count - below.count, Number.MIN_VALUE);
  return below.bound + (buckets[at].bound - below.bound) * share;
}
