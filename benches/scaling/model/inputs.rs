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

/// As measured. `docs/scaling.md` shows them with where each is from ([`sources`]).
pub const MEASURED: Inputs = Inputs {
    token_micros: 34.92,
    token_micros_hs256: 14.7,
    miss_micros: 83.5,
    load_micros: 115.0,
    load_seconds: 318e-6,
    flush_micros: 100.0,
    row_micros: 3.3,
    flush_seconds: 4.3e-3,
    use_micros: 82.0,
    use_seconds: 186e-6,
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
    /// What three runs gave, where it was measured for the model.
    pub seen: &'static str,
    /// Where it is from.
    pub from: &'static str,
}

/// The table of the document.
pub fn sources(inputs: &Inputs) -> Vec<Source> {
    let row = |what, value, unit, seen, from| Source {
        what,
        value,
        unit,
        seen,
        from,
    };
    // Measured for the model; `docs/scaling.md` says how.
    let here = |what, value, unit, seen| row(what, value, unit, seen, "measured here");
    let known = |what, value, unit, from| row(what, value, unit, "", from);
    let micros = |seconds: f64| seconds * 1e6;
    vec![
        known(
            "CPU of the server for a token, ES256, client cached",
            inputs.token_micros,
            "µs",
            "benchmarks.md, one request",
        ),
        known(
            "the same, HS256, on PostgreSQL",
            inputs.token_micros_hs256,
            "µs",
            "benchmarks.md, durability-backends",
        ),
        known(
            "CPU of the server that a load of the client adds",
            inputs.miss_micros,
            "µs",
            "benchmarks.md, pool-postgres: 98.2 with 5 connections, less a hit",
        ),
        here(
            "CPU of PostgreSQL for a load, two statements",
            inputs.load_micros,
            "µs",
            "113 to 116",
        ),
        known(
            "a load holds a connection for",
            micros(inputs.load_seconds),
            "µs",
            "benchmarks.md, pool-postgres: 3,149 a second on one connection",
        ),
        here(
            "CPU of PostgreSQL for a flush without its rows",
            inputs.flush_micros,
            "µs",
            "see below",
        ),
        here(
            "CPU of PostgreSQL for a row of it",
            inputs.row_micros,
            "µs",
            "see below",
        ),
        here(
            "a flush of 400 rows holds a connection for",
            micros(inputs.flush_seconds),
            "µs",
            "2,100 to 4,320",
        ),
        here(
            "CPU of PostgreSQL for the last use of a secret, one of 100",
            inputs.use_micros,
            "µs",
            "80 to 95",
        ),
        here(
            "it holds a connection for",
            micros(inputs.use_seconds),
            "µs",
            "145 to 279",
        ),
        here(
            "CPU of PostgreSQL for a poll that finds nothing",
            inputs.poll_micros,
            "µs",
            "18.7 to 20.6",
        ),
        here(
            "it holds a connection for",
            micros(inputs.poll_seconds),
            "µs",
            "44 to 68",
        ),
        here(
            "CPU of PostgreSQL for a line that a poll reads",
            inputs.line_micros,
            "µs",
            "one run: 153 with 100 lines",
        ),
        here(
            "CPU of PostgreSQL for \"how does this client stand\"",
            inputs.standing_micros,
            "µs",
            "80.9 to 84.2",
        ),
        here(
            "for one client more in that question",
            inputs.further_standing_micros,
            "µs",
            "one run: 177 with 25 clients",
        ),
        here(
            "CPU of PostgreSQL for a revocation",
            inputs.revocation_micros,
            "µs",
            "191 to 217",
        ),
        here(
            "revocations one after the other",
            inputs.revocations_in_turn,
            "a second",
            "1,077 to 2,314",
        ),
        here(
            "CPU of PostgreSQL for a new connection",
            inputs.connection_micros,
            "µs",
            "2,525 to 2,774",
        ),
        here(
            "memory of PostgreSQL for a connection",
            inputs.connection_memory / 1e6,
            "MB",
            "6.21 and 6.26",
        ),
        here(
            "a token record on PostgreSQL, written by 1 instance",
            inputs.row_bytes_alone,
            "bytes",
            "230 to 235",
        ),
        here("the same, by 100 in turns", inputs.row_bytes, "bytes", "251 to 252"),
        here(
            "its share of the write-ahead log",
            inputs.row_wal_bytes,
            "bytes",
            "284 to 287",
        ),
        here(
            "a token record on SQLite",
            inputs.row_bytes_sqlite,
            "bytes",
            "138 to 141",
        ),
        here(
            "a revocation with its line in the change log",
            inputs.revocation_bytes,
            "bytes",
            "287 to 301",
        ),
        known(
            "a live revocation in the memory of an instance",
            inputs.revocation_memory,
            "bytes",
            "benchmarks.md, revocations",
        ),
        known(
            "a client in a cache",
            inputs.client_memory,
            "bytes",
            "benchmarks.md, the client cache",
        ),
        here(
            "CPU of Redis for a message, for each that gets it",
            inputs.message_micros,
            "µs",
            "3.99 and 4.02",
        ),
        known(
            "between two polls, a tenth more or less",
            inputs.poll_interval * 1e3,
            "ms",
            "`actors/change_feed.rs`",
        ),
        known(
            "`writer.flush_interval`",
            inputs.flush_interval * 1e3,
            "ms",
            "the default",
        ),
        known("`writer.max_batch`", inputs.max_batch, "records", "the default"),
        known(
            "a revocation is kept past its token's end for",
            inputs.kept_after_expiry,
            "s",
            "`actors/revocation_cache.rs`",
        ),
    ]
}
