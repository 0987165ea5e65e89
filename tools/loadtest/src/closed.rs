//! The closed loop: as many requests in flight as there are connections. It finds the capacity. Its
//! latencies mean little, because a slow response also delays the requests that would have
//! followed.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::outcome::Outcome;
use crate::traffic::Traffic;

/// When to stop.
#[derive(Clone, Copy)]
pub enum Until {
    /// After this time.
    Time(Duration),
    /// After this many requests.
    Requests(u64),
}

/// Drives one or several servers, with the connections spread over them in turn.
pub fn drive(addresses: &[SocketAddr], traffic: &Traffic, connections: usize, until: Until) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        let sent = Rc::new(Cell::new(0));
        let open = Connection::open_all(addresses, connections).await;
        let began = Instant::now();
        let loops = open.into_iter().map(|mut connection| {
            let (outcome, traffic, sent) = (outcome.clone(), traffic.clone(), sent.clone());
            tokio::task::spawn_local(async move {
                let mut request = Vec::new();
                loop {
                    let start = Instant::now();
                    let over = match until {
                        Until::Time(time) => start - began >= time,
                        Until::Requests(count) => sent.get() >= count,
                    };
                    if over {
                        return;
                    }
                    sent.set(sent.get() + 1);
                    traffic.next(&mut request);
                    let success = connection.succeeds(&request).await;
                    outcome.borrow_mut().answered(success, start.elapsed());
                }
            })
        });
        for task in loops.collect::<Vec<_>>() {
            task.await.expect("no loop panics");
        }
        let mut outcome = outcome.take();
        outcome.took = began.elapsed();
        outcome
    })
}
