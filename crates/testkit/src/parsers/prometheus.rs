//! The metrics that `mintage stats` fetches: from whatever server answers.

use std::fmt::Write;

use mintage::metrics::{Sample, read};

/// A scrape: its names are well formed, and it is the same when it is written and read again.
pub fn prometheus(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let of_any_text = [Sample {
        name: "a:b".to_owned(),
        labels: vec![("c".to_owned(), text.clone().into_owned())],
        value: 1.5,
    }];
    assert_eq!(
        read(&written(&of_any_text)).as_deref(),
        Some(&of_any_text[..]),
        "read as it was written"
    );
    let Some(samples) = read(&text) else {
        return;
    };
    let lines = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#'));
    assert_eq!(samples.len(), lines.count(), "a sample for each line");
    for sample in &samples {
        assert!(is_name(&sample.name, true), "{sample:?}");
        assert!(sample.labels.iter().all(|(name, _)| is_name(name, false)), "{sample:?}");
    }
    let again = read(&written(&samples)).expect("what is written is read");
    // Not compared as numbers: NaN is not itself.
    assert_eq!(format!("{again:?}"), format!("{samples:?}"));
}

/// Of a metric, with colons, or of a label.
fn is_name(name: &str, of_metric: bool) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || of_metric && c == ':';
    name.chars().all(good) && name.starts_with(|first: char| !first.is_ascii_digit())
}

fn written(samples: &[Sample]) -> String {
    let mut text = String::new();
    for Sample { name, labels, value } in samples {
        let label = |(name, value): &(String, String)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        };
        let labels: Vec<String> = labels.iter().map(label).collect();
        writeln!(text, "{name}{{{}}} {value}", labels.join(",")).unwrap();
    }
    text
}
