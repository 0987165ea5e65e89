//! The matrix: {first request, later request} × {nothing sent, head, body that is read, body that is
//! not read, response that is not read, idle} × {`Content-Length`, chunks} × endpoints of every
//! kind. Every cell is one connection, and all of them are open at once.

use std::time::Duration;

use super::cell::{Cell, Deadlines, Ending, run};
use super::endpoint::{Endpoint, all};
use super::{LIVEZ, Operator, program};

/// Long enough that two deadlines one after the other are told from one that is late.
const DEADLINES: Deadlines = Deadlines {
    request: Duration::from_secs(4),
    idle: Duration::from_secs(8),
};

const SETTINGS: [(&str, &str); 2] = [
    ("MINTAGE_SERVER__REQUEST_TIMEOUT", "4s"),
    ("MINTAGE_SERVER__KEEP_ALIVE", "8s"),
];

/// Runs the cells that are built from all endpoints.
#[track_caller]
fn matrix(cells: impl FnOnce(&[Endpoint]) -> Vec<Cell>) {
    testkit::open_files::raise(4096);
    let server = program(&SETTINGS).serve(&[]);
    let operator = Operator::of(&server);
    run(&server, DEADLINES, &cells(&all(&operator)));
}

/// Each cell as the first and as a later request.
fn twice(cells: Vec<Cell>) -> Vec<Cell> {
    cells.iter().flat_map(Cell::twice).collect()
}

#[test]
fn a_connection_without_a_request_is_closed() {
    matrix(|endpoints| {
        let mut cells = vec![Cell::new("nothing sent", "", Ending::TimedOut)];
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.unread == Some(&[200])) {
            let name = format!("idle after {}", endpoint.name);
            cells.extend(twice(vec![
                Cell::new(name, endpoint.without_body(), Ending::Idle).after_answers(1),
            ]));
        }
        let many = LIVEZ.repeat(400);
        cells.push(Cell::new("idle after 400 at once", many, Ending::Idle).after_answers(400));
        cells
    });
}

#[test]
fn a_head_has_one_deadline_however_its_bytes_arrive() {
    let mut cells = Vec::new();
    let host = "Host: h\r\n";
    for line in [
        "GET /.well-known/jwks.json",
        "POST /token",
        "GET /validate",
        "DELETE /admin/clients/x",
        "PATCH /nothing",
    ] {
        let line = format!("{line} HTTP/1.1\r\n");
        let head = |name: &str, begin: String| Cell::new(format!("{name} of {line:?}"), begin, Ending::TimedOut);
        cells.push(head("the first letter", line[..1].to_owned()));
        cells.push(head("the line", line.trim_end().to_owned()));
        cells.push(head("all but the end", format!("{line}{host}")));
        cells.push(head("half of the end", format!("{line}{host}\r")));
        cells.push(head("a long header", format!("{line}{host}X: {}", "a".repeat(3000))));
        cells.push(head("dripping headers", format!("{line}{host}")).drip("X-A: b\r\n"));
        cells.push(head("a dripping value", format!("{line}{host}X: ")).drip("a"));
        cells.push(head(
            "the announcement of a body",
            format!("{line}{host}Content-Length: 9\r\n"),
        ));
    }
    cells.push(Cell::new("a dripping method", "G", Ending::TimedOutOrBad).drip("E"));
    cells.push(Cell::new("a dripping target", "GET /", Ending::TimedOutOrBad).drip("a"));
    cells.push(Cell::new("dripping empty lines", "", Ending::Any).drip("\r\n"));
    cells.push(Cell::new("an empty line", "\r\n", Ending::Any));
    cells.push(Cell::new(
        "lines that end with LF",
        "GET /.well-known/jwks.json HTTP/1.1\nHost: h\n",
        Ending::TimedOut,
    ));
    matrix(|_| twice(cells));
}

#[test]
fn a_head_that_follows_a_whole_request_has_its_own_deadline() {
    matrix(|endpoints| {
        let mut cells = Vec::new();
        let mut follows = |name: String, begin: Vec<u8>, answers: usize| {
            for rest in ["G", "GET /.well-known/jwks.json HTTP/1.1\r\nHost: h\r\n"] {
                let begin = [&begin, rest.as_bytes()].concat();
                let cell = Cell::new(format!("{rest:?} after {name}"), begin, Ending::TimedOut).after_answers(answers);
                cells.extend(cell.twice());
            }
        };
        for many in [1, 2, 8, 20, 300, 1000] {
            follows(format!("{many} at once"), LIVEZ.repeat(many), many);
        }
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.unread == Some(&[200])) {
            follows(endpoint.name.into(), endpoint.without_body(), 1);
        }
        let introspect = endpoints.iter().find(|endpoint| endpoint.name == "introspect").unwrap();
        for body in ["token=a", "token=a%0A&x=\r\n\r\n", "token=\r\n\r\nGET"] {
            let whole = [introspect.with_length(body.len()), body.into()].concat();
            follows(format!("a body {body:?}"), whole, 1);
            let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            let whole = [introspect.chunked(), chunks.into()].concat();
            follows(format!("a chunked body {body:?}"), whole, 1);
        }
        cells
    });
}

