//! The closed loop: as many requests under way as there are connections, always. It finds the capacity; its latencies
//! say little, because a slow answer also holds back the requests that would have come meanwhile.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::outcome::Outcome;
use super::traffic::Traffic;

/// When to stop.
#[derive(Clone, Copy)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After this many requests.
    Requests(u64),
}

/// Drives the server.
pub fn drive(address: &str, traffic: &Traffic, connections: usize, until: Until) -> Outcome {
    drive_all(&[address], traffic, connections, until)
}

/// Drives several servers, the connections spread over them in turn.
pub fn drive_all(addresses: &[&str], traffic: &Traffic, connections: usize, until: Until) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        let mut open = Vec::with_capacity(connections);
        for address in addresses.iter().cycle().take(connections) {
            open.push(Connection::open(address).await.expect("the server accepts"));
        }
        let began = Instant::now();
        let sent = Rc::new(RefCell::new(0));
        let loops = open.into_iter().map(|mut connection| {
            let (outcome, traffic, sent) = (outcome.clone(), traffic.clone(), sent.clone());
            tokio::task::spawn_local(async move {
                let mut request = Vec::new();
                loop {
                    let start = Instant::now();
                    let go_on = match until {
                        Until::Time(time) => start - began < time,
                        Until::Requests(most) => *sent.borrow() < most,
                    };
                    if !go_on {
                        return;
                    }
                    *sent.borrow_mut() += 1;
                    traffic.next(&mut request);
                    let success = connection.succeeds(&request).await;
                    outcome.borrow_mut().answered(success, start.elapsed());
                }
            })
        });
        for each in loops.collect::<Vec<_>>() {
            each.await.expect("no loop panics");
        }
        let mut outcome = outcome.take();
        outcome.took = began.elapsed();
        outcome
    })
}
