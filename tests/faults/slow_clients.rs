//! Slow clients: slowhttptest sends heads and bodies and reads responses as slowly as it can, and
//! thousands of connections are idle. Other clients must not be delayed. On SQLite, so that no
//! database server affects the figures.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testkit::load::{Load, assert_as_quick, p99};
use testkit::open_files;
use testkit::token::token_request;
use testkit::{Server, TestClient};

struct Scene {
    server: Server,
    clients: Vec<TestClient>,
}

impl Scene {
    fn start() -> Self {
        let server = testkit::program!().on("sqlite:mintage.db", &[]).serve(&[]);
        let clients = (0..4).map(|_| server.client("a", &[])).collect();
        Self { server, clients }
    }

    /// Requests tokens during `nuisance`, on persistent and on new connections; every request must
    /// succeed. Returns the 99th percentile of the latency on persistent connections, before and
    /// during.
    fn undisturbed(&self, what: &str, quiet: Duration, nuisance: impl FnOnce(SocketAddr)) -> (Duration, Duration) {
        let load = Load::start(self.server.address, &self.clients, 1, Duration::from_millis(5));
        let started = Instant::now();
        std::thread::sleep(quiet);
        let began = Instant::now();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| self.send_on_new_connections(&over));
            nuisance(self.server.address);
            over.store(true, Ordering::Relaxed);
        });
        let ended = Instant::now();
        let receipts = load.stop();
        let failures = receipts.iter().filter(|receipt| receipt.status != 200).count();
        assert_eq!(failures, 0, "of {}", receipts.len());
        let (before, during) = (p99(&receipts, started, began), p99(&receipts, began, ended));
        println!(
            "{what}: p99 {before:.2?} before and {during:.2?} during, {} tokens",
            receipts.len()
        );
        (before, during)
    }
}

impl Scene {
    /// Sends each request on a new connection, and fails if a response takes almost as long as the
    /// server waits for a slow client: a worker that waits for one answers no one else meanwhile.
    fn send_on_new_connections(&self, over: &AtomicBool) {
        let mut latencies = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let arrived = Instant::now();
            let answer = self.server.send(&token_request(&self.clients[0], &[]));
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(
                arrived.elapsed() < Duration::from_secs(4),
                "answered after {:?}",
                arrived.elapsed()
            );
            latencies.push(arrived.elapsed());
            std::thread::sleep(Duration::from_millis(20));
        }
        latencies.sort_unstable();
        // Slow clients must not delay everyone a little either.
        let median = latencies[latencies.len() / 2];
        assert!(median < Duration::from_secs(1), "half of the responses took {median:?}");
    }
}

/// Runs slowhttptest for some seconds, on 500 connections, of which it opens 200 per second.
fn slowhttptest(address: SocketAddr, seconds: u32, attack: &[&str]) {
    let (url, seconds) = (format!("http://{address}/token"), seconds.to_string());
    let common = ["-u", &url, "-c", "500", "-r", "200", "-l", &seconds, "-p", "3"];
    let output = Command::new("slowhttptest")
        .args(common)
        .args(attack)
        .stdin(Stdio::null())
        .output()
        .expect("slowhttptest is installed: scripts/test gets it");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(report.contains("slow HTTP test status"), "{report}");
}

/// The three ways to be slow: sending heads, sending bodies, reading.
const ATTACKS: [&[&str]; 3] = [
    &["-H", "-i", "1", "-x", "24"],
    &["-B", "-i", "1", "-s", "8192", "-x", "10", "-t", "POST"],
    &["-X", "-n", "1", "-w", "10", "-y", "20", "-z", "32", "-k", "3"],
];

fn slow_requests(seconds: u32) -> [(Duration, Duration); 3] {
    open_files::raise(4096);
    let scene = Scene::start();
    let quiet = Duration::from_secs(u64::from(seconds.min(10)) / 2);
    ATTACKS.map(|attack| scene.undisturbed(attack[0], quiet, |address| slowhttptest(address, seconds, attack)))
}

/// Opens `count` idle connections, and reopens each that the server closes, for `length`.
fn stay_connected(address: SocketAddr, count: usize, length: Duration) {
    let end = Instant::now() + length;
    let open = || TcpStream::connect(address).unwrap();
    let mut idle: Vec<TcpStream> = (0..count).map(|_| open()).collect();
    while Instant::now() < end {
        for connection in &mut idle {
            connection.set_nonblocking(true).unwrap();
            if !matches!(connection.peek(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) {
                *connection = open();
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn idle_connections(count: usize, length: Duration) -> (Duration, Duration) {
    open_files::raise(count + 2000);
    let scene = Scene::start();
    scene.undisturbed(&format!("{count} idle connections"), length / 2, |address| {
        stay_connected(address, count, length);
    })
}

#[test]
fn slow_requests_do_not_delay_other_clients() {
    slow_requests(4);
}

#[test]
fn idle_connections_do_not_delay_other_clients() {
    idle_connections(2000, Duration::from_secs(4));
}

#[test]
#[ignore = "takes more than a minute: scripts/test --soak"]
fn soak_slow_requests_do_not_delay_other_clients() {
    for (before, during) in slow_requests(20) {
        assert_as_quick(before, during);
    }
}

#[test]
#[ignore = "opens 10,000 connections: scripts/test --soak"]
fn soak_idle_connections_do_not_delay_other_clients() {
    let (before, during) = idle_connections(10_000, Duration::from_secs(20));
    assert_as_quick(before, during);
}
