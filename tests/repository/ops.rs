//! `ops/` and the documents about it: the metrics, labels and paths that they name must exist.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mintage::actors::client_cache::MEAN_CLIENT;
use mintage::config::Config;
use mintage::records::queue::MEAN_RECORD;
use mintage::server::{CONNECTION_BUFFERS, MAX_HELD};
use serde_json::Value;
use testkit::TestApp;
use testkit::scrape::Scrape;
use testkit::token::{about_token, token_request};

const ALERTS: &str = include_str!("../../ops/alerts.yml");
const DASHBOARD: &str = include_str!("../../ops/grafana.json");
const UNIT: &str = include_str!("../../ops/mintage.service");
const KUBERNETES: &str = include_str!("../../ops/kubernetes.yaml");
const OPERATIONS: &str = include_str!("../../docs/operations.md");
const METRICS: &str = include_str!("../../docs/metrics.md");

/// A scrape of a server that has issued and revoked a token and denied a secret.
fn scrape() -> Scrape {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    app.send(about_token("/revoke", &client, &token));
    app.send(token_request(&client.with_secret("wrong"), &[]));
    Scrape::of(app.address)
}

/// The names of Mintage metrics in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("mintage_")).collect()
}

/// Whether a scrape declares this metric. It may have no samples, such as those of replicas that
/// are not configured.
fn exists(scrape: &Scrape, name: &str) -> bool {
    let of_histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .any(|base| scrape.0.contains(&format!("# TYPE {base} histogram\n")));
    of_histogram || scrape.names().contains(name)
}

#[track_caller]
fn assert_all_exist(text: &str, at_least: usize) {
    let (scrape, named) = (scrape(), named(text));
    assert!(named.len() >= at_least, "{named:?}");
    for name in named {
        assert!(exists(&scrape, name), "{name} does not exist");
    }
}

/// Runs a tool with `input`.
fn run(tool: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{tool}: {error}: scripts/test installs it"));
    // The tool may exit before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn every_metric_in_an_alert_exists() {
    assert_all_exist(ALERTS, 12);
}

#[test]
fn every_metric_in_the_dashboard_exists() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(expressions.iter().all(|expression| !named(expression).is_empty()));
    assert_all_exist(&expressions.join("\n"), 30);
}

/// The quoted values that `label` is compared with in a text, split at `|`.
fn label_values<'t>(text: &'t str, label: &str) -> BTreeSet<&'t str> {
    let after = text.split([',', '{']).filter_map(|part| part.strip_prefix(label));
    let quoted = after.filter_map(|part| part.trim_start_matches(['=', '~']).strip_prefix('"')?.split('"').next());
    quoted.flat_map(|values| values.split('|')).collect()
}

#[test]
fn routes_and_reasons_in_alerts_and_dashboard_exist() {
    let scrape = scrape();
    let text = format!("{ALERTS}{}", DASHBOARD.replace("\\\"", "\""));
    for (label, at_least) in [("route", 1), ("reason", 4)] {
        let values = label_values(&text, label);
        assert!(values.len() >= at_least, "{values:?}");
        for value in values {
            assert!(scrape.0.contains(&format!("{label}=\"{value}\"")), "{label} {value}");
        }
    }
}

/// `docs/metrics.md` describes exactly the metrics that exist.
#[test]
fn every_metric_is_documented_and_every_documented_metric_exists() {
    let scrape = scrape();
    let described = named(METRICS);
    for name in scrape.names() {
        assert!(described.contains(name), "{name} is not in docs/metrics.md");
    }
    for name in described {
        assert!(exists(&scrape, name), "{name} does not exist");
    }
}

#[test]
fn prometheus_can_read_the_rules() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/alerts.yml");
    let output = run("promtool", &["check", "rules", path], "");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn prometheus_can_read_a_scrape() {
    let output = run("promtool", &["check", "metrics"], &scrape().0);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
}

