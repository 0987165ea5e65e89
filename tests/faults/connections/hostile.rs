//! More hostile connections than the server may have open files, in every state, while others work.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::http::{Connection, RESPONSE_TIMEOUT, Request};
use testkit::poll::until;
use testkit::raw::RawConnection;
use testkit::token::token_request;
use testkit::{Server, TestClient, open_files};

use super::{LIVEZ, Operator, program};

/// The server's limit of open files.
const FILES: &str = "--nofile=1024:1024";

/// Hostile connections.
const HOSTILE: usize = 1400;

/// How many of those that the server has closed are opened again in an interval: with more, a slow
/// machine would have nothing else to do than accept them.
const MAX_REOPENED: usize = 10;

const REOPEN_INTERVAL: Duration = Duration::from_millis(20);

/// Ordinary clients, each with a connection.
const ORDINARY: usize = 64;

/// Between two requests of one of them.
const ORDINARY_PAUSE: Duration = Duration::from_millis(200);

/// How soon a new connection is served.
const SERVED: Duration = Duration::from_secs(2);

/// A way to hold a connection.
#[derive(Clone)]
struct Hold {
    name: &'static str,
    bytes: Vec<u8>,
    reads: bool,
}

fn holds() -> Vec<Hold> {
    let hold = |name, bytes: &str, reads| Hold {
        name,
        bytes: bytes.as_bytes().to_vec(),
        reads,
    };
    let livez = std::str::from_utf8(LIVEZ).unwrap();
    let chunked = "Host: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    vec![
        hold(
            "chunks that are not read",
            &format!("POST /livez HTTP/1.1\r\n{chunked}"),
            true,
        ),
        hold("nothing sent", "", true),
        hold("a first head", "G", true),
        hold("idle", livez, true),
        hold("a later head", &format!("{livez}G"), true),
        hold(
            "a body",
            &format!("POST /token HTTP/1.1\r\n{form}{chunked}2\r\ngr\r\n"),
            true,
        ),
        hold("unread responses", &livez.repeat(300), false),
    ]
}

/// Keeps all connections open in the states, connection by connection, and opens each again when
/// the server has closed it.
fn hold_connections(server: SocketAddr, from: &[IpAddr], holds: &[Hold], established: &AtomicUsize, over: &AtomicBool) {
    let open = |number: usize| {
        let hold = &holds[number % holds.len()];
        let buffer = (!hold.reads).then_some(4096);
        let mut connection = RawConnection::try_open(Some(from[number % from.len()]), buffer, server).ok()?;
        connection.send(&hold.bytes);
        Some(connection)
    };
    let mut connections: Vec<Option<RawConnection>> = Vec::new();
    for number in 0..HOSTILE {
        connections.push(open(number));
        established.fetch_add(1, Ordering::Relaxed);
    }
    let mut next = 0;
    while !over.load(Ordering::Relaxed) {
        let mut reopened = 0;
        // Begins where the last round has ended, so that each gets its turn.
        for number in (next..HOSTILE).chain(0..next) {
            let connection = &mut connections[number];
            let ended = match connection {
                Some(connection) if holds[number % holds.len()].reads => {
                    connection.receive();
                    connection.received.clear();
                    connection.end().is_some()
                }
                Some(connection) => connection.is_reset(),
                None => true,
            };
            if ended {
                *connection = None;
                *connection = open(number);
                reopened += 1;
            }
            if reopened == MAX_REOPENED {
                next = number;
                break;
            }
        }
        std::thread::sleep(REOPEN_INTERVAL);
    }
}

/// Ends the other threads of a test, even when it fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A server with few files, and its clients.
struct Scene {
    server: Server,
    operator: Operator,
    clients: Vec<TestClient>,
}

