//! The Prometheus text format, version 0.0.4: written by the server, parsed by `mintage stats`.

use std::fmt::Write;

use super::histogram::HistogramCounts;

/// A metric: its name, help text and type.
#[derive(Debug)]
pub struct Metric {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: &'static str,
}

/// The media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text under construction.
#[derive(Debug, Default)]
pub struct Text(String);

/// The samples of one metric, which must be adjacent in the text.
pub struct Family<'t> {
    text: &'t mut String,
    name: &'static str,
}

impl Text {
    /// Begins a metric.
    pub fn family(&mut self, metric: &Metric) -> Family<'_> {
        let Metric { name, help, kind } = metric;
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            text: &mut self.0,
            name,
        }
    }

    /// Writes a metric that has one sample.
    pub fn single(&mut self, metric: &Metric, value: f64) {
        self.family(metric).sample(&[], value);
    }

    /// The whole text.
    pub fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Writes a sample.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.line("", labels, None, value);
    }

    /// Writes the samples of a histogram.
    pub fn histogram(&mut self, labels: &[(&str, &str)], counts: &HistogramCounts) {
        for (bound, count) in counts.cumulative() {
            self.line("_bucket", labels, Some(bound), count as f64);
        }
        self.line("_sum", labels, None, counts.seconds());
        self.line("_count", labels, None, counts.count() as f64);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], bound: Option<f64>, value: f64) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let mut before = '{';
        for (label, value) in labels {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{before}{label}=\"{value}\"");
            before = ',';
        }
        match bound {
            Some(f64::INFINITY) => {
                let _ = write!(self.text, "{before}le=\"+Inf\"}}");
            }
            Some(bound) => {
                let _ = write!(self.text, "{before}le=\"{bound}\"}}");
            }
            None if labels.is_empty() => {}
            None => self.text.push('}'),
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// A sample: one line of the text.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The metric's name; for a histogram, with its suffix.
    pub name: String,
    /// The labels, in the order of the text.
    pub labels: Vec<(String, String)>,
    /// The value.
    pub value: f64,
}

impl Sample {
    /// The value of the label with this name.
    pub fn label(&self, name: &str) -> Option<&str> {
        let (_, value) = self.labels.iter().find(|(known, _)| known == name)?;
        Some(value)
    }
}

/// Parses a text. `None` if it is malformed.
pub fn read(text: &str) -> Option<Vec<Sample>> {
    let lines = text.lines().map(str::trim);
    let samples = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    samples.map(read_sample).collect()
}

fn read_sample(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let well_formed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if name.is_empty() || !name.chars().all(well_formed) {
        return None;
    }
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, quoted) = rest.split_once("=\"")?;
            let (value, after) = read_quoted(quoted)?;
            labels.push((label.trim_start_matches([',', ' ']).to_owned(), value));
            rest = after;
        }
        rest = &rest[1..];
    }
    // A timestamp may follow the value.
    let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// The value up to its closing quote, and the rest of the text.
fn read_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SOME: Metric = Metric {
        name: "some",
        help: "Some.",
        kind: "gauge",
    };

    #[test]
    fn a_metric_is_written_in_the_text_format() {
        let mut text = Text::default();
        text.single(&SOME, 1.5);
        text.family(&SOME).sample(&[("a", "b"), ("c", "\"\\\n")], 2.0);
        let expected = "# HELP some Some.\n# TYPE some gauge\n";
        assert_eq!(
            text.finish(),
            format!("{expected}some 1.5\n{expected}some{{a=\"b\",c=\"\\\"\\\\\\n\"}} 2\n")
        );
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_infinity() {
        let (mut text, mut counts) = (Text::default(), HistogramCounts::default());
        counts.observe(Duration::from_micros(20));
        counts.observe(Duration::from_secs(6));
        text.family(&SOME).histogram(&[("route", "/token")], &counts);
        let text = text.finish();
        assert!(text.contains("some_bucket{route=\"/token\",le=\"0.00001\"} 0\n"));
        assert!(text.contains("some_bucket{route=\"/token\",le=\"0.00002\"} 1\n"));
        assert!(text.contains("some_bucket{route=\"/token\",le=\"+Inf\"} 2\n"));
        assert!(text.ends_with("some_sum{route=\"/token\"} 6.00002\nsome_count{route=\"/token\"} 2\n"));
    }

    #[test]
    fn written_text_is_parsed() {
        let (mut text, mut counts) = (Text::default(), HistogramCounts::default());
        counts.observe(Duration::from_micros(20));
        let odd = "a\"b\\c\nd,e=\"f}";
        text.family(&SOME).sample(&[("x", odd), ("y", "")], f64::INFINITY);
        text.family(&SOME).histogram(&[], &counts);
        let samples = read(&text.finish()).unwrap();
        assert_eq!((samples[0].label("x"), samples[0].label("y")), (Some(odd), Some("")));
        assert_eq!(samples[0].value, f64::INFINITY);
        assert_eq!(samples.iter().filter(|sample| sample.name == "some_bucket").count(), 21);
        assert_eq!(samples[21].label("le"), Some("+Inf"));
    }

    #[test]
    fn malformed_text_is_not_parsed() {
        for bad in [
            "<html>",
            "a",
            "a{",
            "a{b} 1",
            "a{b=\"c\" 1",
            "a{b=\"c\\",
            "a x",
            "{a=\"b\"} 1",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read("# a comment\n\na 1 1700000000000\n").unwrap()[0].value, 1.0);
    }
}
