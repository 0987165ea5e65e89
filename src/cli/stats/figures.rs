//! The figures between two scrapes: rates, ratios and latencies.

use serde::Serialize;

use crate::metrics::Sample;
use crate::time::UnixMillis;

/// Whether the samples are metrics of Mintage.
pub fn is_mintage(samples: &[Sample]) -> bool {
    samples.iter().any(|sample| sample.name == "mintage_build_info")
}

/// The figures to show. `None` means unknown: there was nothing to measure, or the server does not
/// export the metric.
#[derive(Debug, PartialEq, Serialize)]
pub struct Figures {
    version: Option<String>,
    ready: Option<bool>,
    interval_seconds: f64,
    tokens_per_second: f64,
    /// Token requests that were answered with an error.
    refused_per_second: f64,
    requests_per_second: f64,
    /// Responses with status 5xx.
    failures_per_second: f64,
    route: String,
    /// Latencies of the responses at `route`.
    latency_seconds: Latency,
    hit_rate: Option<f64>,
    cache_entries: Option<f64>,
    writer: Writer,
    pool: Pool,
    breaker: Option<&'static str>,
    revocations: Option<f64>,
    change_feed_lag_seconds: Option<f64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Latency {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Writer {
    pending: Option<f64>,
    oldest_unflushed_seconds: Option<f64>,
    written_per_second: f64,
}

#[derive(Debug, PartialEq, Serialize)]
struct Pool {
    in_use: Option<f64>,
    idle: Option<f64>,
    max_size: Option<f64>,
    waiting: Option<f64>,
}

/// Two scrapes, and the calculations on them.
struct Pair<'s> {
    before: &'s [Sample],
    now: &'s [Sample],
}

type Filter<'f> = &'f dyn Fn(&Sample) -> bool;

fn any(_: &Sample) -> bool {
    true
}

fn sum(samples: &[Sample], name: &str, filter: Filter) -> Option<f64> {
    let mut values = samples
        .iter()
        .filter(|sample| sample.name == name && filter(sample))
        .peekable();
    values.peek()?;
    Some(values.map(|sample| sample.value).sum())
}

impl Pair<'_> {
    /// The current value of a gauge.
    fn gauge(&self, name: &str) -> Option<f64> {
        sum(self.now, name, &any)
    }

    /// The increase of a counter. A counter that is lower than before was reset by a restart of the
    /// server.
    fn rise(&self, name: &str, filter: Filter) -> f64 {
        let now = sum(self.now, name, filter).unwrap_or(0.0);
        let before = sum(self.before, name, filter).unwrap_or(0.0);
        if now < before { now } else { now - before }
    }

    /// The upper bounds of a histogram's buckets, each with the number of observations up to it
    /// between the scrapes.
    fn buckets(&self, name: &str, route: &str) -> Vec<(f64, f64)> {
        let of_route = |sample: &&Sample| sample.name == name && sample.label("route") == Some(route);
        let bounds = self.now.iter().filter(of_route).filter_map(|sample| sample.label("le"));
        let mut buckets: Vec<(f64, f64)> = bounds
            .filter_map(|le| {
                let in_bucket =
                    |sample: &Sample| sample.label("route") == Some(route) && sample.label("le") == Some(le);
                Some((le.parse().ok()?, self.rise(name, &in_bucket)))
            })
            .collect();
        buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        buckets
    }
}

