//! Clients that are slow or unusual, and within their rights.

use std::time::{Duration, Instant};

use testkit::http::{Connection, RESPONSE_TIMEOUT, Request, Response};
use testkit::poll::until;
use testkit::raw::{End, RawConnection};
use testkit::token::token_request;
use testkit::{Server, TestClient};

use super::{LIVEZ, Operator, count, program};

/// A server with short deadlines, and a client.
fn scene(settings: &[(&str, &str)]) -> (Server, TestClient) {
    let server = program(settings).serve(&[]);
    let client = server.client("a", &[]);
    (server, client)
}

/// Sends bytes in pieces of this size.
fn in_pieces(connection: &mut RawConnection, bytes: &[u8], size: usize, pause: Duration) {
    for piece in bytes.chunks(size) {
        assert_eq!(connection.send(piece), piece.len());
        std::thread::sleep(pause);
    }
}

/// Waits for this many final responses.
#[track_caller]
fn responses(connection: &mut RawConnection, count: usize) -> Vec<Response> {
    until("the responses", RESPONSE_TIMEOUT, || {
        connection.receive();
        let all = connection.responses();
        let whole = all.iter().filter(|one| one.status >= 200 && one.is_whole()).count();
        assert!(whole >= count || connection.end().is_none(), "closed after {all:?}");
        whole >= count
    });
    let all = connection.responses();
    all.into_iter().filter(|one| one.status >= 200).collect()
}

#[test]
fn a_connection_is_kept_for_many_requests_and_pauses() {
    let (server, client) = scene(&[
        ("MINTAGE_SERVER__REQUEST_TIMEOUT", "1s"),
        ("MINTAGE_SERVER__KEEP_ALIVE", "20s"),
    ]);
    let mut connection = Connection::open(server.address);
    for round in 0..6 {
        for _ in 0..20 {
            assert_eq!(connection.ask(&token_request(&client, &[])).status, 200);
            assert_eq!(connection.ask(&Request::get("/.well-known/jwks.json")).status, 200);
        }
        if round % 2 == 0 {
            // Longer than a request may take.
            std::thread::sleep(Duration::from_millis(1500));
        }
    }
}

#[test]
fn a_reader_that_pauses_receives_all_pipelined_responses() {
    let (server, client) = scene(&[("MINTAGE_SERVER__REQUEST_TIMEOUT", "4s")]);
    let mut connection = RawConnection::open_narrow(server.address);
    let requests = [token_request(&client, &[]).bytes(), Request::get("/metrics").bytes()].concat();
    connection.send(&requests.repeat(8));
    std::thread::sleep(Duration::from_millis(1500));
    let all = responses(&mut connection, 16);
    assert!(all.iter().all(|one| one.status == 200), "{all:?}");
    assert_eq!(all.len(), 16);
    connection.send(LIVEZ);
    assert_eq!(responses(&mut connection, 17)[16].status, 200);
}

