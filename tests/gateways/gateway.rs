//! [`Gateway`]: a real gateway between an attacker and an [`Upstream`], and the attacks that it
//! must withstand.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use mintage::oauth::bounds::MAX_SCOPE;
use tempfile::TempDir;
use testkit::gateway::HOST;
use testkit::http::{Connection, Request, Response, exchange};
use testkit::{Server, TestClient, eventually, port};

use crate::TIMEOUT;
use crate::upstream::{Upstream, WEBSOCKET_ACCEPT, WEBSOCKET_KEY};

const DOCUMENT: &str = include_str!("../../docs/gateways.md");

/// The weak and the strong token of the tests allow different routes. Method `*` is any method; no
/// scope is a public route.
const ROUTES: [(&str, &str, &str); 8] = [
    ("*", "/open/{*rest}", ""),
    ("*", "/open/account/{*rest}", "orders:read"),
    ("OPTIONS", "/orders/{id}", ""),
    ("*", "/public/{*rest}", "public:read"),
    ("GET", "/orders/{id}", "orders:read"),
    ("*", "/orders/{id}", "orders:write"),
    ("*", "/café/{*rest}", "orders:read"),
    ("*", "/a b/{*rest}", "orders:read"),
];

/// A gateway that authorizes each request to an [`Upstream`] with a [`Server`]. Killed on drop.
pub struct Gateway {
    pub address: SocketAddr,
    pub server: Server,
    pub upstream: Upstream,
    child: Child,
    directory: TempDir,
    client: TestClient,
}

impl Gateway {
    /// Starts `program` with the block of `docs/gateways.md` in this language. `configure` gets a
    /// folder, the port to listen on and the block with the addresses of this test, and returns the
    /// command that runs in the foreground.
    pub fn start(program: &str, language: &str, configure: impl Fn(&TempDir, u16, String) -> Command) -> Self {
        let server = crate::start();
        let upstream = Upstream::start();
        for (method, path, scope) in ROUTES {
            let escaped = path.replace('é', "%C3%A9").replace(' ', "%20");
            match scope.is_empty() {
                true => server.public_route(method, &escaped, &[]),
                false => server.route(method, &escaped, scope, &[]),
            };
        }
        let client = server.client_with_id("demo", "public:read orders:read orders:write", &[]);
        let directory = testkit::folder::temporary();
        let port = port::free();
        let block = block(language)
            .replace("127.0.0.1:8080", &server.address.to_string())
            .replace("127.0.0.1:3000", &upstream.address.to_string());
        let child = configure(&directory, port, block)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(directory.path().join("gateway.log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} does not start ({error}): scripts/test --only-get installs it"));
        let mut gateway = Self {
            address: ([127, 0, 0, 1], port).into(),
            server,
            upstream,
            child,
            directory,
            client,
        };
        eventually("the gateway listens", TIMEOUT, || {
            if let Ok(Some(status)) = gateway.child.try_wait() {
                let log = std::fs::read_to_string(gateway.directory.path().join("gateway.log"));
                panic!("{program} ended with {status}: {log:?}");
            }
            TcpStream::connect(gateway.address).ok()
        });
        // Once the last route is in effect, `/validate` asks for a valid token.
        let last = "/a%20b/x";
        gateway.server.validates_once_applied("GET", last, "wrong", 401);
        gateway
    }

    /// A token for public resources only.
    pub fn weak(&self) -> String {
        self.server.token(&self.client, "public:read", &[])
    }

    /// A token that allows reading orders.
    pub fn strong(&self) -> String {
        self.server.token(&self.client, "orders:read", &[])
    }

    /// Sends a request; returns the response and the heads that reached the upstream.
    pub fn ask(&self, request: &Request) -> (Response, Vec<String>) {
        self.upstream.take_seen();
        let response = request.send_and_close(self.address);
        (response, self.upstream.take_seen())
    }

    #[track_caller]
    fn assert_stopped(&self, request: &Request, what: &str) {
        let (response, seen) = self.ask(request);
        assert!(matches!(response.status, 400 | 403), "{what}: {response:?}");
        assert_eq!(seen, [""; 0], "{what}: {response:?}");
    }

    /// Asserts that a token with the longest scope passes: its response is larger than many buffers.
    pub fn assert_passes_the_longest_scope(&self) {
        let scope = format!("orders:read {}", "x".repeat(MAX_SCOPE - 12));
        let client = self.server.client_with_id("long", &scope, &[]);
        let token = self.server.token(&client, &scope, &[]);
        let (response, seen) = self.ask(&Request::to_host(HOST, "GET", "/orders/1").bearer(&token));
        assert_eq!((response.status, seen.len()), (200, 1), "{response:?}");
        assert!(seen[0].contains(&format!(": {scope}\r\n")), "{seen:?}");
    }

