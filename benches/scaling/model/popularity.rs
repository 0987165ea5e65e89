//! How often each client asks: all alike, or by Zipf's law. Clients that ask about equally often are one group, so that a
//! million of them are a few hundred numbers.

/// Clients that ask equally often.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// How many there are.
    pub clients: f64,
    /// Requests a second of each.
    pub rate: f64,
}

/// Who asks how often.
#[derive(Clone, Debug)]
pub struct Popularity(pub Vec<Group>);

/// The ranks that are a group each; those behind them are gathered, 3 % of the rank at a time.
const SINGLE: u64 = 64;

impl Popularity {
    /// All alike, `rate` requests a second together.
    pub fn uniform(clients: u64, rate: f64) -> Self {
        let clients = clients as f64;
        Self(vec![Group {
            clients,
            rate: rate / clients,
        }])
    }

    /// Few ask often and many seldom: the client of rank k in proportion to 1/k.
    pub fn zipf(clients: u64, rate: f64) -> Self {
        let mut groups = Vec::new();
        let (mut rank, mut all) = (1, 0.0);
        while rank <= clients {
            let step = if rank <= SINGLE { 1 } else { (rank / 32).max(1) };
            let end = (rank + step - 1).min(clients);
            let weight: f64 = (rank..=end).map(|rank| 1.0 / rank as f64).sum();
            let clients = (end - rank + 1) as f64;
            groups.push(Group {
                clients,
                rate: weight / clients,
            });
            all += weight;
            rank = end + 1;
        }
        for group in &mut groups {
            group.rate *= rate / all;
        }
        Self(groups)
    }

    /// Requests a second of all.
    pub fn rate(&self) -> f64 {
        self.0.iter().map(|group| group.clients * group.rate).sum()
    }

    /// How many clients there are.
    pub fn clients(&self) -> f64 {
        self.0.iter().map(|group| group.clients).sum()
    }

    /// What one of `parts` sees when each request goes to any of them.
    pub fn spread_over(&self, parts: f64) -> Self {
        Self(self.each(|group| Group {
            rate: group.rate / parts,
            ..group
        }))
    }

    /// What one of `parts` sees when each client always goes to the same of them.
    pub fn divided_among(&self, parts: f64) -> Self {
        Self(self.each(|group| Group {
            clients: group.clients / parts,
            ..group
        }))
    }

    fn each(&self, change: impl Fn(Group) -> Group) -> Vec<Group> {
        self.0.iter().copied().map(change).collect()
    }
}
