//! The change feeds of many instances: the cost of their polls on PostgreSQL.

use crate::inputs::*;

/// Polls of all instances per second, and PostgreSQL CPU for them in cores. The rates are changes
/// of clients, and revocations and redemptions (`invalidated`). With `redis`, every instance polls
/// after each change; without, only its timer causes polls.
pub fn cost(instances: u32, client_changes: f64, invalidated: f64, redis: bool) -> (f64, f64) {
    let (instances, changes) = (f64::from(instances), client_changes + invalidated);
    let polls = polls(if redis { changes } else { 0.0 });
    let status_reads = status_reads(polls, client_changes);
    let further_clients = (client_changes - status_reads).max(0.0);
    let reading = polls * POLL_MICROS + changes * CHANGE_MICROS;
    let statuses = status_reads * STATUS_MICROS + further_clients * FURTHER_STATUS_MICROS;
    (instances * polls, instances * (reading + statuses) / 1e6)
}

/// Polls of one instance. The timer starts when the last poll has ended. A message causes a poll
/// too, but messages within `POLL_SPACING` of the last such poll share the next one.
fn polls(messages: f64) -> f64 {
    let by_timer = 1.0 / (POLL_INTERVAL + POLL_SECONDS);
    by_timer + messages / (1.0 + messages * POLL_SECONDS.max(POLL_SPACING))
}

/// The polls that find a changed client, and therefore read client status. Changes are a Poisson
/// process, so a poll finds none with probability exp(−mean).
fn status_reads(polls: f64, client_changes: f64) -> f64 {
    polls * -(-client_changes / polls).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::{cost, polls, status_reads};
    use crate::inputs::POLL_SECONDS;

    #[test]
    fn polling_costs_every_instance_the_same_and_messages_cost_only_with_changes() {
        let cost = |instances, client_changes, redis| cost(instances, client_changes, 0.0, redis);
        assert!((cost(100, 5.0, false).1 - 100.0 * cost(1, 5.0, false).1).abs() <= 1e-9);
        assert_eq!(cost(10, 0.0, true).0, cost(10, 0.0, false).0);
        let ((timer, timer_cores), (messages, messages_cores)) = (cost(10, 50.0, false), cost(10, 50.0, true));
        assert!(messages > timer && messages_cores > timer_cores);
        for polls in [polls(0.0), polls(50.0)] {
            assert!(status_reads(polls, 50.0) <= polls);
        }
        assert!(cost(1, 1e9, true).0 < 5.0 + 1.0 / POLL_SECONDS);
    }
}
