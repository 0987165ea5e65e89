//! Connections: how many an instance needs, and how many PostgreSQL gives.

/// The chance that a call finds no free connection, where `busy` connections are in use on average and there are
/// `connections` (Erlang's C formula: calls come at random, and last as long as they like).
pub fn chance_to_wait(busy: f64, connections: u32) -> f64 {
    let free = f64::from(connections) - busy;
    if free <= 0.0 {
        return 1.0;
    }
    // Erlang's B by its recursion, which does not overflow.
    let mut lost = 1.0;
    for number in 1..=connections {
        lost = busy * lost / (f64::from(number) + busy * lost);
    }
    let connections = f64::from(connections);
    connections * lost / (connections - busy * (1.0 - lost))
}

/// The least pool in which no more than `share` of the calls wait.
pub fn least(busy: f64, share: f64) -> u32 {
    let mut connections = busy.floor() as u32 + 1;
    while chance_to_wait(busy, connections) > share {
        connections += 1;
    }
    connections
}

/// The largest pool that so many instances may have, with `reserved` connections left for operators and commands; 0 when
/// there are not even enough for one each.
pub fn most(max_connections: u32, reserved: u32, instances: u32) -> u32 {
    max_connections.saturating_sub(reserved) / instances
}