impl Figures {
    /// Calculates the figures from two scrapes, `seconds` apart.
    pub fn between(before: &[Sample], now: &[Sample], seconds: f64, route: &str) -> Self {
        let pair = Pair { before, now };
        // Two scrapes are never simultaneous. The minimum only guarantees finite rates.
        let seconds = seconds.max(1e-3);
        let rate = |name: &str, filter: Filter| pair.rise(name, filter) / seconds;
        let buckets = pair.buckets("mintage_http_request_duration_seconds_bucket", route);
        let hits = pair.rise("mintage_client_cache_hits_total", &any);
        let lookups = hits + pair.rise("mintage_client_cache_misses_total", &any);
        let connections = |state: &str| {
            sum(now, "mintage_pool_connections", &|sample| {
                sample.label("state") == Some(state)
            })
        };
        let version = now.iter().find(|sample| sample.name == "mintage_build_info");
        let version = version.and_then(|sample| sample.label("version"));
        Self {
            // Filtered, because the peer may not be Mintage: the text must not control the
            // terminal.
            version: version.map(|version| version.chars().filter(|c| !c.is_control()).take(32).collect()),
            ready: pair.gauge("mintage_ready").map(|ready| ready > 0.0),
            interval_seconds: seconds,
            tokens_per_second: rate("mintage_tokens_issued_total", &any),
            refused_per_second: rate("mintage_token_errors_total", &any),
            // Without the requests of this command.
            requests_per_second: rate("mintage_http_requests_total", &|sample| {
                sample.label("route") != Some("/metrics")
            }),
            failures_per_second: rate("mintage_http_requests_total", &|sample| {
                sample.label("status").is_some_and(|status| status.starts_with('5'))
            }),
            route: route.to_owned(),
            latency_seconds: Latency {
                p50: quantile(&buckets, 0.5),
                p90: quantile(&buckets, 0.9),
                p99: quantile(&buckets, 0.99),
            },
            hit_rate: (lookups > 0.0).then(|| hits / lookups),
            cache_entries: pair.gauge("mintage_client_cache_entries"),
            writer: Writer {
                pending: pair.gauge("mintage_writer_pending"),
                oldest_unflushed_seconds: pair.gauge("mintage_writer_oldest_unflushed_seconds"),
                written_per_second: rate("mintage_writer_flushed_total", &any),
            },
            pool: Pool {
                in_use: connections("in_use"),
                idle: connections("idle"),
                max_size: pair.gauge("mintage_pool_max_size"),
                waiting: pair.gauge("mintage_pool_waiting"),
            },
            breaker: pair.gauge("mintage_breaker_state").map(|state| match state {
                0.0 => "closed",
                1.0 => "half_open",
                _ => "open",
            }),
            revocations: pair.gauge("mintage_revocations_known"),
            change_feed_lag_seconds: pair.gauge("mintage_change_feed_lag_seconds"),
        }
    }

    /// The figures as a JSON object.
    pub fn as_json(&self, now: UnixMillis) -> String {
        let mut document = serde_json::to_value(self).expect("figures are strings and numbers");
        document["time"] = now.to_string().into();
        document.to_string()
    }

    /// The figures in one line, for a pipe.
    pub fn as_line(&self, now: UnixMillis) -> String {
        let latency = &self.latency_seconds;
        format!(
            "{} tokens/s={:.1} refused/s={:.1} requests/s={:.1} 5xx/s={:.1} p50={} p90={} p99={} hit_rate={} \
             pending={} oldest={} pool={}/{} waiting={} breaker={} revocations={} feed_lag={}",
            now,
            self.tokens_per_second,
            self.refused_per_second,
            self.requests_per_second,
            self.failures_per_second,
            time(latency.p50),
            time(latency.p90),
            time(latency.p99),
            percent(self.hit_rate),
            number(self.writer.pending),
            time(self.writer.oldest_unflushed_seconds),
            number(self.pool.in_use),
            number(self.pool.max_size),
            number(self.pool.waiting),
            self.breaker.unwrap_or("-"),
            number(self.revocations),
            time(self.change_feed_lag_seconds),
        )
    }

    /// The figures in several lines, for a terminal.
    pub fn as_screen(&self, url: &str) -> String {
        let (latency, writer, pool) = (&self.latency_seconds, &self.writer, &self.pool);
        let ready = match self.ready {
            Some(true) => "ready",
            Some(false) => "NOT READY",
            None => "",
        };
        let lines = [
            format!("mintage {}  {url}  {ready}", self.version.as_deref().unwrap_or("-")),
            String::new(),
            format!(
                "tokens       {:>10.1}/s   refused {:.1}/s",
                self.tokens_per_second, self.refused_per_second
            ),
            format!(
                "requests     {:>10.1}/s   5xx {:.1}/s",
                self.requests_per_second, self.failures_per_second
            ),
            format!(
                "latency      p50 {}   p90 {}   p99 {}   of {}",
                time(latency.p50),
                time(latency.p90),
                time(latency.p99),
                self.route
            ),
            format!(
                "cache        {} hits   {} {}",
                percent(self.hit_rate),
                number(self.cache_entries),
                if self.cache_entries == Some(1.0) {
                    "client"
                } else {
                    "clients"
                }
            ),
            format!(
                "writer       {} pending   oldest {}   {:.1}/s written",
                number(writer.pending),
                time(writer.oldest_unflushed_seconds),
                writer.written_per_second
            ),
            format!(
                "pool         {} in use   {} idle   of {}   {} waiting",
                number(pool.in_use),
                number(pool.idle),
                number(pool.max_size),
                number(pool.waiting)
            ),
            format!("breaker      {}", self.breaker.unwrap_or("-")),
            format!(
                "revocations  {}   change feed answered {} ago",
                number(self.revocations),
                time(self.change_feed_lag_seconds)
            ),
        ];
        lines.join("\n")
    }
}