impl Scene {
    fn start() -> Self {
        open_files::raise(8192);
        let program = program(&[]);
        let mut server = program.spawn(&["prlimit", FILES], &[]);
        server.wait_until_it_listens().expect("the server listens");
        server.wait_until_ready();
        let operator = Operator::of(&server);
        let clients = (0..4).map(|_| server.client("a", &[])).collect();
        server.wait_for_change_feed();
        Self {
            server,
            operator,
            clients,
        }
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.server.pid()))
            .unwrap()
            .count()
    }

    /// Holds connections from these addresses for a while. Ordinary clients must see no error, new
    /// ones must be served, and the server must be able to use its database.
    fn withstands(&self, from: &[IpAddr], holds: &[Hold], length: Duration) {
        let names: Vec<&str> = holds.iter().map(|hold| hold.name).collect();
        let (established, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let latencies = Mutex::default();
        let [served, repeated, failed]: [AtomicUsize; 3] = Default::default();
        let mut most_files = 0;
        std::thread::scope(|scope| {
            let _end = SetOnDrop(&over);
            for number in 0..ORDINARY {
                let client = &self.clients[number % self.clients.len()];
                let (over, counts) = (&over, [&served, &repeated, &failed]);
                scope.spawn(move || self.request_again_and_again(client, over, counts));
            }
            until("every ordinary client is served", Duration::from_secs(20), || {
                served.load(Ordering::Relaxed) >= 2 * ORDINARY
            });
            scope.spawn(|| hold_connections(self.server.address, from, holds, &established, &over));
            scope.spawn(|| self.connect_again_and_again(&over, &latencies));
            let mut began = None;
            let mut number = 0;
            // The time counts from when all are there.
            while began.is_none_or(|began: Instant| began.elapsed() < length) {
                if established.load(Ordering::Relaxed) == HOSTILE {
                    began.get_or_insert_with(Instant::now);
                }
                number += 1;
                let name = format!("client {number}");
                until("the database takes a client", RESPONSE_TIMEOUT, || {
                    self.operator.create_client(self.server.address, &name) == Some(201)
                });
                most_files = most_files.max(self.open_files());
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let [served, repeated, failed] = [served, repeated, failed].map(AtomicUsize::into_inner);
        let mut latencies: Vec<Duration> = latencies.into_inner().unwrap();
        latencies.sort_unstable();
        let (half, slowest) = (latencies[latencies.len() / 2], latencies[latencies.len() - 1]);
        println!(
            "{names:?}: {served} requests served, {repeated} repeated, {failed} failed, half of the new connections \
             within {half:.1?} and all within {slowest:.1?}, {most_files} files"
        );
        assert_eq!(
            failed, 0,
            "{names:?}: requests of ordinary clients, {served} others were served"
        );
        assert!(
            // A client repeats a request on a connection that closes at that moment (RFC 9110 §9.2.2). On a
            // busy machine, some look idle that only had no processor time.
            repeated <= served / 50,
            "{names:?}: {repeated} of {served} requests had to be repeated"
        );
        // A busy machine may not run this process, or the server, for a while. Those that are not served
        // at all have failed above.
        assert!(
            half < SERVED,
            "{names:?}: half of the new connections waited for {half:.1?}"
        );
        // Some stay free for what the server opens meanwhile.
        assert!(most_files < 1000, "{names:?}: {most_files} open files");
        let log = self.server.log();
        assert!(
            !log.contains("Too many open files") && !log.contains("os error 24"),
            "{log}"
        );
    }

    /// Requests tokens as an ordinary client: on one connection for as long as the server keeps it.
    fn request_again_and_again(
        &self,
        client: &TestClient,
        over: &AtomicBool,
        [served, repeated, failed]: [&AtomicUsize; 3],
    ) {
        let request = token_request(client, &[]);
        let mut connection = None;
        while !over.load(Ordering::Relaxed) {
            // An idle connection may be closed at any time; then clients open another. So they do when
            // a connection is closed before the response: if the machine runs this thread too late, it
            // has not sent its request when others need the place.
            let is_served = (0..3).any(|attempt| {
                if attempt > 0 {
                    repeated.fetch_add(1, Ordering::Relaxed);
                }
                let open = connection.take().filter(|open: &Connection| !open.is_closed());
                let response = open
                    .or_else(|| Connection::try_open(self.server.address))
                    .and_then(|mut open| {
                        let response = open.try_ask(&request)?;
                        connection = (!response.closes()).then_some(open);
                        Some(response)
                    });
                response.is_some_and(|response| response.status == 200)
            });
            let count = if is_served { served } else { failed };
            count.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(ORDINARY_PAUSE);
        }
    }

    /// Sends requests on new connections, and keeps how long each took.
    fn connect_again_and_again(&self, over: &AtomicBool, latencies: &Mutex<Vec<Duration>>) {
        while !over.load(Ordering::Relaxed) {
            let began = Instant::now();
            // One that has not sent its request yet may have to make room for another.
            until("a new connection is served", RESPONSE_TIMEOUT, || {
                let response = Connection::try_open(self.server.address)
                    .and_then(|mut connection| connection.try_ask(&Request::get("/livez")));
                response.is_some_and(|response| response.status == 200)
            });
            latencies.lock().unwrap().push(began.elapsed());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn addresses(last: std::ops::RangeInclusive<u8>) -> Vec<IpAddr> {
    last.map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect()
}

/// The address of a trusted proxy, which may hold any number of connections.
fn proxy() -> Vec<IpAddr> {
    addresses(1..=1)
}

#[test]
fn connections_from_one_address_do_not_shut_others_out() {
    let scene = Scene::start();
    scene.withstands(&addresses(2..=2), &holds(), Duration::from_secs(4));
}

#[test]
fn connections_from_many_addresses_do_not_shut_others_out() {
    let scene = Scene::start();
    scene.withstands(&addresses(2..=21), &holds(), Duration::from_secs(7));
}

#[test]
fn connections_through_a_trusted_proxy_do_not_shut_others_out() {
    let scene = Scene::start();
    scene.withstands(&proxy(), &holds(), Duration::from_secs(7));
}

#[test]
fn connections_in_any_one_state_do_not_shut_others_out() {
    let scene = Scene::start();
    for hold in holds() {
        scene.withstands(&proxy(), &[hold], Duration::from_secs(2));
    }
}

#[test]
fn connections_to_the_public_listener_do_not_shut_operators_out() {
    let program = program(&[("MINTAGE_SERVER__ADMIN_LISTEN", "127.0.0.1:0")]);
    open_files::raise(8192);
    let mut server = program.spawn(&["prlimit", FILES], &[]);
    server.wait_until_it_listens().expect("the server listens");
    server.wait_until_ready();
    let admin: SocketAddr = server.admin_origin()["http://".len()..].parse().unwrap();
    let (established, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| hold_connections(server.address, &proxy(), &holds(), &established, &over));
        let _end = SetOnDrop(&over);
        until("all connections are there", Duration::from_secs(60), || {
            established.load(Ordering::Relaxed) == HOSTILE
        });
        let mut latencies: Vec<Duration> = (0..20)
            .map(|_| {
                let began = Instant::now();
                assert_eq!(Request::get("/metrics").send(admin).status, 200);
                let took = began.elapsed();
                std::thread::sleep(Duration::from_millis(100));
                took
            })
            .collect();
        latencies.sort_unstable();
        assert!(latencies[10] < SERVED, "{latencies:?}");
    });
}

/// A few connections in each state.
fn in_each_state(server: SocketAddr, each: usize) -> Vec<RawConnection> {
    let mut connections = Vec::new();
    for hold in holds() {
        for _ in 0..each {
            let mut connection = RawConnection::open_narrow(server);
            connection.send(&hold.bytes);
            connections.push(connection);
        }
    }
    connections
}

#[test]
fn connections_that_wait_take_no_processor_time() {
    open_files::raise(4096);
    let server = program(&[("MINTAGE_SERVER__REQUEST_TIMEOUT", "60s")]).serve(&[]);
    let mut connections = in_each_state(server.address, 60);
    let flood = LIVEZ.repeat(1000);
    for _ in 0..60 {
        connections.push(RawConnection::open_narrow(server.address));
    }
    let flooding = connections.len() - 60;
    // Until everything stands still, which takes a while: all that fits into the buffers is answered.
    until("the server has nothing to do", Duration::from_secs(60), || {
        for connection in &mut connections[flooding..] {
            connection.send(&flood);
        }
        let before = server.processor_time();
        std::thread::sleep(Duration::from_secs(1));
        server.processor_time() - before < Duration::from_millis(150)
    });
}

#[test]
fn connections_in_any_state_do_not_keep_the_server_from_stopping() {
    let server = program(&[
        ("MINTAGE_SERVER__REQUEST_TIMEOUT", "2s"),
        ("MINTAGE_SERVER__SHUTDOWN_TIMEOUT", "40s"),
    ]);
    let mut server = server.serve(&[]);
    let _connections = in_each_state(server.address, 5);
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    server.stop();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}
