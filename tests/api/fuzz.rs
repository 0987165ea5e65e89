//! The API as its own document describes it, called at random by schemathesis.
//!
//! `scripts/test --soak` puts that program into a virtual environment and says where in `MINTAGE_SCHEMATHESIS`. It calls the
//! server that the test starts, on loopback, and nothing else.

use std::process::Command;

use testkit::http::{Request, Response};
use testkit::token::token_request;
use testkit::{Program, Server, TestClient};

/// Random requests for each operation and kind; a few hundred take a minute.
const EXAMPLES: &str = "40";

/// The same requests each time, so that whoever runs this finds what it found before; `MINTAGE_FUZZ_SEED` asks for others.
const SEED: &str = "1";

/// What an answer must be: described, with the status of what was wrong, and never a fault of the server's.
///
/// Not that whatever fits the schema is accepted: rules between members, such as that the default scope is a part of the
/// scope, are none that a schema tells.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,unsupported_method,ignored_auth,\
                      use_after_free,ensure_resource_availability";

/// With a body that is too large and malformed, the first counts.
const REFUSED: &str = "[checks]\nnegative_data_rejection.expected-statuses = \
                       [\"400\", \"401\", \"403\", \"404\", \"408\", \"409\", \"412\", \"413\", \"415\"]\n";

#[test]
#[ignore = "takes minutes, and schemathesis, which scripts/test --soak gets"]
fn the_api_withstands_random_requests() {
    let program = testkit::program!().with_database();
    let fuzzed = Fuzzed::start(&program);
    let bearer = fuzzed.bearer();
    let operator = ["--header", bearer.as_str()];
    // Its values are taken from earlier answers too. What could take the operator away comes last.
    let harmless = "--include-path-regex=^/admin --exclude-path-regex=client_id|rotate --exclude-method=DELETE";
    fuzzed.run(operator, harmless, "");
    let of_clients = "--include-path-regex=client_id|tokens$ --exclude-method=DELETE";
    fuzzed.run(operator, of_clients, "[parameters]\nclient_id = \"demo\"\n");
    // It answers whatever the method.
    let of_gateways = "--include-path-regex=^/validate --exclude-checks=unsupported_method";
    fuzzed.run(operator, of_gateways, "");
    let basic = format!("demo:{}", fuzzed.caller.secret);
    fuzzed.run(["--auth", &basic], "--exclude-path-regex=^/(admin|validate)", "");
    fuzzed.assert_is_operator(&bearer);
    let deleting = "--include-method=DELETE --exclude-path-regex=^/validate";
    fuzzed.run(operator, deleting, "[parameters]\nclient_id = \"demo\"\n");
    fuzzed.run(operator, "--include-path=/admin/keys/rotate", "");
    assert_eq!(Request::get("/readyz").send(fuzzed.serving.address).status, 200);
}

/// A server, and who calls it.
struct Fuzzed<'a> {
    schemathesis: String,
    program: &'a Program,
    serving: Server,
    operator: TestClient,
    caller: TestClient,
}

impl<'a> Fuzzed<'a> {
    fn start(program: &'a Program) -> Self {
        let Ok(schemathesis) = std::env::var("MINTAGE_SCHEMATHESIS") else {
            panic!("MINTAGE_SCHEMATHESIS names no schemathesis: run scripts/test --soak");
        };
        let operator = program.create_client(&["--name", "Ops", "--id", "ops", "--scope", "mintage:admin"]);
        let caller = program.create_client(&["--name", "Demo", "--id", "demo", "--scope", "orders:read"]);
        program
            .run(&["route", "add", "--path", "/{*rest}", "--scope", "mintage:admin"])
            .done();
        let serving = program.serve(&[]);
        let fuzzed = Self {
            schemathesis,
            program,
            serving,
            operator,
            caller,
        };
        let api = fuzzed.ask("/admin/openapi.json", &fuzzed.bearer());
        fuzzed.program.write("openapi.json", &api.text());
        fuzzed
    }

    /// The header that makes a request an operator's.
    fn bearer(&self) -> String {
        let asked = token_request(&self.operator, &[("scope", "mintage:admin")]);
        let token = asked.send(self.serving.address).access_token();
        format!("Authorization: Bearer {token}")
    }

    fn ask(&self, path: &str, bearer: &str) -> Response {
        let (name, value) = bearer.split_once(": ").unwrap();
        Request::get(path).header(name, value).send(self.serving.address)
    }

    /// That requests which were refused were not so for want of a right.
    fn assert_is_operator(&self, bearer: &str) {
        let answer = self.ask("/admin/clients", bearer);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Random requests with these options, separated by spaces; they must find nothing.
    fn run(&self, credentials: [&str; 2], options: &str, configuration: &str) {
        let configuration = format!("{REFUSED}{configuration}");
        self.program.write("schemathesis.toml", &configuration);
        let url = format!("http://{}", self.serving.address);
        let seed = std::env::var("MINTAGE_FUZZ_SEED").unwrap_or_else(|_| SEED.into());
        let output = Command::new(&self.schemathesis)
            .args(["run", "openapi.json", "--url", &url, "--no-color", "--seed", &seed])
            .args(["--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES])
            .args(["--checks", CHECKS])
            .args(credentials)
            .args(options.split(' '))
            .current_dir(self.program.path(""))
            .output()
            .expect("MINTAGE_SCHEMATHESIS can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{complained}");
    }
}
