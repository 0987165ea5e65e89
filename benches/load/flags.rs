//! The flags of a benchmark: `--name` and `--name=value`; whatever is not known ends it with a word about what is.

use std::cell::Cell;
use std::time::Duration;

/// What a benchmark is told.
pub struct Flags {
    /// A few seconds a table, to see that it runs.
    pub quick: bool,
    only: Vec<String>,
    wanted: Cell<bool>,
    /// How often everything that is compared takes its turn.
    pub rounds: usize,
    /// How long each turn is driven.
    pub seconds: Duration,
    /// Where tables and plots go; nowhere with `--no-write`.
    pub to: Option<std::path::PathBuf>,
    /// Rows of the large table.
    pub rows: u64,
    /// Clients of the large table.
    pub clients: u64,
    /// Kept-alive connections, where they are varied.
    pub connections: Vec<usize>,
    /// `sqlite`, `postgres`.
    pub backends: Vec<String>,
    /// How long the soak is, if there is one.
    pub soak: Option<Duration>,
}

/// The name of the soak, which runs only where it is asked for.
pub const SOAK: &str = "scenario-soak";
const SOAK_TIME: Duration = Duration::from_secs(600);

/// What there is.
const USAGE: &str = "cargo bench --bench matrix -- [--quick] [--only=NAME,…] [--rounds=5] [--seconds=4]
    [--rows=10000000] [--clients=1000000] [--connections=1,8,64,512] [--backends=sqlite,postgres]
    [--soak[=600]] [--no-write] [--to=docs]
NAME is before-after, backends, scenario, pool, durability, instances, or what a table is called in docs/benchmarks.md.";

impl Flags {
    /// Reads them.
    pub fn read(arguments: impl Iterator<Item = String>) -> Self {
        match Self::parse(arguments) {
            Ok(flags) => flags,
            Err(unknown) => {
                eprintln!("{unknown} is not understood\n{USAGE}");
                std::process::exit(2);
            }
        }
    }

    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let arguments: Vec<String> = arguments.collect();
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let mut flags = Self {
            quick,
            only: Vec::new(),
            wanted: Cell::new(false),
            rounds: if quick { 1 } else { 5 },
            seconds: Duration::from_secs(if quick { 1 } else { 4 }),
            // What a quick run measures is not worth quoting.
            to: (!quick).then(|| "docs".into()),
            rows: if quick { 100_000 } else { 10_000_000 },
            clients: if quick { 20_000 } else { 1_000_000 },
            connections: vec![1, 8, 64, 512],
            backends: vec!["sqlite".to_owned(), "postgres".to_owned()],
            soak: None,
        };
        for argument in &arguments {
            let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
            let unknown = || argument.clone();
            let list = || value.split(',').map(str::to_owned);
            match name {
                // cargo says so.
                "--bench" | "--quick" => {}
                "--only" => flags.only = list().collect(),
                "--rounds" => flags.rounds = value.parse().map_err(|_| unknown())?,
                "--seconds" => {
                    let seconds = value.parse().map_err(|_| unknown())?;
                    flags.seconds = Duration::try_from_secs_f64(seconds).map_err(|_| unknown())?;
                }
                "--rows" => flags.rows = value.parse().map_err(|_| unknown())?,
                "--clients" => flags.clients = value.parse().map_err(|_| unknown())?,
                "--connections" => {
                    let numbers: Result<_, _> = list().map(|number| number.parse()).collect();
                    flags.connections = numbers.map_err(|_| unknown())?;
                }
                "--backends" => flags.backends = list().collect(),
                "--no-write" => flags.to = None,
                "--to" => flags.to = Some(value.into()),
                "--soak" if value.is_empty() => flags.soak = Some(SOAK_TIME),
                "--soak" => flags.soak = Some(Duration::from_secs(value.parse().map_err(|_| unknown())?)),
                _ => return Err(unknown()),
            }
        }
        let sensible = flags.rounds > 0 && !flags.seconds.is_zero() && !flags.connections.contains(&0);
        if !sensible || flags.clients < 20_000 || flags.rows == 0 {
            return Err("a number that is too small".to_owned());
        }
        if flags.soak.is_none() && flags.only.iter().any(|only| only == SOAK) {
            flags.soak = Some(SOAK_TIME);
        }
        Ok(flags)
    }

    /// Whether a table is asked for: by its name, by the name of its section, or because nothing in particular is.
    pub fn want(&self, name: &str) -> bool {
        let asked = |only: &String| {
            name == only
                || name
                    .strip_prefix(only.as_str())
                    .is_some_and(|rest| rest.starts_with('-'))
        };
        let wanted = self.only.is_empty() || self.only.iter().any(asked);
        self.wanted.set(self.wanted.get() || wanted);
        wanted
    }

    /// Ends with a word about what there is, if nothing of it was asked for.
    pub fn complain_if_nothing_ran(&self) {
        if !self.wanted.get() && self.soak.is_none() {
            eprintln!("there is no table called {}\n{USAGE}", self.only.join(","));
            std::process::exit(2);
        }
    }
}