#[test]
fn a_body_that_is_read_has_one_deadline_however_its_bytes_arrive() {
    matrix(|endpoints| {
        let mut cells = Vec::new();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.unread.is_none()) {
            let mut body = |name: &str, head: Vec<u8>, begin: &str, drip: &str, ending: Ending| {
                let cell = Cell::new(
                    format!("{}: {name}", endpoint.name),
                    [head, begin.into()].concat(),
                    ending,
                );
                cells.push(if drip.is_empty() { cell } else { cell.drip(drip) });
            };
            let (timed_out, or_bad) = (Ending::TimedOut, Ending::TimedOutOrBad);
            let length = endpoint.with_length(1000);
            body("nothing", length.clone(), "", "", timed_out);
            body("a part", length.clone(), "{\"gr", "", timed_out);
            body("dripping", length.clone(), "", "a", timed_out);
            body("all but a byte", endpoint.with_length(5), "{\"gr", "", timed_out);
            let chunked = endpoint.chunked();
            body("no chunk", chunked.clone(), "", "", timed_out);
            body("a chunk", chunked.clone(), "2\r\n{\"\r\n", "", timed_out);
            body("a part of a chunk", chunked.clone(), "f\r\n{\"", "", timed_out);
            body("dripping chunks", chunked.clone(), "", "1\r\na\r\n", timed_out);
            body("a dripping size", chunked.clone(), "0", "0", or_bad);
            body("a dripping extension", chunked.clone(), "1;", "a", or_bad);
            body(
                "no end of the last chunk",
                chunked.clone(),
                "2\r\n{\"\r\n0\r\n",
                "",
                timed_out,
            );
            body(
                "dripping trailers",
                chunked.clone(),
                "2\r\n{\"\r\n0\r\n",
                "X: y\r\n",
                or_bad,
            );
            let continued = endpoint.with("Expect: 100-continue\r\nContent-Length: 9\r\n");
            body("expects to continue", continued, "", "", timed_out);
            let continued = endpoint.with("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n");
            body(
                "expects to continue with chunks",
                continued,
                "",
                "1\r\na\r\n",
                timed_out,
            );
        }
        twice(cells)
    });
}

#[test]
fn head_and_body_share_one_deadline() {
    matrix(|endpoints| {
        let mut cells = Vec::new();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.unread.is_none()) {
            for head in [endpoint.with_length(1000), endpoint.chunked()] {
                // Its last bytes arrive one by one, and end shortly before the deadline; then the
                // body begins, and is never complete.
                let drips = (DEADLINES.request.as_millis() as usize - 700) / 100;
                let (begin, rest) = head.split_at(head.len() - drips);
                let body = if head.ends_with(b"chunked\r\n\r\n") {
                    &b"3e8\r\na"[..]
                } else {
                    b"a"
                };
                let drip = [rest, body, &[b'a'; 100]].concat();
                let cell = Cell::new(format!("a slow head for {}", endpoint.name), begin, Ending::TimedOut);
                cells.push(cell.drip(drip));
            }
        }
        twice(cells)
    });
}

#[test]
fn a_connection_whose_body_is_not_read_is_closed_after_the_answer() {
    matrix(|endpoints| {
        let mut cells = Vec::new();
        for endpoint in endpoints {
            let Some(statuses) = endpoint.unread else { continue };
            let mut body = |name: &str, head: Vec<u8>, begin: &str, drip: &str| {
                let cell = Cell::new(
                    format!("{}: {name}", endpoint.name),
                    [head, begin.into()].concat(),
                    Ending::Answered(statuses),
                );
                cells.push(if drip.is_empty() { cell } else { cell.drip(drip) });
            };
            body("nothing", endpoint.with_length(100), "", "");
            body("a part", endpoint.with_length(100), "abc", "");
            body("dripping", endpoint.with_length(1000), "", "a");
            body("as long as can be", endpoint.with_length(16 << 10), "", "a");
            body("no chunk", endpoint.chunked(), "", "");
            body("a chunk", endpoint.chunked(), "2\r\ngr\r\n", "");
            body("a part of a chunk", endpoint.chunked(), "f\r\ngr", "");
            body("dripping chunks", endpoint.chunked(), "", "1\r\na\r\n");
            body("a dripping size", endpoint.chunked(), "0", "0");
            body("a dripping extension", endpoint.chunked(), "1;", "a");
            body("dripping trailers", endpoint.chunked(), "0\r\n", "X: y\r\n");
            let continued = endpoint.with("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n");
            body("expects to continue", continued, "", "");
        }
        twice(cells)
    });
}

