//! Logs: env_logger writes them, as text for people or JSON lines for machines; `RUST_LOG` sets the
//! levels.
//!
//! Events of other crates below `warn` are dropped: at `debug` or `trace`, some of them contain
//! what a client sent, and a credential must not reach a log at any level (G8). Events of the HTTP
//! parser are dropped entirely: it logs each malformed request as an error, so anyone could fill
//! the disk.

use std::ffi::OsString;
use std::io::Write;

use env_logger::{Builder, Logger};
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, Log, Metadata, Record};
use serde::Serialize;

use crate::clock::Clock;
use crate::config::LogFormat;

/// The levels if `RUST_LOG` does not set them.
const DEFAULT_LEVELS: &str = "info";

/// Starts the logger; what is logged before is lost.
pub fn start(format: LogFormat, clock: Clock) {
    let levels = levels(std::env::var_os("RUST_LOG"));
    let mut builder = Builder::new();
    builder.parse_filters(levels.as_deref().unwrap_or(DEFAULT_LEVELS));
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
    if levels.is_none() {
        log::warn!("rust_log ignored");
    }
}

/// The levels that `RUST_LOG` sets; `None` if it is malformed. env_logger would print its value.
fn levels(variable: Option<OsString>) -> Option<String> {
    let Some(text) = variable else {
        return Some(DEFAULT_LEVELS.to_owned());
    };
    let text = text.into_string().ok()?;
    env_filter::Builder::new().try_parse(&text).is_ok().then_some(text)
}

/// env_logger, without events of other crates below `warn`.
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

/// `TIME LEVEL message key=value …`: the message is fixed, so variable values are in the fields
/// only.
fn text_line(record: &Record<'_>, clock: &Clock) -> String {
    let mut line = format!("{} {:5} ", clock.now(), record.level());
    push_on_one_line(&mut line, &record.args().to_string());
    let mut fields = TextFields(line);
    // The visitor never fails.
    let _ = record.key_values().visit(&mut fields);
    fields.0 + "\n"
}

/// Appends ` key=value` for each field.
struct TextFields(String);

impl<'kvs> VisitSource<'kvs> for TextFields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        if is_absent(&value) {
            return Ok(());
        }
        let value = value.to_string();
        self.0.push(' ');
        self.0.push_str(key.as_str());
        self.0.push('=');
        // Unquoted, a client id with a space or a line break could forge fields or lines of its
        // own.
        let bare = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
        match !value.is_empty() && value.bytes().all(bare) {
            true => self.0.push_str(&value),
            false => self.0.push_str(&format!("{value:?}")),
        }
        Ok(())
    }
}

/// Whether this is `None`: the field is left out.
fn is_absent(value: &Value<'_>) -> bool {
    struct Absent(bool);
    impl<'v> VisitValue<'v> for Absent {
        fn visit_any(&mut self, _: Value<'_>) -> Result<(), kv::Error> {
            Ok(())
        }

        fn visit_null(&mut self) -> Result<(), kv::Error> {
            self.0 = true;
            Ok(())
        }
    }
    let mut absent = Absent(false);
    value.visit(&mut absent).is_ok() && absent.0
}

/// Messages of other crates may have line breaks, with which a caller could write lines of its own.
fn push_on_one_line(line: &mut String, message: &str) {
    line.extend(message.chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
}

/// One object on one line: `time`, `level`, `target`, `message`, and a member for each field.
fn json_line(record: &Record<'_>, clock: &Clock) -> String {
    let mut members = JsonMembers(String::new());
    members.push("time", &clock.now().to_string());
    members.push("level", record.level().as_str());
    members.push("target", record.target());
    members.push("message", &record.args().to_string());
    // The visitor never fails.
    let _ = record.key_values().visit(&mut members);
    format!("{{{}}}\n", members.0)
}

/// Members of an object, in the order in which they are added.
struct JsonMembers(String);

impl JsonMembers {
    fn push<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        let (name, value) = (serde_json::to_string(name), serde_json::to_string(value));
        let separator = if self.0.is_empty() { "" } else { "," };
        if let (Ok(name), Ok(value)) = (name, value) {
            self.0 += &format!("{separator}{name}:{value}");
        }
    }
}

