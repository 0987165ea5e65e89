//! `ops/` and the pages about it: what they name must be there.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use testkit::TestApp;
use testkit::http::Request;
use testkit::scrape::Scrape;
use testkit::token::token_request;

const ALERTS: &str = include_str!("../../ops/alerts.yml");
const DASHBOARD: &str = include_str!("../../ops/grafana.json");
const UNIT: &str = include_str!("../../ops/mintage.service");
const METRICS: &str = include_str!("../../docs/metrics.md");

/// A scrape of a server that has done a little of everything.
fn scrape() -> Scrape {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[]);
    app.send(Request::post("/revoke").basic(&client).form(&[("token", &token)]));
    app.send(token_request(&client.with_secret("wrong"), &[]));
    Scrape::of(app.address)
}

/// The words of a text that are names of our metrics.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("mintage_")).collect()
}

/// Whether a scrape has samples of this name, or at least declares it (replicas are there for who has some).
fn is_there(scrape: &Scrape, name: &str) -> bool {
    let of_histogram = ["_bucket", "_sum", "_count"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .any(|base| scrape.0.contains(&format!("# TYPE {base} histogram\n")));
    of_histogram || scrape.names().contains(name)
}

#[track_caller]
fn assert_all_there(text: &str, at_least: usize) {
    let (scrape, named) = (scrape(), named(text));
    assert!(named.len() >= at_least, "{named:?}");
    for name in named {
        assert!(is_there(&scrape, name), "there is no {name}");
    }
}

/// Runs a tool with `input`; `None` where it is not installed.
fn run(tool: &str, arguments: &[&str], input: &str) -> Option<Output> {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    // It may have seen enough before the end.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    Some(child.wait_with_output().unwrap())
}

#[test]
fn every_metric_that_an_alert_names_is_there() {
    assert_all_there(ALERTS, 12);
}

#[test]
fn every_metric_that_the_dashboard_names_is_there() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let expressions: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
    assert!(expressions.iter().all(|expression| !named(expression).is_empty()));
    assert_all_there(&expressions.join("\n"), 30);
}

/// What stands in quotes after `label` in a text, taken apart at `|`.
fn compared<'t>(text: &'t str, label: &str) -> BTreeSet<&'t str> {
    let after = text.split([',', '{']).filter_map(|part| part.strip_prefix(label));
    let quoted = after.filter_map(|part| part.trim_start_matches(['=', '~']).strip_prefix('"')?.split('"').next());
    quoted.flat_map(|values| values.split('|')).collect()
}

#[test]
fn routes_and_reasons_that_they_look_for_are_there() {
    let scrape = scrape();
    let text = format!("{ALERTS}{}", DASHBOARD.replace("\\\"", "\""));
    for (label, at_least) in [("route", 1), ("reason", 4)] {
        let values = compared(&text, label);
        assert!(values.len() >= at_least, "{values:?}");
        for value in values {
            assert!(scrape.0.contains(&format!("{label}=\"{value}\"")), "{label} {value}");
        }
    }
}

/// `docs/metrics.md` describes what there is, and nothing else.
#[test]
fn every_metric_is_described_and_every_described_one_is_there() {
    let scrape = scrape();
    let described = named(METRICS);
    for name in scrape.names() {
        assert!(described.contains(name), "{name} is not in docs/metrics.md");
    }
    for name in described {
        assert!(is_there(&scrape, name), "there is no {name}");
    }
}

#[test]
fn prometheus_can_read_the_rules() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/ops/alerts.yml");
    let Some(checked) = run("promtool", &["check", "rules", path], "") else {
        return eprintln!("promtool is not installed: scripts/test gets it");
    };
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn prometheus_can_read_a_scrape() {
    let Some(checked) = run("promtool", &["check", "metrics"], &scrape().0) else {
        return eprintln!("promtool is not installed: scripts/test gets it");
    };
    let complaints = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success() && complaints.is_empty(), "{complaints}");
}

#[test]
fn systemd_can_read_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mintage.service");
    let installed = "/usr/local/bin/mintage --config";
    assert!(UNIT.contains(&format!("ExecStart={installed}")));
    let ours = format!("{} --config", env!("CARGO_BIN_EXE_mintage"));
    std::fs::write(&path, UNIT.replace(installed, &ours)).unwrap();
    let Some(checked) = run("systemd-analyze", &["verify", "--man=no", path.to_str().unwrap()], "") else {
        return eprintln!("systemd-analyze is not installed");
    };
    let complaints = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success() && complaints.is_empty(), "{complaints}");
    assert!(UNIT.contains("\nType=notify\n"));
}

/// Whoever takes one of these for tried would be wrong.
#[test]
fn what_no_test_runs_says_so_in_its_first_line() {
    for text in [
        include_str!("../../ops/Dockerfile"),
        include_str!("../../ops/kubernetes.yaml"),
    ] {
        assert!(text.starts_with("# Not run by any test"));
    }
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["description"].as_str().unwrap().contains("run by no test"));
}