    /// Asserts that a request for a WebSocket is answered like any other: a token opens it, to the
    /// upstream; without one the upstream is not asked.
    pub fn assert_opens_websockets_to_authorized_clients(&self) {
        let handshake = |upgrade: &str| {
            Request::to_host(HOST, "GET", "/orders/1")
                .header("Connection", "Upgrade")
                .header("Upgrade", upgrade)
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", WEBSOCKET_KEY)
        };
        let (weak, strong) = (self.weak(), self.strong());
        for spelling in ["websocket", "WebSocket"] {
            self.upstream.take_seen();
            let without_token = handshake(spelling).send(self.address);
            assert_eq!(without_token.status, 401, "{without_token:?}");
            let without_scope = handshake(spelling).bearer(&weak).send(self.address);
            assert_eq!(without_scope.status, 403, "{without_scope:?}");
            assert_eq!(self.upstream.take_seen(), [""; 0]);

            let mut connection = Connection::open(self.address);
            let opened = connection.ask(&handshake(spelling).bearer(&strong));
            assert_eq!(opened.status, 101, "{opened:?}");
            assert_eq!(opened.header("sec-websocket-accept"), Some(WEBSOCKET_ACCEPT));
            assert!(
                self.upstream.take_seen()[0].contains(": demo\r\n"),
                "its client is named"
            );
            // "Hello" with a mask and without, RFC 6455 §5.7.
            for _ in 0..2 {
                connection.write(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
                assert_eq!(connection.read_bytes(7).unwrap(), b"\x81\x05Hello");
            }
        }
        // A service that speaks HTTP/2 on such a connection would serve requests that no one
        // authorized.
        for other in ["h2c", "h2c, websocket", "websocket, h2c", "TLS/1.0"] {
            let request = handshake(other).header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA");
            let (response, seen) = self.ask(&request.bearer(&strong));
            assert_eq!((response.status, seen.len()), (200, 1), "{other}: {response:?}");
            assert!(!seen[0].to_ascii_lowercase().contains("\r\nupgrade:"), "{seen:?}");
        }
        let twice = handshake("h2c").header("Upgrade", "websocket").bearer(&strong);
        self.upstream.take_seen();
        let response = twice.send(self.address);
        let seen = self.upstream.take_seen();
        assert!(matches!(response.status, 101 | 200 | 400), "{response:?}");
        assert!(!seen.concat().contains("h2c"), "{seen:?}");
    }

    /// Asserts that authorized requests pass, and that the upstream receives the client's identity.
    pub fn assert_passes_authorized_requests(&self) {
        let strong = self.strong();
        let forged = [
            ("X-Client-Id", "admin"),
            ("X-Token-Scope", "orders:write"),
            ("X-Token-Id", "1"),
            ("X-Original-Method", "DELETE"),
            ("X-Original-URI", "/nowhere"),
            ("X-Forwarded-Method", "DELETE"),
            ("X-Forwarded-Host", "other.example"),
            ("X-Forwarded-Uri", "/nowhere"),
            ("X-Rewrite-URL", "/nowhere"),
            ("X-Original-URL", "/nowhere"),
            ("X-Forwarded-Prefix", "/nowhere"),
            ("X-Forwarded-Path", "/nowhere"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("X-HTTP-Method", "DELETE"),
            ("X-Method-Override", "DELETE"),
        ];
        let mut request = Request::to_host(HOST, "GET", "/orders/1?page=2").bearer(&strong);
        for (name, value) in forged {
            request = request.header(name, value);
        }
        let (response, seen) = self.ask(&request);
        assert_eq!((response.status, seen.len()), (200, 1), "{response:?}");
        let lower = seen[0].to_ascii_lowercase();
        assert!(lower.starts_with("get /orders/1?page=2 http/1.1\r\n"), "{lower}");
        for (name, value) in [("x-client-id", "demo"), ("x-token-scope", "orders:read")] {
            assert!(lower.contains(&format!("\r\n{name}: {value}\r\n")), "{lower}");
            assert_eq!(lower.matches(name).count(), 1, "{lower}");
        }
        // Some services would serve this path, or take this method.
        for (name, _) in &forged[8..] {
            assert!(!lower.contains(&name.to_ascii_lowercase()), "{name} in {lower}");
        }
        assert!(lower.contains("\r\nhost: api.example\r\n"), "{lower}");
        assert!(lower.contains("\r\nx-token-expires: "), "{lower}");
        assert!(
            !lower.contains("x-token-id: 1\r\n") && lower.contains("\r\nx-token-id: "),
            "{lower}"
        );
        for target in ["/caf%C3%A9/x", "/a%20b/x"] {
            let (response, seen) = self.ask(&Request::to_host(HOST, "GET", target).bearer(&strong));
            assert_eq!(response.status, 200, "{target}: {response:?}");
            assert!(seen[0].starts_with(&format!("GET {target} ")), "{seen:?}");
        }
        let with_body = Request::to_host(HOST, "POST", "/public/a")
            .bearer(&self.weak())
            .body("", "x".repeat(100_000));
        assert_eq!(
            self.ask(&with_body).0.status,
            200,
            "a body is for the upstream, not for the policy"
        );
    }

    /// Asserts that a request for a public route passes without a token, whatever token it has, and
    /// that the upstream receives no identity, not even one that the client has forged.
    pub fn assert_passes_public_requests(&self) {
        let page = Request::to_host(HOST, "GET", "/open/a%20page?x=1")
            .header("X-Client-Id", "admin")
            .header("X-Token-Scope", "orders:write")
            .header("X-Token-Id", "1")
            .header("X-Token-Expires", "9999999999");
        let strong = self.strong();
        for request in [
            page.clone(),
            page.clone().bearer("expired"),
            page.clone().bearer(&strong),
        ] {
            let (response, seen) = self.ask(&request);
            assert_eq!((response.status, seen.len()), (200, 1), "{response:?}");
            assert!(seen[0].starts_with("GET /open/a%20page?x=1 "), "{seen:?}");
            let lower = seen[0].to_ascii_lowercase();
            for name in ["x-client-id", "x-token-scope", "x-token-id", "x-token-expires"] {
                let mut values = lower.lines().filter_map(|line| line.strip_prefix(&format!("{name}:")));
                assert!(values.all(|value| value.trim().is_empty()), "{lower}");
            }
        }
        let posted = Request::to_host(HOST, "POST", "/open/a").body("", "x".repeat(100_000));
        assert_eq!(self.ask(&posted).0.status, 200);
        for (method, target) in [("GET", "/open/account/1"), ("POST", "/open/account/")] {
            let (response, seen) = self.ask(&Request::to_host(HOST, method, target));
            assert_eq!(
                (response.status, seen.len()),
                (401, 0),
                "{method} {target}: {response:?}"
            );
        }
    }

    /// Asserts that a preflight passes where OPTIONS is public, and the request that follows it only
    /// with a token.
    pub fn assert_passes_preflights(&self) {
        let preflight = |target: &str| {
            let request = Request::to_host(HOST, "OPTIONS", target).header("Origin", "https://shop.example");
            let request = request.header("Access-Control-Request-Method", "GET");
            self.ask(&request.header("Access-Control-Request-Headers", "authorization"))
        };
        let (response, seen) = preflight("/orders/1");
        assert_eq!((response.status, seen.len()), (200, 1), "{response:?}");
        let lower = seen[0].to_ascii_lowercase();
        assert!(lower.starts_with("options /orders/1 "), "{lower}");
        assert!(lower.contains("\r\naccess-control-request-method: get\r\n"), "{lower}");
        let request = Request::to_host(HOST, "GET", "/orders/1").header("Origin", "https://shop.example");
        assert_eq!(self.ask(&request).0.status, 401);
        assert_eq!(self.ask(&request.bearer(&self.strong())).0.status, 200);
        for (target, status) in [("/public/a", 401), ("/orders/1/", 403)] {
            let (response, seen) = preflight(target);
            assert_eq!((response.status, seen.len()), (status, 0), "{target}: {response:?}");
        }
    }

    /// Asserts that no spelling of a path reaches an order by way of a public route.
    pub fn assert_withstands_tricks_without_a_token(&self) {
        for target in [
            "/open/../orders/1",
            "/open/%2e%2e/orders/1",
            "/open/.%2E/orders/1",
            "/open/..%2forders/1",
            "/open/..%5corders/1",
            "/open/..\\orders/1",
            "/open/%252e%252e/orders/1",
            "/open/..;/orders/1",
            "/open;/../orders/1",
            "/open/./account/1",
            "/open//account/1",
            "//open/a",
            "/open/a%00",
            "/open/%c0%ae%c0%ae/orders/1",
            "/open/a#/../../orders/1",
            "http://api.example/open/../orders/1",
            "*",
        ] {
            self.assert_stopped(&Request::to_host(HOST, "GET", target), target);
        }
        for method in ["get", "options", "Options", "GET,OPTIONS"] {
            self.assert_stopped(&Request::to_host(HOST, method, "/open/a"), method);
        }
        // None of these makes a read of an order a preflight.
        let order = Request::to_host(HOST, "GET", "/orders/1");
        for name in ["X-Original-Method", "X-Forwarded-Method", "X-HTTP-Method-Override"] {
            let (response, seen) = self.ask(&order.clone().header(name, "OPTIONS"));
            assert_eq!((response.status, seen.len()), (401, 0), "{name}: {response:?}");
        }
        let (response, seen) = self.ask(&Request::to_host(HOST, "GET", "/open/acc%6funt/1"));
        assert_eq!((response.status, seen.len()), (401, 0), "{response:?}");
    }

    /// Asserts that unauthorized requests are stopped with the right status and challenge.
    pub fn assert_stops_unauthorized_requests(&self) {
        let (response, seen) = self.ask(&Request::to_host(HOST, "GET", "/orders/1"));
        assert_eq!((response.status, seen.len()), (401, 0), "{response:?}");
        assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"mintage\""));
        let (response, _) = self.ask(&Request::to_host(HOST, "GET", "/orders/1").bearer("wrong"));
        assert_eq!(response.status, 401, "{response:?}");
        let (response, _) = self.ask(&Request::to_host(HOST, "GET", "/orders/1?access_token=wrong"));
        assert_eq!(response.status, 401, "{response:?}");
        let (weak, strong) = (self.weak(), self.strong());
        for (method, target, token) in [
            ("GET", "/orders/1", &weak),
            ("POST", "/orders/1", &strong),
            ("DELETE", "/orders/1", &strong),
            ("GET", "/", &strong),
            ("GET", "/orders/1/", &strong),
            ("GET", "/validate", &strong),
        ] {
            let (response, seen) = self.ask(&Request::to_host(HOST, method, target).bearer(token));
            assert_eq!(
                (response.status, seen.len()),
                (403, 0),
                "{method} {target}: {response:?}"
            );
        }
    }

