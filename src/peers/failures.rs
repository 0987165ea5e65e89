//! Failed authentications across all instances: the buckets of `throttle`, kept in Redis by a
//! script.
//!
//! A bucket is stored as the time at which it will be empty, by the clock of Redis, so that the
//! clocks of the instances need not agree. The key expires at that time. Anyone who can write to
//! Redis can fill a bucket, for a minute, or empty it, but not below what an instance has counted
//! itself.

use std::time::Duration;

use redis::{FromRedisValue, Pipeline, Value};

use crate::throttle::Failure;

/// KEYS are the buckets. ARGV holds, for each bucket, what a failure adds and the capacity, in
/// microseconds. The script returns the level of each bucket, in microseconds. An invalid value
/// counts as empty, one that is too large as full.
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
    // Sent in full each time: the script is short, and a Redis that was flushed no longer has it.
    let eval = commands.cmd("EVAL").arg(SCRIPT).arg(names.len()).arg(names);
    for failure in failures {
        eval.arg(micros(failure.each)).arg(micros(failure.whole));
    }
}

/// Parses the reply of the script: the level of each bucket, as the time until it is empty.
pub(super) fn levels(reply: Value) -> Option<Vec<Duration>> {
    let micros = Vec::<i64>::from_redis_value(reply).ok()?;
    let time = |micros: i64| Duration::from_micros(micros.max(0).unsigned_abs());
    Some(micros.into_iter().map(time).collect())
}
