//! The API as its own document describes it, called at random by schemathesis.
//!
//! `scripts/test --soak` puts that program into a virtual environment and says where in `MINTAGE_SCHEMATHESIS`. It calls the
//! server that the test starts, on loopback, and nothing else.

use std::process::Command;

use crate::app::{TestClient, token_request};
use crate::http::Request;
use crate::program::{Program, Serving};

/// Random requests for each operation and kind; a few hundred take a minute.
const EXAMPLES: &str = "40";

/// What an answer must be: described, with the status of what was wrong, and never a fault of the server's.
///
/// Not that whatever fits the schema is accepted: rules between members, such as that the default scope is a part of the
/// scope, are none that a schema tells.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,unsupported_method,ignored_auth";

#[test]
#[ignore = "takes minutes, and schemathesis, which scripts/test --soak gets"]
fn the_api_withstands_random_requests() {
    let Ok(schemathesis) = std::env::var("MINTAGE_SCHEMATHESIS") else {
        panic!("MINTAGE_SCHEMATHESIS names no schemathesis: run scripts/test --soak");
    };
    let program = Program::new();
    let operator = program.client(&["--name", "Ops", "--id", "ops", "--scope", "mintage:admin"]);
    let caller = program.client(&["--name", "Demo", "--id", "demo", "--scope", "orders:read"]);
    let serving = program.serve(&[]);
    let token = || {
        let asked = token_request(&operator, &[("scope", "mintage:admin")]);
        asked.send(serving.address).access_token()
    };
    let api = Request::get("/admin/openapi.json")
        .bearer(&token())
        .send(serving.address);
    program.write("openapi.json", &api.text());
    let bearer = format!("Authorization: Bearer {}", token());
    let TestClient { id, secret } = caller;
    let basic = format!("{id}:{secret}");
    let run = |arguments: &[&str]| random_requests(&program, &serving, &schemathesis, arguments);
    run(&["--include-path-regex", "^/(admin|validate)", "--header", &bearer]);
    run(&["--exclude-path-regex", "^/(admin|validate)", "--auth", &basic]);
    assert_eq!(Request::get("/readyz").send(serving.address).status, 200);
}

fn random_requests(program: &Program, serving: &Serving, schemathesis: &str, arguments: &[&str]) {
    let url = format!("http://{}", serving.address);
    let output = Command::new(schemathesis)
        .args(["run", "openapi.json", "--url", &url, "--no-color"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES])
        .args(["--checks", CHECKS])
        .args(arguments)
        .current_dir(program.path(""))
        .output()
        .expect("MINTAGE_SCHEMATHESIS can be started");
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}\n{complained}");
}