/// A quantile of a cumulative histogram, interpolated within its bucket like Prometheus'
/// `histogram_quantile`.
fn quantile(buckets: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let (_, total) = buckets.last()?;
    if *total <= 0.0 {
        return None;
    }
    let rank = quantile * total;
    let at = buckets.iter().position(|(_, count)| *count >= rank)?;
    let (lower, below) = if at == 0 { (0.0, 0.0) } else { buckets[at - 1] };
    let (upper, count) = buckets[at];
    if upper.is_infinite() {
        // Only known to be above the last finite bound.
        return Some(lower);
    }
    Some(lower + (upper - lower) * (rank - below) / (count - below).max(f64::MIN_POSITIVE))
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.0}"))
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share))
}

fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(seconds) if seconds < 1e-3 => format!("{:.0}µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.1}ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.1}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::read;

    fn between(before: &str, now: &str) -> Figures {
        Figures::between(&read(before).unwrap(), &read(now).unwrap(), 2.0, "/token")
    }

    #[test]
    fn rates_are_increases_per_second() {
        let before = "mintage_tokens_issued_total{alg=\"ES256\"} 10\nmintage_tokens_issued_total{alg=\"RS256\"} 1\n";
        let now = "mintage_tokens_issued_total{alg=\"ES256\"} 14\nmintage_tokens_issued_total{alg=\"RS256\"} 3\n";
        assert_eq!(between(before, now).tokens_per_second, 3.0);
        // The server was restarted in between.
        assert_eq!(between(now, before).tokens_per_second, 5.5);
        assert_eq!(between("", "").tokens_per_second, 0.0);
    }

    #[test]
    fn the_hit_rate_covers_the_lookups_between_the_scrapes() {
        let counts = |hits, misses| {
            format!("mintage_client_cache_hits_total {hits}\nmintage_client_cache_misses_total {misses}\n")
        };
        assert_eq!(between(&counts(0, 100), &counts(9, 101)).hit_rate, Some(0.9));
        assert_eq!(between(&counts(7, 7), &counts(7, 7)).hit_rate, None);
    }

    #[test]
    fn quantiles_are_interpolated_within_their_bucket() {
        let buckets = [(0.1, 0.0), (0.2, 10.0), (0.4, 20.0), (f64::INFINITY, 20.0)];
        let near = |q: f64, expected: f64| (quantile(&buckets, q).unwrap() - expected).abs() < 1e-9;
        assert!(near(0.25, 0.15) && near(0.5, 0.2) && near(0.75, 0.3) && near(1.0, 0.4));
        assert_eq!(quantile(&[(0.1, 1.0), (f64::INFINITY, 4.0)], 0.9), Some(0.1));
        assert_eq!(quantile(&[(0.1, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn only_the_latency_of_the_given_route_is_shown() {
        let text = |fast, slow| {
            let bucket = |route, le, count| {
                format!("mintage_http_request_duration_seconds_bucket{{route=\"{route}\",le=\"{le}\"}} {count}\n")
            };
            let token = bucket("/token", "0.1", fast) + &bucket("/token", "+Inf", fast);
            token + &bucket("/slow", "0.1", 0) + &bucket("/slow", "+Inf", slow)
        };
        let latency = between(&text(0, 0), &text(10, 90)).latency_seconds;
        assert_eq!(latency.p50, Some(0.05));
    }

    #[test]
    fn missing_metrics_are_shown_as_unknown() {
        let figures = between("", "mintage_build_info{version=\"1\u{1b}[H\"} 1");
        assert_eq!(figures.version.as_deref(), Some("1[H"), "it must not move the cursor");
        assert_eq!((figures.breaker, figures.ready), (None, None));
        assert!(
            figures
                .as_line(UnixMillis(0))
                .contains(" p50=- p90=- p99=- hit_rate=- pending=- ")
        );
    }

    #[test]
    fn times_have_a_suitable_unit() {
        assert_eq!(
            [25e-6, 0.0124, 2.5].map(|seconds| time(Some(seconds))),
            ["25µs", "12.4ms", "2.5s"]
        );
    }
}
