//! CSV: one client per line; the first line names the columns.
//!
//! Errors name a line or a column, never its content: if the header is missing, the first line
//! contains the secret of a client.

use csv::{ByteRecord, ReaderBuilder};

use super::entry::{Entry, ForeignSecret, Machine, NotAccepted, Place};
use crate::api::client_fields::ClientFields;
use crate::time::UnixMillis;

/// The columns. Only `client_id` and `scope` are required.
const COLUMNS: [&str; 17] = [
    "client_id",
    "scope",
    "name",
    "default_scope",
    "audiences",
    "introspection_audiences",
    "auth_methods",
    "ttl_seconds",
    "alg",
    "enabled",
    "default_audience",
    "claims",
    "scope_claim",
    "typ",
    "labels",
    "secret",
    "secret_hash",
];

/// An additional column: when the secret expires.
const SECRET_EXPIRES_AT: &str = "secret_expires_at";

/// Parses all clients of a file.
///
/// # Errors
/// When the first line does not name the columns, or the file is not CSV.
pub fn entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let head = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    // Where the decimal separator is a comma, spreadsheets write semicolons.
    let delimiter = if head.contains(&b';') && !head.contains(&b',') {
        b';'
    } else {
        b','
    };
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes);
    let mut records = reader.byte_records();
    let no_csv = || "the file cannot be read as CSV".to_owned();
    let header = records.next().ok_or("the file is empty")?.map_err(|_| no_csv())?;
    let columns = columns(&header)?;
    let (mut entries, mut lines) = (Vec::new(), Lines::of(bytes));
    for record in records {
        let record = record.map_err(|_| no_csv())?;
        let begin = record.position().map_or(0, csv::Position::byte);
        entries.push(entry(lines.number(begin as usize), &columns, &record));
    }
    Ok(entries)
}

/// Counts lines as an editor does. The library counts neither the end of a `\r\n` nor the empty
/// lines before a record.
struct Lines<'a> {
    bytes: &'a [u8],
    counted: usize,
    number: u64,
}

impl<'a> Lines<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            counted: 0,
            number: 1,
        }
    }

    /// The line of the record at byte `begin`; line ends before it are skipped. Calls must be in
    /// ascending order.
    fn number(&mut self, begin: usize) -> u64 {
        while let Some(byte) = self.bytes.get(self.counted) {
            if self.counted >= begin && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.number += u64::from(*byte == b'\n');
            self.counted += 1;
        }
        self.number
    }
}

fn columns(header: &ByteRecord) -> Result<Vec<&'static str>, String> {
    const SEE: &str = "the first line must name the columns, see docs/import.md";
    let mut columns: Vec<&'static str> = Vec::new();
    for (number, name) in (1..).zip(header) {
        let known = COLUMNS.into_iter().chain([SECRET_EXPIRES_AT]);
        let column = known.into_iter().find(|column| column.as_bytes() == name.trim_ascii());
        let column = column.ok_or_else(|| match name.trim_ascii() {
            b"serves" => format!("column {number}: `serves` is now `introspection_audiences`"),
            _ => format!("column {number} has no known name: {SEE}"),
        })?;
        if columns.contains(&column) {
            return Err(format!("column {column} appears twice: {SEE}"));
        }
        columns.push(column);
    }
    match ["client_id", "scope"].into_iter().find(|name| !columns.contains(name)) {
        Some(missing) => Err(format!("column {missing} is missing: {SEE}")),
        None => Ok(columns),
    }
}

/// A line, accessed by column name.
struct Row<'a> {
    columns: &'a [&'static str],
    values: Vec<&'a str>,
}

impl Row<'_> {
    /// The value of a column; `None` when it is empty or the column does not exist.
    fn get(&self, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|name| *name == column)?;
        self.values.get(place).copied().filter(|value| !value.is_empty())
    }

    /// As [`Row::get`], but tells a column that does not exist, whose member an update keeps, from an
    /// empty value, which is the default.
    fn cell(&self, column: &str) -> Option<Option<&str>> {
        self.columns.contains(&column).then(|| self.get(column))
    }

    /// The space-separated words of a column; `None` if it does not exist.
    fn words(&self, column: &str) -> Option<Vec<String>> {
        let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect();
        self.cell(column).map(|text| text.map(words).unwrap_or_default())
    }
}

