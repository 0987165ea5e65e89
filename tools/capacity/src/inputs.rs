//! Every external figure of the model, with its source.
//!
//! CPU of PostgreSQL is that of its process for the connection, from the kernel's accounting.
//! "Measured" is `git checkout 0f838a4 && cargo bench --bench scaling -- --measure`, on a virtual
//! machine with two shared cores: the functions of `src/db` on PostgreSQL 15 with `fsync` on and
//! 200,000 clients, and Redis 7 with 100 subscribers. A range is the range of three runs.

use crate::benchmarks;

/// One input, as the section `inputs` prints it.
pub struct Input {
    pub what: &'static str,
    pub value: f64,
    pub unit: &'static str,
    pub source: &'static str,
}

/// Defines each input and the list of all of them from one line.
macro_rules! inputs {
    (
        document { $($figure:ident = $row:literal $column:literal / $divisor:literal $du:literal, $dw:literal;)* }
        constant { $($name:ident = $value:literal $unit:literal, $what:literal, $source:literal;)* }
    ) => {
        $(#[doc = $dw] pub fn $figure() -> f64 { benchmarks::figure($row, $column) / $divisor })*
        $(#[doc = $what] pub const $name: f64 = $value;)*

        /// All inputs.
        pub fn all() -> Vec<Input> {
            vec![
                $(Input { what: $dw, value: $figure(), unit: $du, source: concat!("benchmarks.md, `", $row, "`") },)*
                $(Input { what: $what, value: $name, unit: $unit, source: $source },)*
            ]
        }
    };
}

inputs! {
    document {
        client_memory = "memory_1000" "figure" / 1000.0 "bytes", "a client in the cache of a worker";
        sqlite_row_micros = "flush_1000" "figure" / 1.0 "µs", "a row of a flush to SQLite, committed";
    }
    constant {
        TOKEN_MICROS = 34.72 "µs", "server CPU of a token, ES256, client cached", "`cargo bench --bench http` at 22f89e0";
        MISS_MICROS = 83.5 "µs", "additional server CPU of loading the client", "measured: 98.2 without a cache, less 14.7";
        LOAD_MICROS = 115.0 "µs", "PostgreSQL CPU of a load, two statements", "measured: 113 to 116";
        FLUSH_MICROS = 100.0 "µs", "PostgreSQL CPU of a flush without its rows", "measured: 126 with 1 row";
        ROW_MICROS = 3.3 "µs", "PostgreSQL CPU of a row in a flush", "measured: 3,537 with 1,000 rows";
        LAST_USED_MICROS = 82.0 "µs", "PostgreSQL CPU of writing the last use of a secret", "measured: 80 to 95";
        POLL_MICROS = 20.5 "µs", "PostgreSQL CPU of a poll that finds no change", "measured: 18.7 to 20.6";
        POLL_SECONDS = 60e-6 "s", "duration of a poll, which holds a connection", "measured: 44 to 68 µs";
        CHANGE_MICROS = 1.33 "µs", "PostgreSQL CPU of each change in a poll", "measured: 153 with 100 changes";
        STATUS_MICROS = 82.0 "µs", "PostgreSQL CPU of reading the status of a client", "measured: 80.9 to 84.2";
        FURTHER_STATUS_MICROS = 4.0 "µs", "of each further client in that statement", "measured: 177 with 25 clients";
        REVOCATION_MICROS = 210.0 "µs", "PostgreSQL CPU of a revocation and its change", "measured: 191 to 217";
        REVOCATIONS_IN_TURN = 1100.0 "per second", "sequential revocations", "measured: 1,077 to 2,314";
        CONNECTION_MEMORY = 6.2e6 "bytes", "PostgreSQL memory of a connection", "measured: 6.21 and 6.26 MB";
        ROW_BYTES_ALONE = 268.0 "bytes", "a token record on PostgreSQL, from one instance", "measured: 230 to 235, and 33 for the origin";
        ROW_BYTES = 285.0 "bytes", "the same, from 100 instances in turn", "measured: 251 to 252, and 33 for the origin";
        ROW_WAL_BYTES = 318.0 "bytes", "its part of the write-ahead log", "measured: 284 to 287, and 33 for the origin";
        ROW_BYTES_SQLITE = 178.0 "bytes", "a token record on SQLite", "measured: 138 to 141, and 37 for the origin";
        REVOCATION_BYTES = 290.0 "bytes", "a revocation and its change on PostgreSQL", "measured: 287 to 301";
        REVOCATION_WAL_BYTES = 566.0 "bytes", "its part of the write-ahead log", "measured: 566";
        REVOCATION_MEMORY = 69.0 "bytes", "a live revocation in an instance", "`cargo bench --bench revocations`";
        MESSAGE_MICROS = 4.0 "µs", "Redis CPU of a message, for each subscriber", "measured: 3.99 and 4.02";
        POLL_INTERVAL = 0.25 "s", "time between two polls, ± 10 %", "the change feed";
        POLL_SPACING = 0.020 "s", "minimum time between two polls that messages cause", "the change feed";
        FLUSH_INTERVAL = 0.25 "s", "`writer.flush_interval`", "the default";
        MAX_BATCH = 1000.0 "records", "`writer.max_batch`", "the default";
        PARTITION = 21600.0 "s", "a partition of token records covers", "`src/db/partitions.rs`";
        LAST_USED_PRECISION = 60.0 "s", "uses of a secret within this time are counted as one", "the writer of last uses";
        LAST_USED_INTERVAL = 15.0 "s", "an instance writes last uses every", "the writer of last uses";
    }
}