    /// P44: no spelling of a path gives a weak token access to an order.
    pub fn assert_withstands_path_tricks(&self) {
        let weak = self.weak();
        for target in [
            "/public/../orders/1",
            "/public/%2e%2e/orders/1",
            "/public/.%2E/orders/1",
            "/public/..%2forders/1",
            "/public/..%2Forders%2F1",
            "/public/..%5corders/1",
            "/public/..\\orders/1",
            "/public/%252e%252e/orders/1",
            "/public/..;/orders/1",
            "/public;/../orders/1",
            "/public/a;b",
            "/public/.",
            "/public/./a",
            "//orders/1",
            "/public//a",
            "/public/a//../../orders/1",
            "/public/a%00",
            "/public/a%3f",
            "/public/a%23",
            "/public/%c0%ae%c0%ae/orders/1",
            "/public/%ff",
            "/public/%zz",
            "/public/%",
            "/public/a#/../../orders/1",
            "/public/%0d%0aX-Client-Id:%20admin",
            "http://api.example/public/../orders/1",
            "http://api.example//orders/1",
            "*",
            "orders/1",
            "\\orders\\1",
        ] {
            self.assert_stopped(&Request::to_host(HOST, "GET", target).bearer(&weak), target);
        }
        for method in ["get", "Get", "GET,POST"] {
            self.assert_stopped(&Request::to_host(HOST, method, "/public/a").bearer(&weak), method);
        }
    }

