//! What was measured, and where: the only figures that the model takes from outside.

/// The figures. Micros are CPU time in millionths of a second.
#[derive(Clone, Copy, Debug)]
pub struct Inputs {
    /// Server CPU of a token, ES256 and the client in the cache.
    pub token_micros: f64,
    /// The same with HS256, with PostgreSQL.
    pub token_micros_hs256: f64,
    /// Server CPU that a load of the client adds.
    pub miss_micros: f64,
    /// PostgreSQL's CPU of a load.
    pub load_micros: f64,
    /// How long a load holds a connection.
    pub load_seconds: f64,
    /// PostgreSQL's CPU of a flush, without its rows.
    pub flush_micros: f64,
    /// PostgreSQL's CPU of one row more in a flush.
    pub row_micros: f64,
    /// How long a flush of 400 rows holds a connection.
    pub flush_seconds: f64,
    /// PostgreSQL's CPU of one secret's use in a transaction of many.
    pub use_micros: f64,
    /// How long that holds a connection.
    pub use_seconds: f64,
    /// PostgreSQL's CPU of a poll that finds nothing.
    pub poll_micros: f64,
    /// How long that takes.
    pub poll_seconds: f64,
    /// PostgreSQL's CPU of a line more in a poll.
    pub line_micros: f64,
    /// PostgreSQL's CPU of the question how one client stands.
    pub standing_micros: f64,
    /// Of one client more in the same question.
    pub further_standing_micros: f64,
    /// PostgreSQL's CPU of a revocation with its line in the change log.
    pub revocation_micros: f64,
    /// Revocations a second of one connection: none overtakes another.
    pub revocations_in_turn: f64,
    /// PostgreSQL's CPU of a new connection.
    pub connection_micros: f64,
    /// Memory of PostgreSQL's process for a connection that has done all of it.
    pub connection_memory: f64,
    /// Bytes of a record on PostgreSQL, its key included, where one instance writes.
    pub row_bytes_alone: f64,
    /// Where a hundred write in turns.
    pub row_bytes: f64,
    /// Bytes of the write-ahead log for it.
    pub row_wal_bytes: f64,
    /// Bytes of a record on SQLite.
    pub row_bytes_sqlite: f64,
    /// Bytes of a revocation on PostgreSQL, indexes and line of the change log included.
    pub revocation_bytes: f64,
    /// Bytes that a live revocation takes in each instance.
    pub revocation_memory: f64,
    /// Bytes of a client in a cache.
    pub client_memory: f64,
    /// Redis' CPU of a message, for each instance that gets it.
    pub message_micros: f64,
    /// The time between two polls: 250 ms, a tenth more or less.
    pub poll_interval: f64,
    /// `writer.flush_interval`
    pub flush_interval: f64,
    /// `writer.max_batch`
    pub max_batch: f64,
    /// How long a revocation is remembered past the end of its token.
    pub kept_after_expiry: f64,
}

/// As measured. `docs/scaling.md` shows these with where each is from ([`sources`]).
pub const MEASURED: Inputs = Inputs {
    token_micros: 34.92,
    token_micros_hs256: 14.7,
    miss_micros: 83.5,
    load_micros: 115.0,
    load_seconds: 318e-6,
    flush_micros: 100.0,
    row_micros: 3.3,
    flush_seconds: 2.1e-3,
    use_micros: 82.0,
    use_seconds: 165e-6,
    poll_micros: 20.5,
    poll_seconds: 60e-6,
    line_micros: 1.33,
    standing_micros: 82.0,
    further_standing_micros: 4.0,
    revocation_micros: 210.0,
    revocations_in_turn: 1100.0,
    connection_micros: 2700.0,
    connection_memory: 6.2e6,
    row_bytes_alone: 235.0,
    row_bytes: 252.0,
    row_wal_bytes: 285.0,
    row_bytes_sqlite: 141.0,
    revocation_bytes: 290.0,
    revocation_memory: 69.0,
    client_memory: 579.0,
    message_micros: 4.0,
    poll_interval: 0.25,
    flush_interval: 0.25,
    max_batch: 1000.0,
    kept_after_expiry: 300.0,
};

/// A figure, in words.
pub struct Source {
    /// What it is.
    pub what: &'static str,
    /// How much it is.
    pub value: f64,
    /// In what it is counted.
    pub unit: &'static str,
    /// Where it was measured.
    pub from: &'static str,
}

/// Measured by this benchmark.
const HERE: &str = "`cargo bench --bench scaling -- --measure`";

