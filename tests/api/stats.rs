//! `mintage stats`: the real program against a real server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use testkit::{Program, TestApp, TestClient, eventually};

/// The timeout for a line of output.
const LINE_TIMEOUT: Duration = Duration::from_secs(10);

const SHORT_INTERVAL: [&str; 2] = ["--interval", "200ms"];

fn arguments<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["stats", "--url", url], more, &SHORT_INTERVAL].concat()
}

/// A running `mintage stats`, killed when the test ends. Its output is read in the background.
struct RunningStats {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
}

impl RunningStats {
    fn start(command: &mut Command) -> std::io::Result<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Ok(Self {
            child,
            stdout: lines_of(stdout),
            stderr: lines_of(stderr),
        })
    }

    #[track_caller]
    fn next_line(&self) -> String {
        self.stdout
            .recv_timeout(LINE_TIMEOUT)
            .expect("a line on standard output")
    }

    #[track_caller]
    fn next_error_line(&self) -> String {
        self.stderr
            .recv_timeout(LINE_TIMEOUT)
            .expect("a line on standard error")
    }
}

impl Drop for RunningStats {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream. The stream is closed once the receiver is dropped.
fn lines_of(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// A server that sends the same bytes on every connection.
fn responding_with(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(10) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(bytes);
        }
    });
    format!("http://{address}")
}

#[test]
fn one_interval_is_printed_as_json_with_its_rates() {
    let (app, program) = (TestApp::start(), testkit::program!());
    let client = app.client(|_| {});
    let url = format!("http://{}", app.address);
    let command = ["stats", "--url", &url, "--once", "--json", "--interval", "1s"];
    let figures: Value = std::thread::scope(|scope| {
        let stats = scope.spawn(|| program.run(&command).json());
        while !stats.is_finished() {
            app.issue(&client, &[]);
            app.ask(&client.with_secret("wrong"), &[]);
        }
        stats.join().unwrap()
    });
    let at = |pointer: &str| {
        figures
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer} in {figures}"))
    };
    let number = |pointer| at(pointer).as_f64().unwrap_or_else(|| panic!("{pointer} in {figures}"));
    for positive in [
        "/tokens_per_second",
        "/refused_per_second",
        "/hit_rate",
        "/pool/max_size",
    ] {
        assert!(number(positive) > 0.0, "{positive} in {figures}");
    }
    assert!(
        number("/requests_per_second") > number("/tokens_per_second"),
        "{figures}"
    );
    let (p50, p99) = (number("/latency_seconds/p50"), number("/latency_seconds/p99"));
    assert!(0.0 < p50 && p50 <= p99 && p99 < 5.0, "{figures}");
    assert!((0.9..10.0).contains(&number("/interval_seconds")), "{figures}");
    assert!(
        number("/writer/pending") >= 0.0 && number("/revocations") == 0.0,
        "{figures}"
    );
    assert_eq!((at("/breaker"), at("/ready")), (&"closed".into(), &true.into()));
    assert_eq!(
        (at("/version"), at("/route")),
        (&env!("CARGO_PKG_VERSION").into(), &"/token".into())
    );
}

