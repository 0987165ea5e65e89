//! Files of clients of other servers.

use std::collections::BTreeSet;

use mintage::cli::{Inspected, inspect};
use serde_json::Value;

use crate::sample::NOW;

/// Shorter texts occur in reports by chance.
const MIN_SECRET: usize = 6;

/// Members that hold a secret or a hash of one.
const SECRETS: [&str; 3] = ["client_secret", "secret", "client.secret.rotated"];

/// Ory Hydra's clients.
pub fn import_hydra(data: &[u8]) {
    from_json("hydra", data);
}

/// A realm export of Keycloak.
pub fn import_keycloak(data: &[u8]) {
    from_json("keycloak", data);
}

fn from_json(format: &str, data: &[u8]) {
    let Some(inspected) = inspected(format, data) else {
        return;
    };
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let documents: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(text).into_iter().collect();
    let mut documents = documents.expect("what is accepted is JSON");
    let mut secrets = BTreeSet::new();
    documents
        .iter_mut()
        .for_each(|document| replace(document, &mut secrets));
    let replaced: Vec<String> = documents.iter().map(Value::to_string).collect();
    assert_prints_none(format, &inspected, &secrets, replaced.join("\n").as_bytes());
}

/// Replaces every secret, and collects those that were there.
fn replace(value: &mut Value, secrets: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, secrets)),
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(secret) if SECRETS.contains(&name.as_str()) => {
                        let other = other(secret);
                        secrets.insert(std::mem::replace(secret, other));
                    }
                    other => replace(other, secrets),
                }
            }
        }
        _ => {}
    }
}

/// A CSV file.
pub fn import_csv(data: &[u8]) {
    let Some(inspected) = inspected("csv", data) else {
        return;
    };
    let text = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let head = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let delimiter = if head.contains(&b';') && !head.contains(&b',') {
        b';'
    } else {
        b','
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(text);
    let mut writer = csv::WriterBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_writer(Vec::new());
    let mut columns: Option<Vec<bool>> = None;
    let (mut secrets, mut rows) = (BTreeSet::new(), 0);
    for record in reader.byte_records() {
        let record = record.expect("what is accepted is CSV");
        let Some(columns) = &columns else {
            let is_secret = |name: &[u8]| [&b"secret"[..], b"secret_hash"].contains(&name.trim_ascii());
            columns = Some(record.iter().map(is_secret).collect());
            writer.write_byte_record(&record).unwrap();
            continue;
        };
        rows += 1;
        let cells = record
            .iter()
            .enumerate()
            .map(|(column, cell)| match std::str::from_utf8(cell) {
                Ok(secret) if columns.get(column) == Some(&true) => {
                    secrets.insert(secret.to_owned());
                    other(secret).into_bytes()
                }
                _ => cell.to_vec(),
            });
        let cells: Vec<Vec<u8>> = cells.collect();
        writer.write_record(cells).unwrap();
    }
    assert_eq!(inspected.entries, rows, "an entry for each row");
    assert_prints_none("csv", &inspected, &secrets, &writer.into_inner().unwrap());
}

/// Reads the file; `None` when it is rejected as a whole.
fn inspected(format: &str, data: &[u8]) -> Option<Inspected> {
    let inspected = match inspect(format, data, NOW) {
        Ok(inspected) => inspected,
        Err(why) => {
            let why = why.to_string();
            let known = [
                "the file is not JSON: see line ",
                "the file cannot be read as CSV",
                "the file is empty",
                "the file has more than 20000 clients: import them in parts",
                "column ",
                "there are two columns ",
                "there is no column ",
            ];
            assert!(known.iter().any(|known| why.starts_with(known)), "{why:?}");
            assert!(why.len() < 120 && why.is_ascii(), "{why:?} quotes the file");
            return None;
        }
    };
    let Inspected {
        entries,
        accepted,
        skipped,
        rejected,
        ..
    } = inspected;
    assert_eq!(accepted + skipped + rejected, entries, "each entry is one of the three");
    let report: Value = serde_json::from_str(&inspected.json).expect("the report is JSON");
    let lists = report.as_object().unwrap().values().filter_map(Value::as_array);
    assert_eq!(
        lists.map(Vec::len).sum::<usize>(),
        entries,
        "each entry is in the report"
    );
    let printable = inspected.text.chars().all(|c| c == '\n' || !c.is_control());
    assert!(printable, "the terminal takes it for a command: {:?}", inspected.text);
    Some(inspected)
}

/// That no secret is printed: a report holds one if it does not hold it any more when the file has
/// another instead. The ids of clients are printed, and may be the same texts.
fn assert_prints_none(format: &str, inspected: &Inspected, secrets: &BTreeSet<String>, replaced: &[u8]) {
    let Ok(other) = inspect(format, replaced, NOW) else {
        return;
    };
    for secret in secrets.iter().filter(|secret| secret.len() >= MIN_SECRET) {
        for (printed, other) in [(&inspected.json, &other.json), (&inspected.text, &other.text)] {
            assert!(
                !printed.contains(secret) || other.contains(secret),
                "{secret:?} is in {printed}"
            );
        }
    }
}

/// A text like this one, and nowhere the same: every letter and digit is the next one. Hashes keep
/// their prefix, or they would be rejected for another reason.
fn other(secret: &str) -> String {
    let next = |c: char| match c {
        'z' => 'a',
        'Z' => 'A',
        '9' => '0',
        'a'..='y' | 'A'..='Y' | '0'..='8' => char::from(c as u8 + 1),
        other => other,
    };
    let kept = secret.rfind('$').map_or(0, |at| at + 1);
    let (prefix, rest) = secret.split_at(kept);
    prefix.chars().chain(rest.chars().map(next)).collect()
}
