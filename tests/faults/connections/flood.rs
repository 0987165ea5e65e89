//! Memory under floods: connections that send as fast as they can and never read.

use std::time::{Duration, Instant};

use mintage::server::{CONNECTION_BUFFERS, MAX_HELD};
use testkit::http::Request;
use testkit::poll::until;
use testkit::raw::RawConnection;
use testkit::{Server, open_files};

use super::{LATE, LIVEZ, OK, Operator, program};

const CONNECTIONS: usize = 100;

/// Requests that each connection sends.
const REQUESTS: usize = 20_000;

/// How much more memory the server may use during a flood.
const MAX_MORE_KIB: u64 = 64 << 10;

/// How much more it may keep after it: pages of the allocator that are partly in use.
const MAX_KEPT_KIB: u64 = 32 << 10;

/// How soon the memory is given back.
const GIVEN_BACK: Duration = Duration::from_secs(30);

const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that stay open while the memory is measured.
const OPEN: usize = 2500;

/// What a server uses besides its connections, after so many requests: a debug build needs more
/// than its caches and pages of the allocator that are partly in use.
const OTHER_KIB: u64 = 8 << 10;

/// What each connection sends: a beginning, and then this over and over.
struct Flood {
    name: &'static str,
    begin: Vec<u8>,
    repeated: Vec<u8>,
    /// The number of bytes.
    length: usize,
}

impl Flood {
    fn of_requests(name: &'static str, request: impl Into<Vec<u8>>) -> Self {
        let request = request.into();
        Self {
            name,
            begin: Vec::new(),
            length: request.len() * REQUESTS,
            repeated: request.repeat(100),
        }
    }

    /// One request that never ends.
    fn endless(name: &'static str, begin: impl Into<Vec<u8>>, repeated: &str) -> Self {
        Self {
            name,
            begin: begin.into(),
            length: 1 << 20,
            repeated: repeated.repeat(100).into_bytes(),
        }
    }

    /// The bytes from this position on; not all of them.
    fn from(&self, sent: usize) -> &[u8] {
        match sent.checked_sub(self.begin.len()) {
            Some(sent) => &self.repeated[sent % self.repeated.len()..],
            None => &self.begin[sent..],
        }
    }