#[test]
fn systemd_can_read_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mintage.service");
    let installed = "/usr/bin/mintage --config";
    assert!(UNIT.contains(&format!("ExecStart={installed}")));
    let built = format!("{} --config", env!("CARGO_BIN_EXE_mintage"));
    std::fs::write(&path, UNIT.replace(installed, &built)).unwrap();
    let output = run("systemd-analyze", &["verify", "--man=no", path.to_str().unwrap()], "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.is_empty(), "{stderr}");
    assert!(UNIT.contains("\nType=notify\n"));
}

/// A reader must not assume that these files are tested as a whole. What is tested is in tests/packaging.
#[test]
fn files_that_no_test_runs_as_a_whole_say_so_in_their_first_line() {
    for text in [
        include_str!("../../ops/Dockerfile"),
        include_str!("../../ops/compose.yaml"),
        KUBERNETES,
    ] {
        let first = text.lines().next().unwrap();
        assert!(
            first.starts_with("# Tests ") && first.contains("run by no test"),
            "{first}"
        );
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["description"].as_str().unwrap().contains("run by no test"));
}

/// The address ranges in a text, with their prefix lengths.
fn ranges(text: &str) -> Vec<(&str, u32)> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit() && !".:/".contains(c));
    let range = |word: &'_ str| -> Option<u32> {
        let (address, length) = word.split_once('/')?;
        address.parse::<std::net::IpAddr>().ok()?;
        length.parse().ok()
    };
    words
        .filter_map(|word| range(word).map(|length| (word, length)))
        .collect()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn no_file_trusts_a_whole_network() {
    assert_eq!(ranges("x: '[\"10.0.0.0/8\"]'"), [("10.0.0.0/8", 8)]);
    let mut files = Vec::new();
    files_below(concat!(env!("CARGO_MANIFEST_DIR"), "/ops").as_ref(), &mut files);
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        for (range, length) in ranges(&text) {
            let narrowest = if range.contains(':') { 64 } else { 24 };
            assert!(length >= narrowest, "{} has {range}", path.display());
        }
    }
}

#[test]
fn the_chart_installs_the_version_of_this_program() {
    let chart = include_str!("../../ops/chart/Chart.yaml");
    let version = env!("CARGO_PKG_VERSION");
    assert!(chart.contains(&format!("\nappVersion: {version}\n")), "{chart}");
    assert!(chart.contains(&format!("\nversion: {version}\n")), "{chart}");
}

/// The number before the first character that is no digit.
fn leading_number(text: &str) -> usize {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_else(|_| panic!("no number in {text:?}"))
}

#[test]
fn the_memory_limit_of_the_manifest_has_room_for_the_documented_sum() {
    let (_, section) = OPERATIONS.split_once("\n## Memory\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: Vec<(&str, usize)> = section
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, part, _, mib, _] = cells[..] else { return None };
            Some((part, mib.parse().ok()?))
        })
        .collect();
    let documented = |part: &str| rows.iter().find(|row| row.0.starts_with(part)).unwrap().1;
    let sum = documented("sum");
    assert_eq!(rows.iter().map(|row| row.1).sum::<usize>(), 2 * sum, "{rows:?}");
    let value_after = |name: &str| {
        let (_, after) = KUBERNETES.split_once(name).unwrap();
        after.trim_start_matches([' ', '\n', '"', ':']).to_owned()
    };
    let workers = leading_number(&value_after("MINTAGE_SERVER__WORKERS\n              value"));
    let connections = leading_number(&value_after("MINTAGE_SERVER__MAX_CONNECTIONS\n              value"));
    let defaults = Config::default();
    let mib = |bytes: usize| bytes.div_ceil(1 << 20);
    assert_eq!(
        documented("clients in memory"),
        mib(MEAN_CLIENT * defaults.cache.capacity * workers)
    );
    assert_eq!(
        documented("[connections]"),
        mib(CONNECTION_BUFFERS * connections + MAX_HELD)
    );
    assert_eq!(
        documented("token records"),
        mib(MEAN_RECORD * defaults.writer.max_pending)
    );
    let limit = leading_number(&value_after("limits:\n              memory"));
    assert!(sum + sum / 4 <= limit, "{sum} MiB and a quarter in {limit} MiB");
}
