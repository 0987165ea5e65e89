//! `mintage stats`, the true program, beside a true server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use testkit::{TestApp, eventually};

/// No line takes this long.
const PATIENCE: Duration = Duration::from_secs(10);

const FAST: [&str; 2] = ["--interval", "200ms"];

fn arguments<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["stats", "--url", url], more, &FAST].concat()
}

/// A program that watches until the test ends; what it says is read by the way.
struct Watching {
    child: Child,
    said: mpsc::Receiver<String>,
    complained: mpsc::Receiver<String>,
}

impl Watching {
    /// `None` when there is no such program.
    fn start(command: &mut Command) -> Option<Self> {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().ok()?;
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Some(Self {
            child,
            said: lines_of(stdout),
            complained: lines_of(stderr),
        })
    }

    #[track_caller]
    fn next_line(&self) -> String {
        self.said.recv_timeout(PATIENCE).expect("it says something")
    }

    #[track_caller]
    fn next_complaint(&self) -> String {
        self.complained.recv_timeout(PATIENCE).expect("it complains")
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream, until nobody wants them any more: then the stream is closed.
fn lines_of(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (said, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if said.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Answers every connection with the same bytes, until the test ends.
fn answering(bytes: &'static [u8]) -> String {
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
fn one_interval_is_shown_as_json_with_what_happened_in_it() {
    let (app, program) = (TestApp::start(), testkit::program!());
    let client = app.client(|_| {});
    let url = format!("http://{}", app.address);
    let command = ["stats", "--url", &url, "--once", "--json", "--interval", "1s"];
    let figures: Value = std::thread::scope(|scope| {
        let watching = scope.spawn(|| program.run(&command).json());
        while !watching.is_finished() {
            app.issue(&client, &[]);
            app.ask(&client.with_secret("wrong"), &[]);
        }
        watching.join().unwrap()
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
fn a_pipe_gets_a_line_an_interval_until_it_is_closed() {
    let (app, program) = (TestApp::shared(), testkit::program!());
    let url = format!("http://{}", app.address);
    let mut watching = Watching::start(&mut program.command(&arguments(&url, &[]))).unwrap();
    for _ in 0..3 {
        let line = watching.next_line();
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
    // As `| head -3` does; the reader notices with the next line, the program with the one after that.
    (_, watching.said) = mpsc::channel();
    let ended = eventually("it ends", PATIENCE, || watching.child.try_wait().unwrap());
    assert_eq!(ended.code(), Some(0));
}

/// A terminal of its own: `script` makes one.
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
    let Some(watching) = Watching::start(&mut script) else {
        return eprintln!("script is not installed");
    };
    let (deadline, mut drawn) = (Instant::now() + PATIENCE, String::new());
    while drawn.matches("\u{1b}[H\u{1b}[2J").count() < 3 {
        assert!(Instant::now() < deadline, "{drawn}");
        drawn.push_str(&watching.next_line());
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

#[test]
fn a_server_that_cannot_be_watched_is_said_in_one_line() {
    let program = testkit::program!();
    // Bound and not listening, so that no other test gets the port.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let nobody = bound.local_addr().unwrap().as_socket().unwrap();
    for (url, complaint) in [
        (format!("http://{nobody}"), "cannot read http://"),
        (
            answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nup 1\n"),
            "does not answer with metrics of Mintage",
        ),
        (
            answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            "server.admin_listen",
        ),
        (
            answering(b"220 mail.example ESMTP\r\n\r\n"),
            "does not answer with HTTP",
        ),
    ] {
        let outcome = program.run(&arguments(&url, &["--once"]));
        assert!(outcome.failed(1).contains(complaint), "{complaint}: {outcome:?}");
    }
}

/// A server on https that answers with few metrics, until the test ends. Its certificate is its own authority, and names
/// localhost and 127.0.0.1; it was made with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes
/// -days 36500 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=CA:FALSE`.
fn answering_over_tls() -> SocketAddr {
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
            // Fails where the client does not trust it.
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
fn a_server_is_watched_over_https_where_its_authority_is_trusted() {
    let address = answering_over_tls();
    let trusting = testkit::program!().with("SSL_CERT_FILE", &certificate_path());
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("https://{host}:{}", address.port());
        let outcome = trusting.run(&arguments(&url, &["--once", "--json"]));
        assert_eq!(outcome.json()["version"], "1.2.3", "{host}");
    }
}

#[test]
fn attack_a_server_with_a_foreign_certificate_is_not_watched() {
    let address = answering_over_tls();
    let trusting = testkit::program!().with("SSL_CERT_FILE", &certificate_path());
    let other = testkit::program!().with("SSL_CERT_FILE", "/nonexistent");
    for (program, host) in [(trusting, "127.0.0.2"), (other, "127.0.0.1")] {
        let url = format!("https://{host}:{}", address.port());
        let outcome = program.run(&arguments(&url, &["--once"]));
        let complaint = format!("the certificate of {url}/metrics is not valid here: ");
        let said = outcome.failed(1);
        assert!(
            said.contains(&complaint) && said.contains("SSL_CERT_FILE"),
            "{outcome:?}"
        );
    }
}

#[test]
fn https_where_there_is_none_is_said_in_one_line() {
    let app = TestApp::shared();
    let url = format!("https://{}", app.address);
    let outcome = testkit::program!().run(&arguments(&url, &["--once"]));
    assert!(outcome.failed(1).contains("does not speak TLS"), "{outcome:?}");
}

#[test]
fn wrong_usage_is_said_before_anybody_is_asked() {
    let program = testkit::program!();
    let ftp = program.run(&["stats", "--url", "ftp://tokens.example"]);
    assert!(ftp.failed(2).contains("must begin with http:// or https://"), "{ftp:?}");
    for interval in ["1ms", "2h", "soon"] {
        let outcome = program.run(&["stats", "--interval", interval]);
        assert!(outcome.failed(2).starts_with("mintage: --interval: "), "{outcome:?}");
    }
}

#[test]
fn the_listener_for_admin_is_asked_where_there_is_one() {
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

/// A server that is started again is watched on, and the counts that begin anew make no negative rates.
#[test]
fn a_restart_is_survived() {
    let program = testkit::program!().with_database();
    let mut serving = program.serve(&[]);
    let address = serving.address;
    let url = format!("http://{address}");
    let watching = Watching::start(&mut program.command(&arguments(&url, &["--json"]))).unwrap();
    let next = || serde_json::from_str::<Value>(&watching.next_line()).unwrap();
    assert_eq!(next()["ready"], true);
    serving.stop();
    drop(serving);
    assert!(watching.next_complaint().starts_with("mintage: cannot read http://"));
    // What it said before.
    while watching.said.try_recv().is_ok() {}
    let listen = address.to_string();
    let again = program.with("MINTAGE_SERVER__LISTEN", &listen);
    let _serving = again.serve(&[]);
    for _ in 0..2 {
        assert!(next()["requests_per_second"].as_f64().unwrap() >= 0.0);
    }
}