    /// Sends it on all connections until they are aborted or nothing has happened for longer than a
    /// deadline. The server must not use much more memory than `before`
    /// meanwhile, and must give it back.
    fn run(&self, server: &Server, before: u64) {
        let mut connections: Vec<(RawConnection, usize)> = (0..CONNECTIONS)
            .map(|_| (RawConnection::open_narrow(server.address), 0))
            .collect();
        let mut progress = Instant::now();
        let mut most = 0;
        while progress.elapsed() < REQUEST_TIMEOUT + LATE {
            let mut open = 0;
            for (connection, sent) in &mut connections {
                if connection.is_reset() {
                    continue;
                }
                open += 1;
                if *sent >= self.length {
                    continue;
                }
                let taken = connection.send(self.from(*sent));
                *sent += taken;
                if taken > 0 {
                    progress = Instant::now();
                }
            }
            // At every look: a server without bounds would take all memory of the machine.
            most = most.max(server.resident_memory_kib().saturating_sub(before));
            assert!(most < MAX_MORE_KIB, "{}: {most} KiB more", self.name);
            if open == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let sent: usize = connections.iter().map(|(_, sent)| sent).sum();
        drop(connections);
        let ended = Instant::now();
        let kept = || server.resident_memory_kib().saturating_sub(before);
        while kept() >= MAX_KEPT_KIB {
            let more = kept();
            assert!(
                ended.elapsed() < GIVEN_BACK,
                "{}: {most} KiB more, {more} KiB not given back",
                self.name
            );
            // As an orchestrator does: the allocator tidies up when it is used.
            assert_eq!(server.send(&Request::get("/livez")).status, 200);
            std::thread::sleep(Duration::from_millis(100));
        }
        println!(
            "{}: {sent} bytes taken, {most} KiB more, given back after {:.1?}",
            self.name,
            ended.elapsed()
        );
    }
}

/// Runs floods, one after the other, against one server.
fn floods(make: impl FnOnce(&Operator) -> Vec<Flood>) {
    let server = program(&[("MINTAGE_SERVER__REQUEST_TIMEOUT", "2s"), ("MIMALLOC_PURGE_DELAY", "0")]).serve(&[]);
    let operator = Operator::of(&server);
    for number in 0..60 {
        let status = operator.create_client(server.address, &format!("{number} {}", "long ".repeat(20)));
        assert_eq!(status, Some(201));
    }
    let before = server.resident_memory_kib();
    for flood in make(&operator) {
        flood.run(&server, before);
    }
}

#[test]
fn pipelined_requests_without_a_reader_take_little_memory() {
    floods(|operator| {
        let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let bearer = format!("Authorization: Bearer {}", operator.token);
        let token = "POST /token HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let list = format!("GET /admin/clients?limit=50 HTTP/1.1\r\nHost: h\r\n{bearer}\r\n\r\n");
        let chunks = format!("{token}Transfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n");
        vec![
            Flood::of_requests("livez", LIVEZ),
            Flood::of_requests("livez, lines that end with LF", "GET /livez HTTP/1.1\nHost: h\n\n"),
            Flood::of_requests(
                "livez of HTTP/1.0",
                "GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            ),
            Flood::of_requests("unknown path", get("/nothing")),
            Flood::of_requests("JWKS", get("/.well-known/jwks.json")),
            Flood::of_requests("metrics", get("/metrics")),
            Flood::of_requests("console", get("/console/overview.js")),
            Flood::of_requests("clients", list),
            Flood::of_requests("token", format!("{token}Content-Length: 3\r\n\r\na=b")),
            Flood::of_requests("token with chunks", chunks),
            Flood::of_requests("validate", get("/validate")),
        ]
    });
}

#[test]
fn endless_requests_take_little_memory() {
    floods(|_| {
        let head = |line: &str| format!("{line} HTTP/1.1\r\nHost: h\r\n");
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        let chunked = "Transfer-Encoding: chunked\r\n\r\n";
        let mut floods = vec![
            Flood::endless("a header", head("GET /jwks") + "X: ", "aaaaaaaaaaaaaaaaaaaa"),
            Flood::endless("headers", head("GET /jwks"), "X: y\r\n"),
            Flood::endless("empty lines", "", "\r\n"),
        ];
        for (name, line) in [
            ("chunks for token", head("POST /token") + form),
            ("chunks for livez", head("GET /livez")),
            ("chunks for an unknown path", head("POST /nothing")),
        ] {
            floods.push(Flood::endless(name, line.clone() + chunked, "1\r\na\r\n"));
            floods.push(Flood::endless(
                name,
                line.clone() + chunked,
                "14\r\naaaaaaaaaaaaaaaaaaaa\r\n",
            ));
            floods.push(Flood::endless(
                name,
                line.clone() + chunked + "1;",
                "aaaaaaaaaaaaaaaaaaaa",
            ));
            floods.push(Flood::endless(
                name,
                line.clone() + chunked + "0",
                "00000000000000000000",
            ));
            floods.push(Flood::endless(
                name,
                line.clone() + chunked + "0\r\n",
                "X: yyyyyyyyyyyyyyy\r\n",
            ));
            floods.push(Flood::endless(
                name,
                line + "Content-Length: 99999999\r\n\r\n",
                "aaaaaaaaaaaaaaaaaaaa",
            ));
        }
        floods
    });
}

/// Opens connections that send this, read what comes, and stay open. All of them must not need more
/// memory than the documented sum. `is_answered` if each request is whole.
fn stay_open(name: &str, request: &[u8], is_answered: bool) {
    open_files::raise(8192);
    let server = program(&[
        ("MINTAGE_SERVER__REQUEST_TIMEOUT", "60s"),
        ("MINTAGE_SERVER__OPEN_METRICS", "true"),
        ("MIMALLOC_PURGE_DELAY", "0"),
    ])
    .serve(&[]);
    for _ in 0..20 {
        assert_eq!(server.send(&Request::get("/metrics")).status, 200);
    }
    let before = server.resident_memory_kib();
    let mut connections: Vec<(RawConnection, usize)> = Vec::new();
    let mut served = 0;
    let mut exchange = |connections: &mut Vec<(RawConnection, usize)>| {
        for (connection, sent) in connections {
            *sent += connection.send(&request[*sent..]);
            connection.receive();
            served += usize::from(connection.received.starts_with(OK));
            connection.received.clear();
        }
    };
    while connections.len() < OPEN {
        connections.extend((0..50).map(|_| (RawConnection::open(server.address), 0)));
        exchange(&mut connections);
    }
    until("the server has nothing to do", Duration::from_secs(60), || {
        exchange(&mut connections);
        let before = server.processor_time();
        std::thread::sleep(Duration::from_millis(500));
        server.processor_time() - before < Duration::from_millis(100)
    });
    exchange(&mut connections);
    let more = server.resident_memory_kib().saturating_sub(before);
    let open = connections
        .iter()
        .filter(|(connection, _)| connection.end().is_none())
        .count();
    let most = ((CONNECTION_BUFFERS * OPEN + MAX_HELD) >> 10) as u64 + OTHER_KIB;
    println!("{name}: {more} KiB more, at most {most}, {open} connections are open");
    assert!(!is_answered || served >= OPEN, "{name}: {served} were served");
    assert!(more <= most, "{name}: {more} KiB more, at most {most}");
}

#[test]
fn connections_that_stay_open_need_no_more_memory_than_is_documented() {
    let long = format!("Host: h\r\nX: {}\r\n", "a".repeat(31 << 10));
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
    let token = |headers: &str, length: usize, body: &str| {
        format!("POST /token HTTP/1.1\r\n{form}{headers}Content-Length: {length}\r\n\r\n{body}")
    };
    for (name, request, is_answered) in [
        ("small requests", get("/livez"), true),
        ("large heads", format!("GET /livez HTTP/1.1\r\n{long}\r\n"), true),
        ("large heads with a part of a body", token(&long, 1000, "a"), false),
        ("bodies", token("Host: h\r\n", 30_000, &"a".repeat(30_000)), false),
        ("the console", get("/console/overview.js"), true),
        ("metrics", get("/metrics"), true),
    ] {
        stay_open(name, request.as_bytes(), is_answered);
    }
}