#[test]
fn a_connection_whose_responses_are_not_read_is_aborted() {
    matrix(|endpoints| {
        let mut cells = Vec::new();
        for endpoint in endpoints {
            let flood = |name: &str, request: Vec<u8>| {
                let name = format!("{}: {name}", endpoint.name);
                Cell::new(name, "", Ending::Aborted).flood_unread(request.repeat(20))
            };
            cells.push(flood("no body", endpoint.without_body()));
            if endpoint.unread.is_none() {
                cells.push(flood("a body", [endpoint.with_length(3), b"a=b".to_vec()].concat()));
                let chunks = b"3\r\na=b\r\n0\r\n\r\n".to_vec();
                cells.push(flood("chunks", [endpoint.chunked(), chunks].concat()));
            }
        }
        // One that is larger than the buffers of the kernel. Nothing is left to be read here, so that
        // the kernel would go on trying to send it after a usual close.
        let openapi = endpoints.iter().find(|endpoint| endpoint.name == "OpenAPI").unwrap();
        cells.push(Cell::new("one large response", openapi.without_body(), Ending::Aborted).unread());
        twice(cells)
    });
}

#[test]
fn oddities_of_http_have_the_same_deadlines() {
    matrix(|endpoints| {
        let mut cells = Vec::new();
        let mut odd = |begin: &str, drip: &str, ending: Ending| {
            let cell = Cell::new(format!("{begin:?} and {drip:?}"), begin, ending);
            cells.push(if drip.is_empty() { cell } else { cell.drip(drip) });
        };
        for drip in ["", "a"] {
            for target in [
                "GET /.well-known/jwks.json",
                "GET /validate",
                "GET /nothing",
                "POST /token",
            ] {
                let upgrade = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                odd(&format!("{target} HTTP/1.1\r\n{upgrade}"), drip, Ending::Any);
            }
            odd("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n", drip, Ending::Any);
            odd(
                "CONNECT /token HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
                drip,
                Ending::Any,
            );
            odd("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", drip, Ending::Any);
            odd("GET /.well-known/jwks.json HTTP/1.0\r\n", drip, Ending::TimedOutOrBad);
            odd("POST /livez HTTP/1.0\r\nContent-Length: 9\r\n\r\n", drip, Ending::Any);
            odd(
                "POST /token HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 9\r\n\r\n",
                drip,
                Ending::Any,
            );
            let both = "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n";
            odd(&format!("POST /token HTTP/1.1\r\nHost: h\r\n{both}"), drip, Ending::Any);
            odd(
                "POST /token HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                drip,
                Ending::Any,
            );
            odd("\u{16}\u{3}\u{1}\u{2}", drip, Ending::Any);
            odd(
                "GET /.well-known/jwks.json HTTP/1.1\nHost: h\nContent-Length: 9\n\n",
                drip,
                Ending::Answered(&[200]),
            );
        }
        odd("GET /.well-known/jwks.json HTTP/1.0\r\n\r\n", "", Ending::Any);
        odd(
            "GET /.well-known/jwks.json HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            "",
            Ending::Answered(&[200]),
        );
        let mut cells = twice(cells);
        // A connection that was idle for a while gets no other deadline for its next head.
        let introspect = endpoints.iter().find(|endpoint| endpoint.name == "introspect").unwrap();
        let kept = Cell::new(
            "HTTP/1.0 kept alive",
            "GET /.well-known/jwks.json HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            Ending::Idle,
        );
        cells.extend(kept.after_answers(1).twice());
        let whole = [
            introspect.with("Expect: 100-continue\r\nContent-Length: 7\r\n"),
            b"token=a".to_vec(),
        ]
        .concat();
        cells.extend(
            Cell::new("a body that did not wait to be asked for", whole, Ending::Idle)
                .after_answers(1)
                .twice(),
        );
        let chunks = [introspect.chunked(), b"7;x=y\r\ntoken=a\r\n0\r\nX: y\r\n\r\n".to_vec()].concat();
        cells.extend(
            Cell::new("chunk extensions and trailers", chunks, Ending::Idle)
                .after_answers(1)
                .twice(),
        );
        cells
    });
}

#[test]
fn heads_and_bodies_that_are_too_large_are_answered_and_closed() {
    matrix(|endpoints| {
        let mut cells = Vec::new();
        let header = format!(
            "GET /.well-known/jwks.json HTTP/1.1\r\nHost: h\r\nX: {}",
            "a".repeat(40 << 10)
        );
        cells.push(Cell::new("a long header", header.clone(), Ending::Answered(&[431])));
        cells.push(Cell::new("a long header, and on", header, Ending::Answered(&[431])).drip("a"));
        let many = "X: y\r\n".repeat(8 << 10);
        let many = format!("GET /.well-known/jwks.json HTTP/1.1\r\nHost: h\r\n{many}");
        cells.push(Cell::new("many headers", many, Ending::Answered(&[431, 400])));
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.unread.is_none()) {
            let large = Ending::Answered(&[413]);
            let announced = endpoint.with_length(1 << 40);
            cells.push(Cell::new(format!("a large body announced to {}", endpoint.name), announced, large).drip("a"));
            let body = [endpoint.with_length(1 << 20), vec![b'a'; 90 << 10]].concat();
            cells.push(Cell::new(format!("a large body for {}", endpoint.name), body, large));
            let chunk = [b"fffff\r\n".to_vec(), vec![b'a'; 90 << 10]].concat();
            let body = [endpoint.chunked(), chunk].concat();
            cells.push(Cell::new(format!("a large chunk for {}", endpoint.name), body, large));
        }
        twice(cells)
    });
}
