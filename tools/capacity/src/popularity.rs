//! How often each client requests a token: all equally often, or by Zipf's law. Clients with about
//! the same rate form one group, so that a million clients are a few hundred numbers.

/// Clients with the same rate.
#[derive(Clone, Copy)]
pub struct Group {
    pub clients: f64,
    /// Requests per second of each client.
    pub rate: f64,
}

/// All clients and their rates.
#[derive(Clone)]
pub struct Popularity(pub Vec<Group>);

/// Ranks up to this one are groups of one client; beyond, a group covers 3 % of its rank.
const SINGLE: u64 = 64;

impl Popularity {
    /// All clients equally often, `rate` requests per second together.
    pub fn uniform(clients: u64, rate: f64) -> Self {
        let clients = clients as f64;
        Self(vec![Group {
            clients,
            rate: rate / clients,
        }])
    }

    /// The rate of the client of rank k is proportional to 1/k: few clients often, many rarely.
    pub fn zipf(clients: u64, rate: f64) -> Self {
        let mut groups = Vec::new();
        let (mut rank, mut total) = (1, 0.0);
        while rank <= clients {
            let step = if rank <= SINGLE { 1 } else { (rank / 32).max(1) };
            let end = (rank + step - 1).min(clients);
            let weight: f64 = (rank..=end).map(|rank| 1.0 / rank as f64).sum();
            let clients = (end - rank + 1) as f64;
            groups.push(Group {
                clients,
                rate: weight / clients,
            });
            total += weight;
            rank = end + 1;
        }
        for group in &mut groups {
            group.rate *= rate / total;
        }
        Self(groups)
    }

    /// Requests per second of all clients.
    pub fn rate(&self) -> f64 {
        self.0.iter().map(|group| group.clients * group.rate).sum()
    }

    pub fn clients(&self) -> f64 {
        self.0.iter().map(|group| group.clients).sum()
    }

    /// The requests of one worker: each request reaches any of `spread` workers, or the clients are
    /// divided among `divided` parts.
    pub fn seen(&self, spread: f64, divided: f64) -> Self {
        let seen = |group: &Group| Group {
            clients: group.clients / divided,
            rate: group.rate / spread,
        };
        Self(self.0.iter().map(seen).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Popularity;

    #[test]
    fn grouped_zipf_has_the_rates_of_zipf() {
        let groups = Popularity::zipf(1_000_000, 1.0);
        let harmonic: f64 = (1..=1_000_000).map(|rank| 1.0 / f64::from(rank)).sum();
        let (first, ten) = (groups.0[0].rate, Popularity(groups.0[..10].to_vec()).rate());
        let expected: f64 = (1..=10).map(|rank| 1.0 / f64::from(rank) / harmonic).sum();
        assert!((first - 1.0 / harmonic).abs() <= 1e-9 && (ten - expected).abs() <= 1e-9);
        assert!(groups.0.len() < 1000, "{} groups", groups.0.len());
    }
}