    /// P43: a client cannot influence the decision through the gateway's own headers.
    pub fn assert_withstands_forged_headers(&self) {
        let weak = self.weak();
        let order = Request::to_host(HOST, "GET", "/orders/1").bearer(&weak);
        let public = [("Method", "GET"), ("Host", "api.example"), ("Uri", "/public/a")];
        for prefix in [
            "X-Forwarded-",
            "X-Original-",
            "X_Forwarded_",
            "X_Original_",
            "x-forwarded_",
        ] {
            let all = public.iter().fold(order.clone(), |request, (name, value)| {
                request.header(&format!("{prefix}{name}"), value)
            });
            self.assert_stopped(&all, prefix);
            let twice = public.iter().fold(all, |request, (name, value)| {
                request.header(&format!("{prefix}{name}"), value)
            });
            self.assert_stopped(&twice, &format!("{prefix} twice"));
            for (name, value) in public {
                let one = order.clone().header(&format!("{prefix}{name}"), value);
                self.assert_stopped(&one, &format!("{prefix}{name}"));
            }
        }
        for named in [
            "X-Original-URI",
            "X-Original-Method, X-Original-URI",
            "X-Forwarded-Uri, X-Forwarded-Method, X-Forwarded-Host",
            "X_Original_URI",
            "Host",
        ] {
            let named_only = order.clone().header("Connection", named);
            let (response, seen) = self.ask(&named_only);
            assert!(
                matches!(response.status, 400 | 403) && seen.is_empty(),
                "{named}: {response:?}"
            );
        }
        let (response, seen) = self.ask(&order.clone().header("Connection", "Authorization"));
        assert!(response.status >= 400 && seen.is_empty(), "{response:?}");
        let two_hosts = Request::to_host(HOST, "GET", "/orders/1")
            .header("Host", "other.example")
            .bearer(&weak);
        self.assert_stopped(&two_hosts, "two hosts");
    }

