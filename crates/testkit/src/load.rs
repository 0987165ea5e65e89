//! [`Load`]: steady token requests whose outcomes are kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::TestClient;
use crate::http::{Connection, Request, Response};
use crate::token::{jti, token_request};

/// Clients that request tokens at a steady rate, each thread on its own connection.
pub struct Load {
    stop: Arc<AtomicBool>,
    issued: Arc<AtomicUsize>,
    serving: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<Receipt>>>,
}

/// The outcome of a token request.
#[derive(Clone)]
pub struct Receipt {
    pub sent: Instant,
    pub took: Duration,
    /// 0 when there was no response.
    pub status: u16,
    /// The token, if one was issued, and its id.
    pub token: Option<String>,
    pub jti: Option<String>,
    /// Whether the response has `Retry-After`.
    pub retry_after: bool,
    /// Whether the request was sent on a reused connection, on which the server must respond.
    pub kept_alive: bool,
}

impl Load {
    /// Starts `connections` connections per client, with `pause` between two requests on each.
    pub fn start(server: SocketAddr, clients: &[TestClient], connections: usize, pause: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (issued, serving) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads = clients
            .iter()
            .flat_map(|client| std::iter::repeat_n(client, connections))
            .map(|client| {
                let request = token_request(client, &[]);
                let (stop, issued, serving) = (stop.clone(), issued.clone(), serving.clone());
                std::thread::spawn(move || request_until(server, &request, pause, &stop, (&issued, &serving)))
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

    /// Stops the load. Returns the outcome of every request.
    pub fn stop(self) -> Vec<Receipt> {
        self.stop.store(true, Ordering::Relaxed);
        let receipts = |thread: JoinHandle<Vec<Receipt>>| thread.join().unwrap();
        self.threads.into_iter().flat_map(receipts).collect()
    }
}

/// Sends requests until `stop`. Reconnects whenever the connection is closed, even by a killed
/// server.
fn request_until(
    server: SocketAddr,
    request: &Request,
    pause: Duration,
    stop: &AtomicBool,
    (issued, serving): (&AtomicUsize, &AtomicUsize),
) -> Vec<Receipt> {
    /// Between two attempts to connect to a server that does not listen.
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
        let response = open.try_ask(request);
        let took = sent.elapsed();
        let status = response.as_ref().map_or(0, |response| response.status);
        let token = response
            .as_ref()
            .filter(|response| response.status == 200)
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
            retry_after: response
                .as_ref()
                .is_some_and(|response| response.header("retry-after").is_some()),
            kept_alive,
        });
        connection = response.filter(|response| !response.closes()).map(|_| open);
        std::thread::sleep(pause);
    }
    receipts
}

/// The ids of the received tokens.
pub fn received(receipts: &[Receipt]) -> Vec<String> {
    receipts.iter().filter_map(|receipt| receipt.jti.clone()).collect()
}

/// The 99th percentile of the latency of requests sent between two instants.
pub fn p99(receipts: &[Receipt], from: Instant, to: Instant) -> Duration {
    let mut times: Vec<Duration> = receipts
        .iter()
        .filter(|receipt| receipt.sent >= from && receipt.sent < to)
        .map(|receipt| receipt.took)
        .collect();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

/// The latency is at most twice what it was before, or so low that noise of the machine dominates.
#[track_caller]
pub fn assert_as_quick(before: Duration, during: Duration) {
    const NOISE: Duration = Duration::from_millis(5);
    assert!(
        during <= (2 * before).max(NOISE),
        "p99 {before:.2?} before and {during:.2?} during"
    );
}