#[test]
fn a_pipe_receives_one_line_per_interval_until_it_is_closed() {
    let (app, program) = (TestApp::shared(), testkit::program!());
    let url = format!("http://{}", app.address);
    let mut stats = RunningStats::start(&mut program.command(&arguments(&url, &[]))).unwrap();
    for _ in 0..3 {
        let line = stats.next_line();
        for word in [
            " tokens/s=",
            " p99=",
            " hit_rate=",
            " pending=",
            " pool=",
            " breaker=closed",
            " revocations=",
        ] {
            assert!(line.contains(word), "{word} in {line}");
        }
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }
    // Like `| head -3`: the reading thread notices with the next line, the program with the one
    // after that.
    (_, stats.stdout) = mpsc::channel();
    let ended = eventually("the program exits", LINE_TIMEOUT, || stats.child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

/// `script` provides the terminal.
#[test]
fn a_terminal_is_redrawn() {
    let (app, program) = (TestApp::shared(), testkit::program!());
    let url = format!("http://{}", app.address);
    let command = format!("{} {}", env!("CARGO_BIN_EXE_mintage"), arguments(&url, &[]).join(" "));
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--flush", "--command", &command, "/dev/null"])
        .current_dir(program.path(""))
        .stdin(Stdio::null());
    let stats = RunningStats::start(&mut script).expect("`script` of the package bsdutils");
    let (deadline, mut drawn) = (Instant::now() + LINE_TIMEOUT, String::new());
    while drawn.matches("\u{1b}[H\u{1b}[2J").count() < 3 {
        assert!(Instant::now() < deadline, "{drawn}");
        drawn.push_str(&stats.next_line());
    }
    for word in [
        "tokens ",
        "latency ",
        "writer ",
        "pool ",
        "breaker      closed",
        " ready",
    ] {
        assert!(drawn.contains(word), "{word} in {drawn}");
    }
}

/// A port that is assigned to no other test while the socket exists: it is bound, but does not
/// listen. A server that is told to listen there can.
fn reserved_port() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

#[test]
fn a_server_without_metrics_is_reported_in_one_line() {
    let program = testkit::program!();
    let (_reserved, unreachable) = reserved_port();
    for (url, complaint) in [
        (format!("http://{unreachable}"), "cannot read http://"),
        (
            responding_with(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nup 1\n"),
            "does not answer with metrics of Mintage",
        ),
        (
            responding_with(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            "server.admin_listen",
        ),
        (
            responding_with(b"220 mail.example ESMTP\r\n\r\n"),
            "does not answer with HTTP",
        ),
    ] {
        let outcome = program.run(&arguments(&url, &["--once"]));
        assert!(outcome.failed(1).contains(complaint), "{complaint}: {outcome:?}");
    }
}

/// An HTTPS server that responds with a few metrics. Its self-signed certificate is valid for
/// localhost and 127.0.0.1; it was created with `openssl req -x509 -newkey ec -pkeyopt
/// ec_paramgen_curve:P-256 -nodes -days 36500 -subj /CN=localhost -addext
/// subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=CA:FALSE`.
fn responding_over_tls() -> SocketAddr {
    const METRICS: &str = "mintage_build_info{version=\"1.2.3\"} 1\nmintage_ready 1\n";
    let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/key.pem")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let length = METRICS.len();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{METRICS}");
            // Fails if the client does not trust the certificate.
            let _ = stream
                .read(&mut [0; 1024])
                .and_then(|_| stream.write_all(answer.as_bytes()));
        }
    });
    address
}