#[test]
fn a_reader_that_never_stops_reading_receives_what_takes_longer_than_the_timeout() {
    let (server, _) = scene(&[("MINTAGE_SERVER__REQUEST_TIMEOUT", "3s")]);
    let mut connection = RawConnection::open_narrow(server.address);
    let began = Instant::now();
    let (mut sent, mut received) = (0, 0);
    let request = Request::get("/metrics").bytes().repeat(100);
    // Twice as long as a connection may make no progress.
    while began.elapsed() < Duration::from_secs(6) {
        sent = (sent + connection.send(&request[sent..])) % request.len();
        received += connection.receive();
        connection.received.clear();
        assert_eq!(connection.end(), None, "cut off after {:?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(received > 100_000, "{received}");
}

#[test]
fn a_body_that_arrives_slowly_within_the_timeout_is_read() {
    let (server, client) = scene(&[("MINTAGE_SERVER__REQUEST_TIMEOUT", "8s")]);
    let resource = "x".repeat(12_000);
    let known = token_request(&client, &[]);
    let large = token_request(&client, &[("state", &resource)]);
    let chunked = Request::post("/token").basic(&client);
    let chunked = chunked.header("Content-Type", "application/x-www-form-urlencoded");
    let chunked = chunked.chunked(b"grant_type=client_credentials");
    for (request, size) in [(known, 8), (large, 500), (chunked, 8)] {
        let mut connection = RawConnection::open(server.address);
        in_pieces(&mut connection, &request.bytes(), size, Duration::from_millis(60));
        assert_eq!(responses(&mut connection, 1)[0].status, 200);
        // The connection is as good as new.
        connection.send(LIVEZ);
        assert_eq!(responses(&mut connection, 2)[1].status, 200);
    }
}

#[test]
fn bodies_with_empty_lines_are_bodies() {
    let server = program(&[]).serve(&[]);
    let operator = Operator::of(&server);
    let empty_lines = "\r\n\r\n".repeat(200);
    let document =
        |name: &str| format!("{{{empty_lines}\"name\": \"{name}\",{empty_lines}\"scope\": \"a\"}}{empty_lines}");
    let request = Request::post("/admin/clients").bearer(&operator.token);
    let with_length = request.clone().body("application/json", document("a"));
    let chunked = request.clone().header("Content-Type", "application/json");
    let one_chunk = chunked.clone().chunked(document("b").as_bytes());
    // Two bytes in each chunk, so that an empty line is within a chunk, or begins in one and ends
    // in the next.
    let small = "{\r\n\r\n\"name\":\"c\",\r\n\r\r\n\n\"scope\":\"a\"\r\n\r\n}";
    let mut chunks = chunked.chunked(b"").bytes();
    chunks.truncate(chunks.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4);
    for chunk in small.as_bytes().chunks(2) {
        chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunks.extend_from_slice(chunk);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    let all = [with_length.bytes(), one_chunk.bytes(), chunks];
    for size in [1 << 20, 1000, 7] {
        let mut connection = RawConnection::open(server.address);
        for (number, bytes) in all.iter().enumerate() {
            in_pieces(&mut connection, bytes, size, Duration::from_micros(100));
            let got = responses(&mut connection, number + 1);
            assert_eq!(got[number].status, 201, "{got:?}");
        }
        // Also at once.
        connection.send(&all.concat());
        connection.send(LIVEZ);
        let got = responses(&mut connection, 7);
        let statuses: Vec<u16> = got.iter().map(|one| one.status).collect();
        assert_eq!(statuses, [201, 201, 201, 201, 201, 201, 200]);
    }
}

#[test]
fn unusual_but_correct_requests_are_answered() {
    let (server, client) = scene(&[]);
    let mut connection = RawConnection::open(server.address);
    // Empty lines before a request (RFC 9112 §2.2).
    connection.send("\r\n".repeat(40).as_bytes());
    connection.send(LIVEZ);
    assert_eq!(responses(&mut connection, 1)[0].status, 200);
    for number in 2..40 {
        connection.send(b"\r\n\r\n");
        connection.send(LIVEZ);
        assert_eq!(responses(&mut connection, number)[number - 1].status, 200);
    }
    // Byte by byte.
    for number in 40..42 {
        in_pieces(&mut connection, LIVEZ, 1, Duration::from_millis(1));
        assert_eq!(responses(&mut connection, number)[number - 1].status, 200);
    }
    // The body waits until it is asked for.
    let token = token_request(&client, &[]).header("Expect", "100-continue").bytes();
    let end = token.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let mut connection = RawConnection::open(server.address);
    for number in 1..20 {
        connection.send(&token[..end]);
        until("100 Continue", RESPONSE_TIMEOUT, || {
            connection.receive();
            count(&connection.received, b"HTTP/1.1 100") == number
        });
        connection.send(&token[end..]);
        assert_eq!(responses(&mut connection, number)[number - 1].status, 200);
    }
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let (server, _) = scene(&[]);
    let mut connection = RawConnection::open(server.address);
    connection.send(b"GET /livez HTTP/1.0\r\n\r\n");
    assert_eq!(responses(&mut connection, 1)[0].status, 200);
    until("the end", RESPONSE_TIMEOUT, || {
        connection.receive();
        connection.end() == Some(End::Closed)
    });
    let mut connection = RawConnection::open(server.address);
    for number in 1..30 {
        connection.send(b"GET /livez HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert_eq!(responses(&mut connection, number)[number - 1].status, 200);
    }
}

#[test]
fn pipelined_requests_are_all_answered_in_order() {
    let (server, client) = scene(&[]);
    let mut connection = RawConnection::open(server.address);
    let requests = [
        LIVEZ.to_vec(),
        token_request(&client, &[]).bytes(),
        Request::get("/nothing").bytes(),
        Request::post("/token")
            .chunked(b"grant_type=client_credentials")
            .bytes(),
        token_request(&client, &[("scope", "b")]).bytes(),
    ];
    let statuses = [200, 200, 404, 415, 400];
    let rounds = 100;
    // The body of the fourth is not read, after which the connection ends: without it, and then it
    // is the last.
    let lasting = [&requests[0], &requests[1], &requests[2], &requests[4]]
        .map(Vec::as_slice)
        .concat();
    connection.send(&lasting.repeat(rounds));
    connection.send(&requests[3]);
    let got = responses(&mut connection, 4 * rounds + 1);
    let got: Vec<u16> = got.iter().map(|one| one.status).collect();
    let mut expected = [statuses[0], statuses[1], statuses[2], statuses[4]].repeat(rounds);
    expected.push(statuses[3]);
    assert_eq!(got, expected);
}

#[test]
fn a_client_that_has_finished_sending_is_answered() {
    let (server, client) = scene(&[]);
    for (requests, answers) in [
        (LIVEZ.to_vec(), 1),
        (token_request(&client, &[]).bytes(), 1),
        (token_request(&client, &[]).bytes().repeat(50), 50),
        (LIVEZ.repeat(500), 500),
    ] {
        let mut connection = RawConnection::open(server.address);
        assert_eq!(connection.send(&requests), requests.len());
        connection.finish_sending();
        let got = responses(&mut connection, answers);
        assert!(got.iter().all(|one| one.status == 200), "{got:?}");
        until("the end", RESPONSE_TIMEOUT, || {
            connection.receive();
            connection.end().is_some()
        });
    }
}

#[test]
fn an_answer_before_the_end_of_a_large_body_arrives_whole() {
    let (server, client) = scene(&[]);
    let body = vec![b'a'; 1 << 20];
    let form = Request::post("/token").header("Content-Type", "application/x-www-form-urlencoded");
    let requests = [
        (Request::post("/nothing").chunked(&body), 404),
        (Request::post("/livez").chunked(&body), 405),
        (Request::get("/.well-known/jwks.json").chunked(&body), 200),
        (Request::post("/token").basic(&client).form_raw(&body), 413),
        (form.chunked(&body), 413),
        (Request::post("/nothing").form_raw(&body[..16 << 10]), 404),
        (
            Request::post("/admin/clients").body("application/json", &body[..16 << 10]),
            401,
        ),
    ];
    for (request, status) in requests.iter().cycle().take(50) {
        let mut connection = RawConnection::open(server.address);
        let bytes = request.bytes();
        let mut sent = 0;
        until("the answer", RESPONSE_TIMEOUT, || {
            sent += connection.send(&bytes[sent..]);
            connection.receive();
            let whole = connection.responses().iter().any(Response::is_whole);
            assert!(
                whole || connection.end().is_none(),
                "cut off: {:?}",
                connection.responses()
            );
            whole
        });
        let got = connection.responses();
        assert_eq!((got.len(), got[0].status), (1, *status), "{got:?}");
        assert!(got[0].closes(), "{got:?}");
        assert_eq!(count(&connection.received, b"HTTP/1.1"), 1);
    }
}

#[test]
fn a_connection_ends_in_an_orderly_way_after_an_answer_before_the_body() {
    let (server, _) = scene(&[]);
    let body = vec![b'a'; 60 << 10];
    for request in [
        Request::post("/nothing").chunked(&body),
        Request::post("/livez").chunked(&body),
        Request::get("/.well-known/jwks.json").chunked(&body),
        Request::post("/token").chunked(&body),
        Request::post("/livez").form_raw(&body[..30 << 10]),
    ] {
        let mut connection = RawConnection::open(server.address);
        let bytes = request.bytes();
        let mut sent = 0;
        until("the whole body is taken, and the end", RESPONSE_TIMEOUT, || {
            sent += connection.send(&bytes[sent..]);
            connection.receive();
            connection.end().is_some()
        });
        // A reset would mean that the server has closed with bytes unread, and the peer of another
        // system might lose the answer.
        assert_eq!((sent, connection.end()), (bytes.len(), Some(End::Closed)));
        let got = connection.responses();
        assert!(got.len() == 1 && got[0].is_whole() && got[0].closes(), "{got:?}");
    }
}