impl<'kvs> VisitSource<'kvs> for JsonMembers {
    /// Numbers and booleans stay what they are; everything else is text.
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let name = key.as_str();
        if matches!(name, "time" | "level" | "target" | "message") {
            // Two members of one name are read differently by different readers.
            return Ok(());
        }
        if is_absent(&value) {
            return Ok(());
        }
        if let Some(number) = value.to_i64() {
            self.push(name, &number);
        } else if let Some(number) = value.to_u64() {
            self.push(name, &number);
        } else if let Some(truth) = value.to_bool() {
            self.push(name, &truth);
        } else {
            self.push(name, &value.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::UnixMillis;

    fn metadata(target: &str, level: Level) -> Metadata<'_> {
        Metadata::builder().target(target).level(level).build()
    }

    #[test]
    fn g8_malformed_levels_are_ignored() {
        use std::os::unix::ffi::OsStringExt;
        let of = |text: &[u8]| levels(Some(OsString::from_vec(text.to_vec())));
        assert_eq!(levels(None).as_deref(), Some("info"));
        for levels in ["", "warn", "mintage=debug,info", "off"] {
            assert_eq!(of(levels.as_bytes()).as_deref(), Some(levels));
        }
        for malformed in ["hunter2=loud", "a=b=c", "info/a/b"] {
            assert_eq!(of(malformed.as_bytes()), None, "{malformed}");
        }
        assert_eq!(of(b"\xe9"), None);
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

    /// The line of a record with these fields, as text and as JSON.
    fn lines(message: &str, fields: &[(&str, Value<'_>)]) -> [String; 2] {
        let clock = Clock::mock(UnixMillis(0));
        [text_line, json_line].map(|write| {
            write(
                &Record::builder()
                    .level(Level::Info)
                    .target("mintage")
                    .args(format_args!("{message}"))
                    .key_values(&fields)
                    .build(),
                &clock,
            )
        })
    }

    #[test]
    fn a_message_stays_on_its_line() {
        for line in lines("a\nb\"\r", &[("client", Value::from("c\nd\r"))]) {
            assert_eq!(line.matches('\n').count(), 1, "{line}");
        }
        assert_eq!(lines("x", &[])[0], "1970-01-01T00:00:00.000Z INFO  x\n");
    }

    #[test]
    fn a_field_is_key_and_value_as_text_and_a_member_as_json() {
        let fields = [
            ("client", Value::from("demo")),
            ("count", Value::from(3)),
            ("ready", Value::from(true)),
        ];
        let [text, json] = lines("client seen", &fields);
        assert!(
            text.ends_with("INFO  client seen client=demo count=3 ready=true\n"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = serde_json::json!({"time": "1970-01-01T00:00:00.000Z", "level": "INFO", "target": "mintage",
            "message": "client seen", "client": "demo", "count": 3, "ready": true});
        assert_eq!(json, expected);
    }

    #[test]
    fn a_value_cannot_forge_a_field() {
        for forged in ["a client_ip=192.0.2.1", "a=b", "a\"", "a\\", "", "ä", "a\u{7f}"] {
            let [text, _] = lines("x", &[("client", Value::from(forged))]);
            assert!(text.ends_with(&format!(" client={forged:?}\n")), "{text}");
        }
    }

    #[test]
    fn a_field_without_a_value_is_left_out() {
        let [text, json] = lines("x", &[("client", Value::null()), ("count", Value::from(0))]);
        assert!(text.ends_with("INFO  x count=0\n"), "{text}");
        assert!(!json.contains("client"), "{json}");
    }

    #[test]
    fn a_field_does_not_replace_what_every_line_has() {
        let [_, json] = lines("x", &[("level", Value::from("ERROR"))]);
        assert!(json.contains("\"level\":\"INFO\""), "{json}");
    }
}