fn certificate_path() -> String {
    format!("{}/tests/api/tls/certificate.pem", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn stats_are_read_over_https_if_the_certificate_authority_is_trusted() {
    let address = responding_over_tls();
    let trusting = testkit::program!().with("SSL_CERT_FILE", &certificate_path());
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}", address.port());
        let outcome = trusting.run(&arguments(&url, &["--once", "--json"]));
        assert_eq!(outcome.json()["version"], "1.2.3", "{host}");
        trusting.run(&["health", "--url", &url]).done();
    }
    // Another user could add an authority of their own.
    let program = testkit::program!();
    std::fs::copy(certificate_path(), program.path("ca.pem")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(program.path("ca.pem"), mode).unwrap();
    let url = format!("https://127.0.0.1:{}", address.port());
    let outcome = program
        .with("SSL_CERT_FILE", "ca.pem")
        .run(&arguments(&url, &["--once"]));
    let line = outcome.failed(1);
    assert!(line.contains("the file of SSL_CERT_FILE has mode 0666"), "{line}");
}

#[test]
fn attack_a_server_with_an_untrusted_certificate_is_rejected() {
    let address = responding_over_tls();
    let trusting = testkit::program!().with("SSL_CERT_FILE", &certificate_path());
    let other = testkit::program!().with("SSL_CERT_FILE", "/nonexistent");
    for (program, host) in [(trusting, "127.0.0.2"), (other, "127.0.0.1")] {
        let url = format!("https://{host}:{}", address.port());
        let outcome = program.run(&arguments(&url, &["--once"]));
        let complaint = format!("the certificate of {url}/metrics is not valid here: ");
        let line = outcome.failed(1);
        assert!(
            line.contains(&complaint) && line.contains("SSL_CERT_FILE"),
            "{outcome:?}"
        );
    }
}

#[test]
fn https_to_a_plain_http_server_is_reported_in_one_line() {
    let app = TestApp::shared();
    let url = format!("https://{}", app.address);
    let outcome = testkit::program!().run(&arguments(&url, &["--once"]));
    assert!(outcome.failed(1).contains("does not speak TLS"), "{outcome:?}");
}

#[test]
fn usage_errors_are_reported_before_any_request_is_sent() {
    let program = testkit::program!();
    let ftp = program.run(&["stats", "--url", "ftp://tokens.example"]);
    assert!(ftp.failed(2).contains("must begin with http:// or https://"), "{ftp:?}");
    for interval in ["1ms", "2h", "soon"] {
        let outcome = program.run(&["stats", "--interval", interval]);
        assert!(outcome.failed(2).starts_with("mintage: --interval: "), "{outcome:?}");
    }
}

#[test]
fn stats_are_read_from_the_admin_listener_if_there_is_one() {
    let setup = testkit::app::Setup::new();
    let app = setup
        .configured(|config| config.server.admin_listen = "127.0.0.1:0".into())
        .start();
    let program = testkit::program!();
    let [public, admin] = [app.address, app.admin_address].map(|address| format!("http://{address}"));
    assert!(
        program
            .run(&arguments(&public, &["--once"]))
            .failed(1)
            .contains("server.admin_listen")
    );
    assert!(
        program
            .run(&arguments(&admin, &["--once"]))
            .done()
            .contains("tokens/s=0.0")
    );
}

/// A server whose metrics need a token, a client that may get one, and a program on the same
/// database that has the client's secret in the file `secret`.
fn closed() -> (TestApp, TestClient, Program) {
    let setup = testkit::app::Setup::new();
    let app = setup.configured(|config| config.server.open_metrics = false).start();
    let client = app.client_with_scope("mintage:read");
    let program = testkit::program!().on(&format!("sqlite:{}", app.database_path().display()), &[]);
    program.write("secret", &format!("{}\n", client.secret));
    (app, client, program)
}

/// The options that name a client.
fn named<'a>(id: &'a str, file: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--client-id", id, "--client-secret-file", file], more].concat()
}

#[test]
fn metrics_that_need_a_token_are_read_with_the_credentials_of_a_client() {
    let (app, client, program) = closed();
    let url = format!("http://{}", app.address);
    let options = named(&client.id, "secret", &["--json"]);
    let stats = RunningStats::start(&mut program.command(&arguments(&url, &options))).unwrap();
    let next = || serde_json::from_str::<Value>(&stats.next_line()).unwrap()["ready"].clone();
    assert_eq!([next(), next(), next()], [true, true, true]);
    for file in ["cmdline", "environ"] {
        let shown = std::fs::read(format!("/proc/{}/{file}", stats.child.id())).unwrap();
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.contains(&client.secret), "others on the machine can read it");
    }
    let recorded = |count| {
        let what = format!("{count} token records");
        eventually(&what, LINE_TIMEOUT, || {
            (app.recorded(&client).len() == count).then_some(())
        });
    };
    recorded(1);
    assert_eq!(program.run(&["client", "revoke-tokens", &client.id]).code, Some(0));
    recorded(2);
    assert_eq!([next(), next(), next()], [true, true, true]);
}

#[test]
fn the_secret_is_also_read_from_standard_input() {
    let (app, client, program) = closed();
    let url = format!("http://{}", app.address);
    let mut command = program.command(&arguments(&url, &named(&client.id, "-", &["--once"])));
    let secret = std::fs::File::open(program.path("secret")).unwrap();
    let output = command.stdin(secret).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
}

