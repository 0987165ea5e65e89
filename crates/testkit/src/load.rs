//! [`Load`]: steady requests for tokens, whose responses are kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::TestClient;
use crate::http::{Connection, Request, Response};
use crate::token::{jti, token_request};

/// Clients that ask for tokens at a steady pace, each thread on a connection of its own.
pub struct Load {
    stop: Arc<AtomicBool>,
    issued: Arc<AtomicUsize>,
    serving: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<Receipt>>>,
}

/// The outcome of a request for a token.
#[derive(Clone)]
pub struct Receipt {
    pub sent: Instant,
    pub took: Duration,
    /// 0 when there was no response.
    pub status: u16,
    /// The token, if it is one, and its id.
    pub token: Option<String>,
    pub jti: Option<String>,
    /// Whether the response says when to come again.
    pub retry_after: bool,
    /// Whether the connection had served before: then it was the server's to answer.
    pub kept_alive: bool,
}

impl Load {
    /// Each client on `connections` connections, on each of which it waits for `pause` between two requests.
    pub fn start(server: SocketAddr, clients: &[TestClient], connections: usize, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (issued, serving) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads = clients
            .iter()
            .flat_map(|client| std::iter::repeat_n(client, connections))
            .map(|client| {
                let request = token_request(client, &[]);
                let (stop, issued, serving) = (stop.clone(), issued.clone(), serving.clone());
                std::thread::spawn(move || ask_until(server, &request, pause, &stop, (&issued, &serving)))
            })
            .collect();
        Self {
            stop,
            issued,
            serving,
            threads,
        }
    }

    /// Tokens received so far.
    pub fn issued(&self) -> usize {
        self.issued.load(Ordering::Relaxed)
    }

    /// Threads that have received a token.
    pub fn serving(&self) -> usize {
        self.serving.load(Ordering::Relaxed)
    }

    /// Ends it; the outcome of every request.
    pub fn stop(self) -> Vec<Receipt> {
        self.stop.store(true, Ordering::Relaxed);
        let receipts = |thread: JoinHandle<Vec<Receipt>>| thread.join().unwrap();
        self.threads.into_iter().flat_map(receipts).collect()
    }
}

/// Asks, on another connection whenever one is closed, also by a server that is killed.
fn ask_until(
    server: SocketAddr,
    request: &Request,
    pause: Duration,
    stop: &AtomicBool,
    (issued, serving): (&AtomicUsize, &AtomicUsize),
) -> Vec<Receipt> {
    /// Between two tries to connect to a server that is not there.
    const RECONNECT_PAUSE: Duration = Duration::from_millis(10);
    let mut receipts: Vec<Receipt> = Vec::new();
    let mut served = false;
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        let kept_alive = connection.is_some();
        let Some(mut open) = connection.take().or_else(|| Connection::try_open(server)) else {
            std::thread::sleep(RECONNECT_PAUSE);
            continue;
        };
        let sent = Instant::now();
        let answer = open.try_ask(request);
        let took = sent.elapsed();
        let status = answer.as_ref().map_or(0, |answer| answer.status);
        let token = answer
            .as_ref()
            .filter(|answer| answer.status == 200)
            .map(Response::access_token);
        issued.fetch_add(usize::from(token.is_some()), Ordering::Relaxed);
        if token.is_some() && !served {
            served = true;
            serving.fetch_add(1, Ordering::Relaxed);
        }
        receipts.push(Receipt {
            sent,
            took,
            status,
            jti: token.as_deref().map(jti),
            token,
            retry_after: answer
                .as_ref()
                .is_some_and(|answer| answer.header("retry-after").is_some()),
            kept_alive,
        });
        connection = answer.filter(|answer| !answer.closes()).map(|_| open);
        std::thread::sleep(pause);
    }
    receipts
}

/// The ids of the tokens that were received.
pub fn received(receipts: &[Receipt]) -> Vec<String> {
    receipts.iter().filter_map(|receipt| receipt.jti.clone()).collect()
}

/// The time within which 99 % of the requests sent between two moments were answered.
pub fn p99(receipts: &[Receipt], from: Instant, to: Instant) -> Duration {
    let mut times: Vec<Duration> = receipts
        .iter()
        .filter(|receipt| receipt.sent >= from && receipt.sent < to)
        .map(|receipt| receipt.took)
        .collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// That answers came as quickly as before: at most twice as late, or so soon that other work of the machine decides.
#[track_caller]
pub fn assert_as_quick(before: Duration, during: Duration) {
    const NOISE: Duration = Duration::from_millis(5);
    assert!(
        during <= (2 * before).max(NOISE),
        "p99 {before:.2?} before and {during:.2?} during"
    );
}
