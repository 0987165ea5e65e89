//! `ops/chart`: lint, rendering, schemas, and the container that it describes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::{Map, Value, json};
use testkit::redis::Redis;

use crate::manifest::{
    BOOTSTRAP_SECRET, ENCRYPTION_KEY, TlsCluster, assert_admin_is_apart, assert_becomes_ready, assert_config_check,
    assert_has_operator, config_check, start,
};
use crate::pod::{Objects, Pod, object};
use crate::podman::archive;
use crate::python::{ask, assert_valid, documents, of_kind};
use crate::source;

const CHART: &str = "ops/chart";

/// The only value without a default.
fn minimal() -> Value {
    json!({"issuer": "https://tokens.example"})
}

/// Every value, none with its default, in three sets, because some exclude each other.
fn complete() -> [Value; 3] {
    let first = documents("tests/packaging/every-value.yaml").remove(0);
    let mut second = first.clone();
    second["database"]["rootCertificate"] = json!({"secret": "authorities", "key": "postgresql.crt"});
    second["image"]["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    second["serviceAccount"]["create"] = false.into();
    let mut third = minimal();
    for part in ["networkPolicy", "podDisruptionBudget", "topologySpread"] {
        third[part] = json!({"enabled": false});
    }
    [first, second, third]
}

/// The documents of each set of values, or the error.
fn render(values: &[Value]) -> Vec<Result<Vec<Value>, String>> {
    render_of(CHART, values)
}

/// Like [`render`], of a chart in a folder or an archive.
fn render_of(chart: &str, values: &[Value]) -> Vec<Result<Vec<Value>, String>> {
    let answers = ask(&["render", chart], &values.into());
    let result = |answer: &Value| match answer["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(answer["documents"].as_array().unwrap().clone()),
    };
    answers.as_array().unwrap().iter().map(result).collect()
}

#[track_caller]
fn rendered(values: Value) -> Vec<Value> {
    render(&[values]).remove(0).unwrap()
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q62_helm_has_no_complaint_about_the_chart() {
    for values in [vec![minimal()], complete().to_vec()].concat() {
        let report = ask(&["lint", CHART], &values);
        assert_eq!(report, json!({"charts": 1, "errors": [], "warnings": []}), "{values}");
    }
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q62_every_version_of_kubernetes_accepts_the_chart() {
    assert_valid(&rendered(minimal()), 6);
    let [first, second, third] = complete();
    let of_operator = rendered(first);
    assert_valid(&of_operator, 6);
    // Without a service account; without policy and disruption budget.
    assert_valid(&rendered(second), 5);
    assert_valid(&rendered(third), 4);
    // Its schema belongs to the Prometheus operator.
    let monitor = of_kind(&of_operator, "ServiceMonitor");
    let endpoint = json!([{"port": "admin", "path": "/metrics", "interval": "15s"}]);
    assert_eq!(monitor["spec"]["endpoints"], endpoint);
    let selected = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
    let services = of_operator.iter().filter(|document| document["kind"] == "Service");
    let matching: Vec<&Value> = services
        .filter(|service| {
            selected
                .iter()
                .all(|(label, value)| &service["metadata"]["labels"][label] == value)
        })
        .collect();
    assert_eq!(matching.len(), 1);
    assert_eq!(matching[0]["metadata"]["name"], "token-server-admin");
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q62_helm_reads_the_packed_chart_and_two_are_the_same_bytes() {
    let packed = [(); 2].map(|()| {
        let folder = testkit::folder::temporary();
        let status = Command::new(source("scripts/package-chart"))
            .arg(folder.path())
            .status();
        assert!(status.unwrap().success());
        let path = archive(folder.path(), ".tgz");
        (fs::read(&path).unwrap(), render_of(path.to_str().unwrap(), &complete()))
    });
    assert!(packed[0].0 == packed[1].0);
    assert_eq!(packed[0].1, render(&complete()));
    assert!(packed[0].1.iter().all(Result::is_ok));
}

/// The paths of all values in the chart. A value that is a list or a map of the user's own is one.
fn paths(values: &Value) -> Vec<Vec<String>> {
    fn collect(path: &[String], value: &Value, found: &mut Vec<Vec<String>>) {
        let is_own = path == ["resources"];
        match value.as_object() {
            Some(members) if !members.is_empty() && !is_own => {
                for (name, member) in members {
                    collect(&[path, std::slice::from_ref(name)].concat(), member, found);
                }
            }
            _ => found.push(path.to_vec()),
        }
    }
    let mut found = Vec::new();
    collect(&[], values, &mut found);
    found
}

/// The values without the one at a path, if they have it.
fn without(values: &Value, path: &[String]) -> Option<Value> {
    let mut rest = values.clone();
    let (last, sections) = path.split_last().unwrap();
    let section = sections.iter().try_fold(&mut rest, |value, name| value.get_mut(name))?;
    section.as_object_mut()?.remove(last)?;
    Some(rest)
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q62_every_value_changes_what_is_rendered() {
    let defaults = documents("ops/chart/values.yaml").remove(0);
    let paths = paths(&defaults);
    assert!(paths.len() > 50, "{paths:?}");
    let all = render(&complete());
    let mut useless = Vec::new();
    for path in paths {
        let changed = complete().iter().zip(&all).any(|(values, with)| {
            let Some(rest) = without(values, &path) else {
                return false;
            };
            render(&[rest]).remove(0) != *with
        });
        if !changed {
            useless.push(path.join("."));
        }
    }
    assert_eq!(useless, Vec::<String>::new());
}

#[test]
#[ignore = "scripts/test --packaging"]
fn a_large_number_is_rendered_in_digits() {
    let mut values = minimal();
    values["maxConnections"] = json!(1_000_000);
    let text = serde_json::to_string(&rendered(values)).unwrap();
    assert!(text.contains("\"1000000\"") && !text.contains("e+06"), "{text}");
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q62_an_unknown_value_and_a_wrong_one_are_rejected() {
    let defaults = documents("ops/chart/values.yaml").remove(0);
    let sections: Vec<Vec<String>> = paths(&defaults)
        .into_iter()
        .map(|mut path| {
            path.pop();
            path
        })
        .collect();
    let mut cases: Vec<Value> = sections
        .iter()
        .map(|path| {
            let unknown = json!({"unknown": true});
            let nested = path.iter().rev().fold(unknown, |value, name| json!({name: value}));
            let mut values = minimal();
            values
                .as_object_mut()
                .unwrap()
                .extend(nested.as_object().unwrap().clone());
            values
        })
        .collect();
    for (name, value) in [
        ("issuer", json!("http://tokens.example")),
        ("trustedProxies", json!(["10.0.0.0/8"])),
        ("trustedProxies", json!(["10.0.0.0/23"])),
        ("clientIpProxies", json!(["fd00::/48"])),
        ("clientIpProxies", json!(["ingress"])),
        ("replicaCount", json!(0)),
        ("drainDelaySeconds", json!("10s")),
        ("drainDelaySeconds", json!(60)),
        ("image", json!({"digest": "latest"})),
        ("extraEnv", json!([{"value": "nameless"}])),
        (
            "database",
            json!({"rootCertificate": {"configMap": "a", "secret": "b"}}),
        ),
    ] {
        let mut values = minimal();
        values[name] = value;
        cases.push(values);
    }
    cases.push(Value::Object(Map::new()));
    assert!(cases.len() > 60);
    for (values, outcome) in cases.iter().zip(render(&cases)) {
        let error = outcome.err().unwrap_or_else(|| panic!("accepted: {values}"));
        let names = values.as_object().unwrap().keys().any(|name| error.contains(name));
        let is_named = names || error.contains("unknown") || error.contains("issuer");
        assert!(is_named, "{values}: {error}");
    }
}

/// A Secret with the keys of the values, and what else the container mounts.
fn objects(values: &Value, database: &TlsCluster, redis: &str) -> Objects {
    let key = |section: &str, name: &str, default: &str| values[section][name].as_str().unwrap_or(default).to_owned();
    let secret = BTreeMap::from([
        (key("secretKeys", "databaseUrl", "database-url"), database.url("")),
        (
            key("secretKeys", "encryptionKey", "encryption-key"),
            ENCRYPTION_KEY.to_owned(),
        ),
        (key("secretKeys", "redisUrl", "redis-url"), redis.to_owned()),
        (
            key("bootstrap", "secretKey", "bootstrap-secret"),
            BOOTSTRAP_SECRET.to_owned(),
        ),
    ]);
    let name = values["existingSecret"].as_str().unwrap_or("mintage").to_owned();
    let authority = [
        ("postgresql.crt", database.authority.as_str()),
        ("ca.key", "not for the container"),
    ];
    Objects::from([
        (name, secret),
        object("authorities", &authority),
        object("more", &[("x", "y")]),
    ])
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q62_the_environment_of_the_chart_starts_with_every_value_set() {
    let (database, redis) = (TlsCluster::start(), Redis::start());
    // The second set has the certificate in a Secret, and the same environment.
    let [first, second, _] = complete();
    for values in [first, second] {
        let documents = rendered(values.clone());
        let deployment = of_kind(&documents, "Deployment");
        let pod = Pod::of(deployment, &objects(&values, &database, &redis.url()));
        assert_config_check(&pod.run);
        let (container, listen, admin) = start(&pod);
        assert_becomes_ready(deployment, listen);
        assert_has_operator("first-operator", BOOTSTRAP_SECRET, listen, admin);
        let scrape = testkit::scrape::Scrape::of(admin);
        scrape.assert_value("mintage_redis_up", 1.0);
        assert_eq!(container.stop(), 0);
    }
}

#[test]
#[ignore = "scripts/test --packaging"]
fn q62_the_environment_of_the_chart_is_valid_by_default_and_a_wrong_name_is_noticed() {
    let database = TlsCluster::start();
    let mut values = minimal();
    let pod_of = |values: &Value| {
        let documents = rendered(values.clone());
        Pod::of(of_kind(&documents, "Deployment"), &objects(values, &database, ""))
    };
    assert_config_check(&pod_of(&values).run);
    values["extraEnv"] = json!([{"name": "MINTAGE_SERVER__LISSTEN", "value": "x"}]);
    let (code, output) = config_check(&pod_of(&values).run);
    assert!(
        code != Some(0) && output.contains("MINTAGE_SERVER__LISSTEN is not a setting"),
        "{output}"
    );
}

#[test]
#[ignore = "scripts/test --packaging"]
fn the_admin_port_of_the_chart_has_a_service_and_a_policy_of_its_own() {
    let [first, ..] = complete();
    assert_admin_is_apart(
        &rendered(minimal()),
        &json!([{"port": 80, "targetPort": "http", "name": "http"}]),
    );
    assert_admin_is_apart(
        &rendered(first),
        &json!([{"port": 8000, "targetPort": "http", "name": "http"}]),
    );
}

/// A reader of one of the two learns what the other does.
#[test]
#[ignore = "scripts/test --packaging"]
fn the_chart_and_the_manifest_describe_the_same_pod() {
    let spec = |documents: &[Value]| of_kind(documents, "Deployment")["spec"]["template"]["spec"].clone();
    let manifest = spec(&documents("ops/kubernetes.yaml"));
    let mut values = minimal();
    values["bootstrap"] = json!({"clientId": "ops"});
    values["database"] = json!({"rootCertificate": {"configMap": "mintage-postgresql"}});
    let chart = spec(&rendered(values));
    let environment = |spec: &Value| -> BTreeMap<String, Value> {
        let variables = spec["containers"][0]["env"].as_array().unwrap().iter();
        let pair = |variable: &Value| (variable["name"].as_str().unwrap().to_owned(), variable["value"].clone());
        // The chart cannot see the URL, in which the manifest names the file.
        variables
            .map(pair)
            .filter(|(name, _)| name != "PGSSLROOTCERT" && name != "RUST_LOG")
            .collect()
    };
    assert_eq!(environment(&chart), environment(&manifest));
    for part in [
        "ports",
        "livenessProbe",
        "readinessProbe",
        "resources",
        "securityContext",
        "volumeMounts",
        "args",
    ] {
        assert_eq!(chart["containers"][0][part], manifest["containers"][0][part], "{part}");
    }
    for part in [
        "securityContext",
        "terminationGracePeriodSeconds",
        "enableServiceLinks",
        "automountServiceAccountToken",
    ] {
        assert_eq!(chart[part], manifest[part], "{part}");
    }
    let spread = |spec: &Value| -> Vec<Value> {
        let mut constraints = spec["topologySpreadConstraints"].as_array().unwrap().clone();
        constraints
            .iter_mut()
            .for_each(|constraint| constraint["labelSelector"] = Value::Null);
        constraints
    };
    assert_eq!(spread(&chart), spread(&manifest));
}
