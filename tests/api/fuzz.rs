//! Random requests by schemathesis, generated from the OpenAPI document of the server.
//!
//! `scripts/test --soak` installs schemathesis in a virtual environment and sets
//! `MINTAGE_SCHEMATHESIS` to its path. It connects only to the server that the test starts, on
//! loopback.

use std::process::Command;

use testkit::http::{Request, Response};
use testkit::token::token_request;
use testkit::{Program, Server, TestClient};

/// Random requests per operation and phase; a few hundred take a minute.
const EXAMPLES: &str = "40";

/// A fixed seed, so that failures are reproducible; `MINTAGE_FUZZ_SEED` overrides it.
const SEED: &str = "1";

/// The checks of each response: it is documented, has the right status for invalid input, and is
/// never a server error.
///
/// Not `positive_data_acceptance`: rules between members, such as that the default scope is a
/// subset of the scope, cannot be expressed in a schema.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,unsupported_method,ignored_auth,\
                      use_after_free,ensure_resource_availability";

/// The statuses for invalid input. 413 is among them because a body may be both too large and
/// malformed.
const REJECTED: &str = "[checks]\nnegative_data_rejection.expected-statuses = \
                       [\"400\", \"401\", \"403\", \"404\", \"408\", \"409\", \"412\", \"413\", \"415\"]\n";

#[test]
#[ignore = "takes minutes and needs schemathesis, which scripts/test --soak installs"]
fn the_api_withstands_random_requests() {
    let program = testkit::program!().with_database();
    let fuzzed = Fuzzed::start(&program);
    let bearer = fuzzed.bearer();
    let operator = ["--header", bearer.as_str()];
    // Values are also taken from earlier responses, so operations that could remove the operator
    // come last.
    let harmless = "--include-path-regex=^/admin --exclude-path-regex=client_id|rotate --exclude-method=DELETE";
    fuzzed.run(operator, harmless, "");
    let of_clients = "--include-path-regex=client_id|tokens$ --exclude-method=DELETE";
    fuzzed.run(operator, of_clients, "[parameters]\nclient_id = \"demo\"\n");
    // `/validate` accepts every method.
    let of_gateways = "--include-path-regex=^/validate --exclude-checks=unsupported_method";
    let caller = fuzzed.bearer_of(&fuzzed.caller, "orders:read");
    fuzzed.run(["--header", &caller], of_gateways, "");
    let basic = format!("demo:{}", fuzzed.caller.secret);
    fuzzed.run(["--auth", &basic], "--exclude-path-regex=^/(admin|validate)", "");
    fuzzed.assert_is_operator(&bearer);
    let deleting = "--include-method=DELETE --exclude-path-regex=^/validate";
    fuzzed.run(operator, deleting, "[parameters]\nclient_id = \"demo\"\n");
    fuzzed.run(operator, "--include-path=/admin/keys/rotate", "");
    assert_eq!(Request::get("/readyz").send(fuzzed.serving.address).status, 200);
}

/// A server with an operator and an ordinary client.
struct Fuzzed<'a> {
    schemathesis: String,
    program: &'a Program,
    serving: Server,
    operator: TestClient,
    caller: TestClient,
}

impl<'a> Fuzzed<'a> {
    fn start(program: &'a Program) -> Self {
        let variable = std::env::var_os("MINTAGE_SCHEMATHESIS");
        let Some(schemathesis) = variable.and_then(|path| path.into_string().ok()) else {
            panic!("MINTAGE_SCHEMATHESIS must be the path of schemathesis: run scripts/test --soak");
        };
        let operator = program.create_client(&["--name", "Ops", "--id", "ops", "--scope", "mintage:admin"]);
        let caller = program.create_client(&["--name", "Demo", "--id", "demo", "--scope", "orders:read"]);
        program
            .run(&["route", "add", "--path", "/{*rest}", "--scope", "orders:read"])
            .done();
        let serving = program.serve(&[]);
        let fuzzed = Self {
            schemathesis,
            program,
            serving,
            operator,
            caller,
        };
        let api = fuzzed.get("/admin/openapi.json", &fuzzed.bearer());
        fuzzed.program.write("openapi.json", &api.text());
        fuzzed
    }

    /// The Authorization header of the operator.
    fn bearer(&self) -> String {
        self.bearer_of(&self.operator, "mintage:admin")
    }

    fn bearer_of(&self, client: &TestClient, scope: &str) -> String {
        let request = token_request(client, &[("scope", scope)]);
        let token = request.send(self.serving.address).access_token();
        format!("Authorization: Bearer {token}")
    }

    fn get(&self, path: &str, bearer: &str) -> Response {
        let (name, value) = bearer.split_once(": ").unwrap();
        Request::get(path).header(name, value).send(self.serving.address)
    }

    /// The operator is still authorized, so denials were not caused by a lost permission.
    fn assert_is_operator(&self, bearer: &str) {
        let response = self.get("/admin/clients", bearer);
        assert_eq!(response.status, 200, "{}", response.text());
    }

    /// Runs schemathesis with these options, separated by spaces; no check may fail.
    fn run(&self, credentials: [&str; 2], options: &str, configuration: &str) {
        let configuration = format!("{REJECTED}{configuration}");
        self.program.write("schemathesis.toml", &configuration);
        let url = format!("http://{}", self.serving.address);
        let seed = std::env::var_os("MINTAGE_FUZZ_SEED").and_then(|seed| seed.into_string().ok());
        let seed = seed.unwrap_or_else(|| SEED.into());
        let output = Command::new(&self.schemathesis)
            .args(["run", "openapi.json", "--url", &url, "--no-color", "--seed", &seed])
            .args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES])
            .args(["--checks", CHECKS])
            .args(credentials)
            .args(options.split(' '))
            .current_dir(self.program.path(""))
            .output()
            .expect("MINTAGE_SCHEMATHESIS can be started");
        let stdout = String::from_utf8_lossy(&output.stdout);
        println!("{stdout}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stdout}\n{stderr}");
    }
}