/// The table of the document.
pub fn sources(inputs: &Inputs) -> Vec<Source> {
    let row = |what, value, unit, from| Source {
        what,
        value,
        unit,
        from,
    };
    let request = "benchmarks.md, one request: `/token` ES256, async";
    let no_cache = "benchmarks.md, size of the pool on PostgreSQL without a cache (98.2 µs with 5 connections), less a hit there \
                    (14.7 µs, durability)";
    let held = "benchmarks.md, size of the pool: 3,149 loads a second on one connection";
    let memory = "benchmarks.md, revocations: 69 MB for a million";
    vec![
        row(
            "server CPU of a token, ES256, client cached",
            inputs.token_micros,
            "µs",
            request,
        ),
        row(
            "the same, HS256, with PostgreSQL",
            inputs.token_micros_hs256,
            "µs",
            "benchmarks.md, durability: PostgreSQL",
        ),
        row(
            "server CPU that a load of the client adds",
            inputs.miss_micros,
            "µs",
            no_cache,
        ),
        row(
            "PostgreSQL's CPU of a load (2 statements)",
            inputs.load_micros,
            "µs",
            HERE,
        ),
        row("a load holds a connection for", inputs.load_seconds * 1e6, "µs", held),
        row(
            "PostgreSQL's CPU of a flush, without its rows",
            inputs.flush_micros,
            "µs",
            HERE,
        ),
        row("PostgreSQL's CPU of a row of it", inputs.row_micros, "µs", HERE),
        row("a flush holds a connection for", inputs.flush_seconds * 1e6, "µs", HERE),
        row(
            "PostgreSQL's CPU of the last use of a secret, one of 100",
            inputs.use_micros,
            "µs",
            HERE,
        ),
        row("it holds a connection for", inputs.use_seconds * 1e6, "µs", HERE),
        row(
            "PostgreSQL's CPU of a poll that finds nothing",
            inputs.poll_micros,
            "µs",
            HERE,
        ),
        row("it holds a connection for", inputs.poll_seconds * 1e6, "µs", HERE),
        row(
            "PostgreSQL's CPU of a line that a poll reads",
            inputs.line_micros,
            "µs",
            HERE,
        ),
        row(
            "PostgreSQL's CPU of \"how does this client stand\"",
            inputs.standing_micros,
            "µs",
            HERE,
        ),
        row(
            "of one client more in that question",
            inputs.further_standing_micros,
            "µs",
            HERE,
        ),
        row("PostgreSQL's CPU of a revocation", inputs.revocation_micros, "µs", HERE),
        row(
            "revocations one after the other, on one connection",
            inputs.revocations_in_turn,
            "a second",
            HERE,
        ),
        row(
            "PostgreSQL's CPU of a new connection",
            inputs.connection_micros,
            "µs",
            HERE,
        ),
        row(
            "memory of PostgreSQL's process for a connection",
            inputs.connection_memory / 1e6,
            "MB",
            HERE,
        ),
        row(
            "a token record on PostgreSQL with its key, one instance",
            inputs.row_bytes_alone,
            "bytes",
            HERE,
        ),
        row("the same, 100 instances in turns", inputs.row_bytes, "bytes", HERE),
        row("its write-ahead log", inputs.row_wal_bytes, "bytes", HERE),
        row("a token record on SQLite", inputs.row_bytes_sqlite, "bytes", HERE),
        row(
            "a revocation and its line in the change log",
            inputs.revocation_bytes,
            "bytes",
            HERE,
        ),
        row(
            "a live revocation in the memory of an instance",
            inputs.revocation_memory,
            "bytes",
            memory,
        ),
        row(
            "a client in a cache",
            inputs.client_memory,
            "bytes",
            "benchmarks.md, the client cache: `memory_1000`",
        ),
        row(
            "Redis' CPU of a message, for each instance that gets it",
            inputs.message_micros,
            "µs",
            HERE,
        ),
        row(
            "between two polls, a tenth more or less",
            inputs.poll_interval * 1e3,
            "ms",
            "`actors/change_feed.rs`",
        ),
        row(
            "`writer.flush_interval`",
            inputs.flush_interval * 1e3,
            "ms",
            "the default",
        ),
        row("`writer.max_batch`", inputs.max_batch, "records", "the default"),
        row(
            "a revocation is kept past its token's end for",
            inputs.kept_after_expiry,
            "s",
            "`actors/revocation_cache.rs`",
        ),
    ]
}
