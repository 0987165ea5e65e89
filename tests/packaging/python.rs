//! Helm and the schemas of Kubernetes, as Python packages: `helm.py` beside this file.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{installed, source};

/// Runs `helm.py` with `input` on standard input. Returns what it prints.
#[track_caller]
pub fn ask(arguments: &[&str], input: &Value) -> Value {
    let python = installed("venv/bin/python");
    let mut child = Command::new(&python)
        .arg(source("tests/packaging/helm.py"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: scripts/test --packaging installs it", python.display()));
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "helm.py {arguments:?} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The documents of a YAML file.
pub fn documents(file: &str) -> Vec<Value> {
    ask(&["documents", file], &Value::Null).as_array().unwrap().clone()
}

/// The document of a kind, of several documents. There is exactly one.
#[track_caller]
pub fn of_kind<'d>(documents: &'d [Value], kind: &str) -> &'d Value {
    let found: Vec<&Value> = documents.iter().filter(|document| document["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "documents of kind {kind}");
    found[0]
}

/// Every version of Kubernetes accepts the documents, whose number is `of`.
#[track_caller]
pub fn assert_valid(documents: &[Value], of: usize) {
    let answer = ask(&["validate"], &documents.into());
    assert_eq!(answer["errors"], serde_json::json!([]));
    assert_eq!(
        answer["versions"],
        serde_json::json!(["1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37"])
    );
    assert_eq!(answer["validated"], 8 * of, "of {} documents", documents.len());
}