fn entry(line: u64, columns: &[&'static str], record: &ByteRecord) -> Entry {
    let values: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
    let mut id = String::new();
    let machine = match values {
        Err(_) => Err("it is not UTF-8".into()),
        Ok(values) if values.len() != columns.len() => {
            Err(format!("it has {} columns, and the first line {}", values.len(), columns.len()).into())
        }
        Ok(values) => {
            let row = Row { columns, values };
            row.get("client_id").unwrap_or_default().clone_into(&mut id);
            machine(&row)
        }
    };
    Entry {
        place: Place::Line(line),
        id,
        machine,
    }
}

fn machine(row: &Row) -> Result<Machine, NotAccepted> {
    let enabled = match row.get("enabled") {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err("enabled must be true or false".into()),
    };
    let ttl_seconds = row.cell("ttl_seconds").map(|text| text.map(str::parse).transpose());
    let claims = row
        .cell("claims")
        .map(|text| text.map(serde_json::from_str).transpose());
    let labels = row
        .cell("labels")
        .map(|text| text.map(serde_json::from_str).transpose());
    let text = |column: &str| row.cell(column).map(|text| text.map(str::to_owned));
    // An empty name is the id.
    let name = |name: Option<&str>| name.or(row.get("client_id")).unwrap_or_default().to_owned();
    let fields = ClientFields {
        client_id: None,
        name: row.cell("name").map(name),
        enabled,
        scope: Some(row.get("scope").unwrap_or_default().to_owned()),
        default_scope: text("default_scope"),
        audiences: row.words("audiences"),
        introspection_audiences: row.words("introspection_audiences"),
        auth_methods: row.words("auth_methods"),
        ttl_seconds: ttl_seconds
            .transpose()
            .map_err(|_| "ttl_seconds must be a whole number")?,
        alg: text("alg"),
        default_audience: text("default_audience"),
        claims: claims.transpose().map_err(|_| "claims must be a JSON object")?,
        scope_claim: text("scope_claim"),
        typ: text("typ"),
        labels: labels
            .transpose()
            .map_err(|_| "labels must be a JSON object of texts")?,
    };
    Ok(Machine {
        fields,
        update: None,
        secrets: vec![secret(row)?],
        warnings: Vec::new(),
    })
}

fn secret(row: &Row) -> Result<ForeignSecret, NotAccepted> {
    let expires_at = row
        .get(SECRET_EXPIRES_AT)
        .map(str::parse::<jiff::Timestamp>)
        .transpose();
    let expires_at = expires_at.map_err(|_| "secret_expires_at must be a time, such as 2027-01-31T00:00:00Z")?;
    let expires_at = expires_at.map(|time| UnixMillis(time.as_millisecond()));
    match (row.get("secret"), row.get("secret_hash")) {
        (Some(secret), None) => ForeignSecret::plain(secret, expires_at),
        (None, Some(hash)) => ForeignSecret::hashed(hash, expires_at),
        (None, None) => Err("it has no secret".into()),
        (Some(_), Some(_)) => Err("it has both a secret and a secret_hash".into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oauth::custom_claims::{CustomClaims, GivenClaims};
    use crate::oauth::labels::GivenLabels;
    use crate::oauth::password_hash::PasswordHash;

    fn read(text: &str) -> Vec<Entry> {
        entries(text.as_bytes()).unwrap_or_else(|wrong| panic!("{wrong}"))
    }

    fn rejection(text: &str) -> String {
        match read(text).remove(0).machine.err() {
            Some(NotAccepted::Rejected(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_with_all_columns_is_read() {
        let hash = PasswordHash::of(&crate::oauth::client_secret::ClientSecret::new("hunter2".into()));
        let header = format!("{},{SECRET_EXPIRES_AT}", COLUMNS.join(","));
        let line = format!(
            "orders,a b,\"Orders, and more\",a,https://a.example urn:b:c,urn:d:e,client_secret_post,60,ES256,false,kafka,\"{{\"\"a\"\":1}}\",scp,JWT,\"{{\"\"team\"\":\"\"x\"\"}}\",,\"{}\",2030-01-01T00:00:00Z",
            hash.text()
        );
        let entry = read(&format!("{header}\r\n{line}\r\n")).remove(0);
        assert_eq!((entry.id.as_str(), entry.place), ("orders", Place::Line(2)));
        let machine = entry.machine.unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let fields = machine.fields;
        assert_eq!(
            (fields.name.as_deref(), fields.enabled),
            (Some("Orders, and more"), Some(false))
        );
        assert_eq!(
            fields.audiences,
            Some(vec!["https://a.example".to_owned(), "urn:b:c".to_owned()])
        );
        assert_eq!(
            (fields.introspection_audiences, fields.ttl_seconds),
            (Some(vec!["urn:d:e".to_owned()]), Some(Some(60)))
        );
        assert_eq!(
            (fields.alg, fields.default_scope),
            (Some(Some("ES256".into())), Some(Some("a".into())))
        );
        let claims = CustomClaims::parse(r#"{"a":1}"#);
        assert_eq!(
            (fields.default_audience, fields.claims),
            (Some(Some("kafka".into())), Some(Some(GivenClaims(claims))))
        );
        assert_eq!(
            (fields.scope_claim, fields.typ),
            (Some(Some("scp".into())), Some(Some("JWT".into())))
        );
        let GivenLabels(labels) = fields.labels.flatten().unwrap();
        assert_eq!(labels.unwrap().object().as_deref(), Some(r#"{"team":"x"}"#));
        assert_eq!(machine.secrets[0].expires_at, Some(UnixMillis(1_893_456_000_000)));
    }

    #[test]
    fn columns_may_be_in_any_order_and_separated_by_semicolons() {
        for text in [
            "secret,scope,client_id\ns,a,orders\n",
            "secret;scope;client_id\ns;a;orders\n",
        ] {
            let entry = read(text).remove(0);
            assert_eq!(entry.id, "orders");
            assert_eq!(entry.machine.ok().unwrap().fields.scope.as_deref(), Some("a"));
        }
    }

    #[test]
    fn lines_are_counted_as_in_an_editor() {
        let text = "client_id,scope,secret,name\na,x,s,\"two\nlines\"\n\nb,x,s,n\n";
        let places: Vec<Place> = read(text).iter().map(|entry| entry.place).collect();
        assert_eq!(places, [Place::Line(2), Place::Line(5)]);
    }

    #[test]
    fn g8_a_missing_header_is_rejected_without_showing_the_first_line() {
        for text in [
            "",
            "orders,a,hunter2\n",
            "client_id,secret\n",
            "client_id,scope,secret,secret\n",
        ] {
            let wrong = entries(text.as_bytes()).err().unwrap();
            assert!(!wrong.contains("hunter2") && !wrong.contains("orders"), "{wrong}");
        }
    }

    #[test]
    fn the_former_name_of_a_column_is_rejected_with_a_hint() {
        let wrong = entries(b"client_id,scope,secret,serves\n").err().unwrap();
        assert_eq!(wrong, "column 4: `serves` is now `introspection_audiences`");
    }

    proptest! {
        #[test]
        fn any_bytes_are_handled(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[a,;\"\r\n]{0,60}") {
            let _ = entries(&bytes);
            let header = "client_id,scope,secret\n";
            if let Ok(found) = entries(format!("{header}{text}").as_bytes()) {
                let lines = text.lines().count() as u64 + 1;
                for entry in found {
                    prop_assert!(matches!(entry.place, Place::Line(line) if (2..=lines).contains(&line)));
                }
            }
        }
    }

    #[test]
    fn invalid_lines_are_rejected() {
        for (line, reason) in [
            ("orders,a,", "no secret"),
            ("orders,a", "2 columns"),
            ("orders,a,s,x", "4 columns"),
        ] {
            let found = rejection(&format!("client_id,scope,secret\n{line}\n"));
            assert!(found.contains(reason), "{found}");
        }
        for (column, value, reason) in [
            ("enabled", "yes", "true or false"),
            ("ttl_seconds", "1h", "whole number"),
            ("labels", "team=x", "JSON object"),
            ("secret_expires_at", "soon", "must be a time"),
            ("secret_hash", "$2b$04$", "both"),
        ] {
            let found = rejection(&format!("client_id,scope,secret,{column}\norders,a,s,{value}\n"));
            assert!(found.contains(reason), "{found}");
        }
        let bad = entries(b"client_id,scope,secret\n\xff,a,s\n").unwrap().remove(0);
        assert_eq!(bad.machine.err(), Some(NotAccepted::Rejected("it is not UTF-8".into())));
    }
}
