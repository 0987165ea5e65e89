//! The change feed of many instances: what its polls cost the database, how late an instance hears of a change, and what a
//! change sets off.

use super::inputs::Inputs;

/// Messages make an instance poll no more often than once in this many seconds (`SPACING` in `actors/change_feed.rs`).
const SPACING: f64 = 0.020;

/// Many instances that poll one change log.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// Instances.
    pub instances: f64,
    /// Changes of clients a second.
    pub client_changes: f64,
    /// Revocations and redemptions a second.
    pub spent: f64,
    /// Whether each change also makes every instance poll at once.
    pub poll_now: bool,
}

/// What the feeds cost the database.
#[derive(Clone, Copy, Debug)]
pub struct FeedCost {
    /// Polls a second, of all instances.
    pub polls: f64,
    /// Lines of the log read a second, by all instances.
    pub lines: f64,
    /// Questions a second for how clients stand.
    pub standings: f64,
    /// PostgreSQL's CPU, in cores.
    pub cores: f64,
}

impl Feed {
    /// What all instances' polls cost.
    ///
    /// By the timer an instance polls when the interval is over that began when the last poll ended. A message makes it poll
    /// too, but those that come within 20 ms of the last such poll share the next one.
    pub fn cost(&self, inputs: &Inputs) -> FeedCost {
        let call = inputs.poll_seconds;
        let changes = self.client_changes + self.spent;
        let by_timer = 1.0 / (inputs.poll_interval + call);
        let by_message = if self.poll_now {
            changes / (1.0 + changes * call.max(SPACING))
        } else {
            0.0
        };
        let polls = by_timer + by_message;
        // Of the polls, those that find at least one client: changes come at random, so a poll finds none with exp(−mean).
        let per_poll = self.client_changes / polls;
        let standings = polls * -(-per_poll).exp_m1();
        let further_clients = (self.client_changes - standings).max(0.0);
        let micros = polls * inputs.poll_micros
            + changes * inputs.line_micros
            + standings * inputs.standing_micros
            + further_clients * inputs.further_standing_micros;
        FeedCost {
            polls: self.instances * polls,
            lines: self.instances * changes,
            standings: self.instances * standings,
            cores: self.instances * micros / 1e6,
        }
    }
}

/// The share of changes that one instance has begun to read `late` seconds after their commit, by the timer alone.
///
/// Intervals are drawn evenly between nine and eleven tenths; a change falls into a longer one more often.
pub fn heard(late: f64, inputs: &Inputs) -> f64 {
    let (low, high) = (0.9 * inputs.poll_interval, 1.1 * inputs.poll_interval);
    // The integral of the chance that an interval is longer than t, up to `late`, over the mean.
    let sum = match late {
        late if late <= low => late,
        late if late >= high => inputs.poll_interval,
        late => low + (late - low) - (late - low).powi(2) / (2.0 * (high - low)),
    };
    (sum / inputs.poll_interval).clamp(0.0, 1.0)
}

/// The time within which `share` of the changes have been read by all instances, by the timer alone.
pub fn heard_by_all(share: f64, instances: f64, inputs: &Inputs) -> f64 {
    let (mut low, mut high) = (0.0, 2.0 * inputs.poll_interval);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        match heard(middle, inputs).powf(instances) < share {
            true => low = middle,
            false => high = middle,
        }
    }
    high
}

/// Messages a second from feeds to the client caches of the workers, within their processes.
pub fn invalidations(client_changes: f64, instances: f64, workers: f64) -> f64 {
    client_changes * instances * workers
}