    /// CL/TE: however two parsers disagree about the end of a message, the order is not served.
    pub fn assert_withstands_smuggling(&self) {
        let weak = self.weak();
        let hidden = format!(
            "GET /orders/1 HTTP/1.1\r\nHost: api.example\r\nX-Client-Id: admin\r\nAuthorization: Bearer {weak}\r\n\r\n"
        );
        let head = format!("POST /public/a HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {weak}\r\n");
        let (length, whole) = (hidden.len(), hidden.len() + 5);
        let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
        for (number, (what, message)) in [
            (
                "CL.TE",
                format!("{head}Content-Length: {whole}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
            ),
            (
                "TE.CL",
                format!("{head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
            ),
            (
                "TE with a tab",
                format!("{head}Content-Length: {whole}\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n{hidden}"),
            ),
            (
                "TE with a space before the colon",
                format!("{head}Content-Length: {whole}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
            ),
            (
                "TE of another name",
                format!("{head}Content-Length: {whole}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
            ),
            (
                "TE twice",
                format!("{head}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}"),
            ),
            (
                "TE with underscores",
                format!("{head}Content-Length: {whole}\r\nTransfer_Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
            ),
            (
                "TE folded",
                format!("{head}Content-Length: {whole}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}"),
            ),
            (
                "CL twice",
                format!("{head}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
            ),
            (
                "CL of a list",
                format!("{head}Content-Length: 0, {length}\r\n\r\n{hidden}"),
            ),
            (
                "CL with a sign",
                format!("{head}Content-Length: +{length}\r\n\r\n{hidden}"),
            ),
            (
                "CL with underscores",
                format!("{head}Content_Length: {length}\r\n\r\n{hidden}"),
            ),
            (
                "a body that is a request",
                format!("{head}Content-Length: {length}\r\n\r\n{hidden}"),
            ),
            (
                "a chunk that is a request",
                format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}"),
            ),
            (
                "a chunk of a wrong length",
                format!("{head}Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n{hidden}"),
            ),
            (
                "a bare line feed in a header",
                format!("{head}X-A: b\nContent-Length: {length}\r\n\r\n{hidden}"),
            ),
            (
                "a body of GET",
                format!(
                    "{}Content-Length: {length}\r\n\r\n{hidden}",
                    head.replacen("POST", "GET", 1)
                ),
            ),
            ("a pipeline", format!("{head}Content-Length: 0\r\n\r\n{hidden}")),
        ]
        .into_iter()
        .enumerate()
        {
            self.upstream.take_seen();
            // Responses to the previous message may still be on their way when the next one is
            // sent.
            let case = format!("/public/a?case={number} ");
            let message = message.replacen("/public/a ", &case, 1);
            let responses = exchange(self.address, message.as_bytes());
            let seen = self.upstream.take_seen();
            assert!(!responses.is_empty(), "{what}: no response at all");
            assert!(
                seen.iter()
                    .all(|head| head.starts_with("POST /public/a") || head.starts_with("GET /public/a")),
                "{what}: {seen:?}"
            );
            let of_this_case = seen.iter().filter(|head| head.contains(&case));
            assert!(of_this_case.count() <= 1, "{what}: {seen:?}");
            assert!(
                responses[1..].iter().all(|response| response.status != 200),
                "{what}: {responses:?}"
            );
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The only fenced block of the document in a language.
fn block(language: &str) -> String {
    let fence = format!("\n```{language}\n");
    let mut blocks = DOCUMENT.split(&fence).skip(1);
    let block = blocks
        .next()
        .unwrap_or_else(|| panic!("docs/gateways.md has no {language} block"));
    assert!(blocks.next().is_none(), "docs/gateways.md has two {language} blocks");
    block.split("\n```\n").next().unwrap().to_owned()
}
