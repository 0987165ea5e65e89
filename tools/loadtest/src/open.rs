//! The open loop: requests are due at a fixed rate, whether or not earlier ones have been answered.
//!
//! Each is timed from the moment at which it was due. If all connections are in use then, it waits
//! for one, and that wait is part of its latency. So nothing that a slow server delays is left out
//! (no coordinated omission).

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::connection::Connection;
use crate::outcome::Outcome;
use crate::traffic::Traffic;

/// How long a run may be behind after its end.
const GRACE: Duration = Duration::from_secs(5);

/// Drives one or several servers: `rate` requests per second for `time`, with the connections
/// spread over the servers in turn.
pub fn drive(addresses: &[SocketAddr], traffic: &Traffic, connections: usize, rate: f64, time: Duration) -> Outcome {
    let total = (rate * time.as_secs_f64()).max(1.0) as u64;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let open = Connection::open_all(addresses, connections).await;
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        let next = Rc::new(Cell::new(0u64));
        let began = Instant::now();
        let pacer = Pacer::start(began, rate, total);
        let loops = open.into_iter().map(|mut connection| {
            let (outcome, traffic, next, due) = (outcome.clone(), traffic.clone(), next.clone(), pacer.due.clone());
            tokio::task::spawn_local(async move {
                let mut request = Vec::new();
                // Closed when the run is over.
                while let Ok(permit) = due.acquire().await {
                    permit.forget();
                    let number = next.get();
                    if number >= total || began.elapsed() > time + GRACE {
                        return due.close();
                    }
                    next.set(number + 1);
                    let intended = began + Duration::from_secs_f64(number as f64 / rate);
                    traffic.next(&mut request);
                    let success = connection.succeeds(&request).await;
                    outcome.borrow_mut().answered(success, intended.elapsed());
                    if number + 1 == total {
                        due.close();
                    }
                }
            })
        });
        for task in loops.collect::<Vec<_>>() {
            task.await.expect("no loop panics");
        }
        pacer.stop();
        let mut outcome = outcome.take();
        outcome.took = began.elapsed();
        outcome.unsent = total - next.get();
        outcome
    })
}

/// A thread that releases each request when it is due: tokio's timers have a resolution of a
/// millisecond.
struct Pacer {
    due: Arc<Semaphore>,
    stopped: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Pacer {
    fn start(began: Instant, rate: f64, total: u64) -> Self {
        let due = Arc::new(Semaphore::new(0));
        let stopped = Arc::new(AtomicBool::new(false));
        let (permits, stop) = (due.clone(), stopped.clone());
        let thread = std::thread::spawn(move || {
            let mut released = 0;
            while released < total && !stop.load(Ordering::Relaxed) {
                let now = ((began.elapsed().as_secs_f64() * rate) as u64 + 1).min(total);
                permits.add_permits((now - released) as usize);
                released = now;
                let next = began + Duration::from_secs_f64(released as f64 / rate);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Self { due, stopped, thread }
    }

    fn stop(self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.thread.join().expect("the pacer does not panic");
    }
}
