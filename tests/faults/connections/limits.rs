//! How many connections there may be, from one address and in all, and which ones are closed for
//! others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use testkit::http::RESPONSE_TIMEOUT;
use testkit::poll::until;
use testkit::raw::RawConnection;
use testkit::{Server, open_files};

use super::{LIVEZ, NEIGHBOR, OK, STRANGER, count, program};

/// A trusted proxy.
const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

/// Longer than the server takes to notice that one connection is idle for longer than another.
const APART: Duration = Duration::from_millis(700);

/// A server with these limits and one worker.
fn server(connections: usize, per_address: usize, settings: &[(&str, &str)]) -> Server {
    let (connections, per_address) = (connections.to_string(), per_address.to_string());
    let limits = [
        ("MINTAGE_SERVER__WORKERS", "1"),
        ("MINTAGE_SERVER__MAX_CONNECTIONS", connections.as_str()),
        ("MINTAGE_SERVER__MAX_CONNECTIONS_PER_ADDRESS", per_address.as_str()),
    ];
    program(&[&limits, settings].concat()).serve(&[])
}

/// Whether a request is answered, on a connection that the server may have closed.
fn is_served(connection: &mut RawConnection) -> bool {
    let before = count(&connection.received, OK);
    connection.send(LIVEZ);
    until("an answer or the end", RESPONSE_TIMEOUT, || {
        connection.receive();
        connection.end().is_some() || count(&connection.received, OK) > before
    });
    count(&connection.received, OK) > before
}

fn served_from(from: IpAddr, to: SocketAddr) -> RawConnection {
    let mut connection = RawConnection::open_from(from, to);
    assert!(is_served(&mut connection), "from {from}");
    connection
}

#[track_caller]
fn until_closed(connection: &mut RawConnection) {
    until("the server closes the connection", RESPONSE_TIMEOUT, || {
        connection.receive();
        connection.end().is_some()
    });
}

fn is_open(connection: &mut RawConnection) -> bool {
    connection.receive();
    connection.end().is_none()
}

/// The value of a series of the metrics; 0 if there is none.
fn metric(server: &Server, series: &str) -> f64 {
    server.metrics().value(series).unwrap_or(0.0)
}

const REJECTED: &str = r#"mintage_connections_rejected_total{reason="address"}"#;

#[test]
fn one_address_holds_only_its_share_of_the_connections() {
    let server = server(64, 8, &[]);
    let mut held: Vec<RawConnection> = (0..8).map(|_| served_from(STRANGER, server.address)).collect();
    for rejected in 1..=12 {
        let mut connection = RawConnection::open_from(STRANGER, server.address);
        until_closed(&mut connection);
        assert_eq!(connection.received, b"");
        until("it is counted", RESPONSE_TIMEOUT, || {
            metric(&server, REJECTED) == f64::from(rejected)
        });
    }
    assert!(held.iter_mut().all(is_served), "those that it holds stay open");
    // Others have shares of their own, and so has one that has let go of a connection.
    let _other = served_from(NEIGHBOR, server.address);
    held.pop();
    until("a connection in its place is served", RESPONSE_TIMEOUT, || {
        is_served(&mut RawConnection::open_from(STRANGER, server.address))
    });
}

#[test]
fn a_trusted_proxy_may_hold_more_than_the_share_of_an_address() {
    let server = server(64, 8, &[]);
    let mut held: Vec<RawConnection> = (0..32).map(|_| served_from(PROXY, server.address)).collect();
    assert!(held.iter_mut().all(is_served));
    assert_eq!(metric(&server, REJECTED), 0.0);
}

#[test]
fn an_address_of_ipv6_is_as_good_as_one_of_ipv4() {
    let server = server(
        64,
        4,
        &[
            ("MINTAGE_SERVER__LISTEN", "[::1]:0"),
            ("MINTAGE_SERVER__TRUSTED_PROXIES", r#"["127.0.0.1"]"#),
        ],
    );
    let address = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    let _held: Vec<RawConnection> = (0..4).map(|_| served_from(address, server.address)).collect();
    until_closed(&mut RawConnection::open_from(address, server.address));
}

#[test]
fn the_connection_that_is_idle_for_longest_makes_room() {
    let server = server(5, 5, &[]);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(served_from(PROXY, server.address));
        std::thread::sleep(APART);
    }
    // The first becomes the one that is idle for the shortest time.
    assert!(is_served(&mut held[0]));
    let mut new = Vec::new();
    for closed in [1, 2, 3] {
        new.push(served_from(PROXY, server.address));
        until_closed(&mut held[closed]);
        std::thread::sleep(APART);
    }
    let open: Vec<bool> = held.iter_mut().map(is_open).collect();
    assert_eq!(open, [true, false, false, false, true]);
    assert!(new.iter_mut().all(is_open));
}

#[test]
fn a_connection_whose_request_is_handled_does_not_make_room() {
    let server = server(5, 5, &[("MINTAGE_SERVER__REQUEST_TIMEOUT", "60s")]);
    let body = b"grant_typ";
    let head = format!(
        "POST /token HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut busy: Vec<RawConnection> = (0..4)
        .map(|_| {
            let mut connection = RawConnection::open_from(PROXY, server.address);
            connection.send(head.as_bytes());
            connection
        })
        .collect();
    for _ in 0..3 {
        let mut idle = served_from(PROXY, server.address);
        std::thread::sleep(APART);
        let new = served_from(PROXY, server.address);
        until_closed(&mut idle);
        assert!(busy.iter_mut().all(is_open));
        // The server sees that it closes before the next one comes.
        drop(new);
        std::thread::sleep(APART);
    }
    for connection in &mut busy {
        connection.send(body);
        until("the answer", RESPONSE_TIMEOUT, || {
            connection.receive();
            !connection.responses().is_empty()
        });
    }
}

#[test]
fn the_metrics_tell_what_connections_do() {
    let server = server(64, 8, &[]);
    let mut idle: Vec<RawConnection> = (0..5).map(|_| served_from(PROXY, server.address)).collect();
    let mut active = RawConnection::open_from(PROXY, server.address);
    active.send(b"GET /livez HTTP/1.1\r\n");
    until(
        "five are idle, and two active with this request",
        RESPONSE_TIMEOUT,
        || {
            metric(&server, r#"mintage_connections{state="idle"}"#) == 5.0
                && metric(&server, r#"mintage_connections{state="active"}"#) == 2.0
        },
    );
    drop(active);
    idle.clear();
    until("only this request is left", RESPONSE_TIMEOUT, || {
        metric(&server, r#"mintage_connections{state="idle"}"#) == 0.0
            && metric(&server, r#"mintage_connections{state="active"}"#) == 1.0
    });
}

#[test]
fn the_soft_limit_of_open_files_is_raised_to_the_hard_limit() {
    let program = program(&[]);
    let mut server = program.spawn(&["prlimit", "--nofile=256:3000"], &[]);
    server.wait_until_it_listens().expect("the server listens");
    server.wait_until_ready();
    assert_eq!(open_files::soft_limit(&server.pid().to_string()), 3000);
    open_files::raise(4096);
    // More than fit below the limit that it was started with.
    let mut held: Vec<RawConnection> = (0..600).map(|_| served_from(PROXY, server.address)).collect();
    assert!(held.iter_mut().all(is_open));
}