#[test]
fn a_secret_that_would_leave_the_machine_unencrypted_is_warned_about() {
    let (app, client, program) = closed();
    // Reaches this machine, but is not known to be it.
    let url = format!("http://0.0.0.0:{}", app.address.port());
    let run = |url: &str, options: &[&str]| program.run(&arguments(url, &[options, &["--once"]].concat()));
    let credentials = named(&client.id, "secret", &[]);
    let warned = run(&url, &credentials);
    assert_eq!(
        (warned.code, warned.stderr.as_str()),
        (
            Some(0),
            "mintage: warning: --url: over http, others on the way to 0.0.0.0 can read the secret of the client: use https\n"
        ),
    );
    for (url, options) in [(&url, &[][..]), (&url.replace("http:", "https:"), &credentials)] {
        let silent = run(url, options);
        assert!(!silent.failed(1).contains("warning"), "{silent:?}");
    }
}

#[test]
fn why_metrics_are_denied_is_reported_in_one_line() {
    let (app, reader, program) = closed();
    let url = format!("http://{}", app.address);
    let other = app.client(|_| {});
    program.write("other", &other.secret);
    program.write("empty", "\n");
    let complaint = |options: &[&str], code: i32| {
        let outcome = program.run(&arguments(&url, &[options, &["--once"]].concat()));
        outcome.failed(code).trim_start_matches("mintage: ").to_owned()
    };
    assert_eq!(
        complaint(&[], 1),
        format!(
            "{url}/metrics needs a token: name a client that has mintage:read with --client-id and \
             --client-secret-file, or set server.open_metrics"
        )
    );
    let wrong = complaint(&named(&reader.id, "other", &[]), 1);
    assert!(
        wrong.starts_with(&format!("{url}/token denies the client: check ")) && !wrong.contains(&other.secret),
        "{wrong}"
    );
    assert_eq!(
        complaint(&named(&other.id, "other", &[]), 1),
        format!("{url}/token denies the client: it must have the scope mintage:read")
    );
    let empty = complaint(&named(&reader.id, "empty", &[]), 1);
    assert_eq!(empty, "--client-secret-file: empty is empty");
    assert!(
        complaint(&named(&reader.id, "missing", &[]), 1).starts_with("--client-secret-file: cannot read missing: ")
    );
    for half in [["--client-id", "a"], ["--client-secret-file", "secret"]] {
        assert!(complaint(&half, 2).contains("--client-"), "both or none");
    }
}

/// A redirect would send the secret, or a token, elsewhere.
#[test]
fn attack_a_redirect_does_not_get_the_credentials() {
    let program = testkit::program!();
    program.write("secret", "mtgcsSecret");
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/token\r\nContent-Length: 0\r\n\r\n",
        elsewhere.local_addr().unwrap()
    );
    let url = responding_with(redirect.leak().as_bytes());
    let outcome = program.run(&arguments(&url, &named("a", "secret", &["--once"])));
    assert_eq!(
        outcome.failed(1),
        format!("mintage: {url}/token answers with status 307")
    );
    elsewhere.set_nonblocking(true).unwrap();
    assert_eq!(elsewhere.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// After a restart the counters start from zero, which must not result in negative rates.
#[test]
fn stats_continue_after_a_restart_of_the_server() {
    let (_reserved, address) = reserved_port();
    let program = testkit::program!()
        .with_database()
        .with("MINTAGE_SERVER__LISTEN", &address.to_string());
    let mut serving = program.serve(&[]);
    let url = format!("http://{address}");
    let stats = RunningStats::start(&mut program.command(&arguments(&url, &["--json"]))).unwrap();
    let next = || serde_json::from_str::<Value>(&stats.next_line()).unwrap();
    assert_eq!(next()["ready"], true);
    serving.stop();
    drop(serving);
    assert!(stats.next_error_line().starts_with("mintage: cannot read http://"));
    // Discards the output from before the restart.
    while stats.stdout.try_recv().is_ok() {}
    let _serving = program.serve(&[]);
    for _ in 0..2 {
        assert!(next()["requests_per_second"].as_f64().unwrap() >= 0.0);
    }
}
