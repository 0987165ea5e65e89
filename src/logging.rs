//! Logs: env_logger writes them, as text for people or JSON lines for machines; `RUST_LOG` sets the levels.
//!
//! The crates underneath are never let below `warn`: at `debug` or `trace` some of them write out what a client
//! sent, and a credential must not reach a log at any level (G8). Of the HTTP parser nothing is let through at all:
//! it reports each malformed request as an error, so that any stranger could fill the disk.

use std::io::Write;

use env_logger::{Builder, Env, Logger};
use log::{Level, Log, Metadata, Record};
use serde::Serialize;

use crate::clock::Clock;
use crate::config::LogFormat;

/// Starts the logger; what is logged before is lost.
pub fn start(format: LogFormat, clock: Clock) {
    let mut builder = Builder::from_env(Env::default().default_filter_or("info"));
    builder.format(move |out, record| {
        let line = match format {
            LogFormat::Text => text_line(record, &clock),
            LogFormat::Json => json_line(record, &clock),
        };
        out.write_all(line.as_bytes())
    });
    let logger = builder.build();
    let most = logger.filter();
    // A second start, as tests do it, keeps the first logger.
    if log::set_boxed_logger(Box::new(Guarded(logger))).is_ok() {
        log::set_max_level(most);
    }
}

/// env_logger, with other crates held at `warn` and above.
struct Guarded(Logger);

impl Guarded {
    fn allows(metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        target.starts_with("mintage") || metadata.level() <= Level::Warn && !target.starts_with("actix_http")
    }
}

impl Log for Guarded {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        Self::allows(metadata) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if Self::allows(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

fn text_line(record: &Record<'_>, clock: &Clock) -> String {
    // A line break in a message would let whoever caused it write lines of their own.
    let message = record.args().to_string().replace(['\n', '\r'], " ");
    format!("{} {:5} {message}\n", clock.now(), record.level())
}

fn json_line(record: &Record<'_>, clock: &Clock) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        level: &'a str,
        target: &'a str,
        message: String,
    }
    let line = Line {
        time: clock.now().to_string(),
        level: record.level().as_str(),
        target: record.target(),
        message: record.args().to_string(),
    };
    serde_json::to_string(&line).expect("a line is made of strings") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixMillis;

    fn metadata(target: &str, level: Level) -> Metadata<'_> {
        Metadata::builder().target(target).level(level).build()
    }

    #[test]
    fn g8_other_crates_are_held_at_warn() {
        assert!(!Guarded::allows(&metadata("actix_http::h1", Level::Trace)));
        assert!(!Guarded::allows(&metadata("actix_http::h1", Level::Debug)));
        assert!(!Guarded::allows(&metadata("actix_http::h1::dispatcher", Level::Error)));
        assert!(!Guarded::allows(&metadata("actix_web::route", Level::Debug)));
        assert!(!Guarded::allows(&metadata("actix_server::worker", Level::Info)));
        assert!(Guarded::allows(&metadata("actix_server::worker", Level::Warn)));
        assert!(Guarded::allows(&metadata("mintage::http", Level::Trace)));
    }

    #[test]
    fn a_message_stays_on_its_line() {
        let clock = Clock::mock(UnixMillis(0));
        let record = |args: &str| {
            let mut lines = Vec::new();
            for write in [text_line, json_line] {
                lines.push(write(
                    &Record::builder()
                        .level(Level::Info)
                        .target("mintage")
                        .args(format_args!("{args}"))
                        .build(),
                    &clock,
                ));
            }
            lines
        };
        for line in record("a\nb\"\r") {
            assert_eq!(line.matches('\n').count(), 1, "{line}");
        }
        assert_eq!(record("x")[0], "1970-01-01T00:00:00.000Z INFO  x\n");
    }
}
