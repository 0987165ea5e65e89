//! Failed authentications over all instances: buckets as `throttle` has them, kept by a script in Redis.
//!
//! A bucket is kept as the time at which it will have drained, by the clock of Redis, so that those of the instances need
//! not agree; it expires then by itself. Whoever can write in Redis can fill a bucket, for a minute, and empty it, but not
//! below what an instance has counted itself.

use std::time::Duration;

use redis::{FromRedisValue, Pipeline, Value};

use crate::throttle::Failure;

/// Keys are the buckets; arguments are, for each, what a failure adds and what a bucket holds, in microseconds. What is
/// answered is how full each is, in microseconds. A value that is none counts as empty, one that is too large as full.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local left = {}
for i, key in ipairs(KEYS) do
    local each, whole = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local at = math.max(tonumber(redis.call('GET', key) or '') or now, now)
    at = math.min(at + each, now + whole)
    redis.call('SET', key, string.format('%.0f', at), 'PX', math.ceil((at - now) / 1000))
    left[i] = at - now
end
return left";

pub(super) fn add(commands: &mut Pipeline, names: &[String], failures: &[Failure]) {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    // Sent whole each time: it is short, and a Redis that was emptied has forgotten it.
    let eval = commands.cmd("EVAL").arg(SCRIPT).arg(names.len()).arg(names);
    for failure in failures {
        eval.arg(micros(failure.each)).arg(micros(failure.whole));
    }
}

/// Reads the answer of the script.
pub(super) fn left(answer: Value) -> Option<Vec<Duration>> {
    let micros = Vec::<i64>::from_redis_value(answer).ok()?;
    let time = |micros: i64| Duration::from_micros(micros.max(0).unsigned_abs());
    Some(micros.into_iter().map(time).collect())
}
