//! Fairness: a connection that pipelines thousands of requests does not delay the others.

use std::time::Duration;

use testkit::http::RESPONSE_TIMEOUT;
use testkit::poll::until;
use testkit::raw::RawConnection;

use super::{LIVEZ, OK, count, program};

/// Connections that pipeline.
const GREEDY: usize = 20;

/// Requests that each of them has under way. More than one read of the server takes.
const PIPELINED: usize = 4000;

/// Requests of the other client.
const ASKED: usize = 100;

/// How many answers of the greedy connections may come before one of the other client's: a few for
/// each of them, and what the server answers while this thread waits for a processor. A server that
/// answers all that it has read has 70,000 to answer first.
const MAX_BEFORE: usize = 2000;

#[test]
fn thousands_of_pipelined_requests_do_not_delay_other_connections() {
    let server = program(&[("MINTAGE_SERVER__WORKERS", "1")]).serve(&[]);
    let requests = LIVEZ.repeat(PIPELINED);
    let mut greedy: Vec<(RawConnection, usize)> = (0..GREEDY)
        .map(|_| (RawConnection::open_narrow(server.address), 0))
        .collect();
    // Keeps all of them sending, and returns how many answers have come.
    let mut proceed = move || {
        let mut answers = 0;
        for (connection, sent) in &mut greedy {
            // A whole number of requests is repeated without end.
            *sent = (*sent + connection.send(&requests[*sent..])) % requests.len();
            connection.receive();
            assert_eq!(connection.end(), None, "a client that reads is not cut off");
            // The last bytes may be the beginning of an answer.
            let received = &mut connection.received;
            answers += count(received, OK);
            let keep = received.len().min(OK.len() - 1);
            received.drain(..received.len() - keep);
        }
        answers
    };
    let mut warm = 0;
    until("every connection is busy", Duration::from_secs(60), || {
        warm += proceed();
        warm > GREEDY * 200
    });
    let mut other = RawConnection::open(server.address);
    let mut before: Vec<usize> = Vec::with_capacity(ASKED);
    for asked in 1..=ASKED {
        proceed();
        other.send(LIVEZ);
        let mut answers = 0;
        until("an answer", RESPONSE_TIMEOUT, || {
            answers += proceed();
            other.receive();
            count(&other.received, OK) == asked
        });
        before.push(answers);
    }
    before.sort_unstable();
    let (half, all) = (before[ASKED / 2], before[ASKED - 1]);
    println!("half of the answers came before {half} others, the last of all before {all}");
    assert!(
        half < MAX_BEFORE,
        "half of the requests waited for more than {half} others"
    );
}
