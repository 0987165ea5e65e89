//! The connections of one worker, and the sweeper that ends those whose deadline is over.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::http::connection::{CoarseClock, Connection, Deadlines};

/// How late a deadline may be noticed.
const MAX_SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// The connections of one worker.
pub struct WorkerConnections {
    clock: Rc<CoarseClock>,
    deadlines: Deadlines,
    open: RefCell<Vec<Rc<Connection>>>,
}

impl WorkerConnections {
    /// No connections yet.
    pub fn new(deadlines: Deadlines) -> Rc<Self> {
        Rc::new(Self {
            clock: Rc::default(),
            deadlines,
            open: RefCell::default(),
        })
    }

    /// Adds a connection.
    pub fn add(&self) -> Rc<Connection> {
        let connection = Rc::new(Connection::new(self.clock.clone()));
        let mut open = self.open.borrow_mut();
        connection.slot.set(open.len());
        open.push(connection.clone());
        connection
    }

    /// Removes a connection.
    pub fn remove(&self, connection: &Connection) {
        let mut open = self.open.borrow_mut();
        let slot = connection.slot.get();
        open.swap_remove(slot);
        if let Some(moved) = open.get(slot) {
            moved.slot.set(slot);
        }
    }

    /// Ends connections whose deadline is over, for as long as the worker runs.
    pub async fn sweep(self: Rc<Self>) {
        let shortest = self.deadlines.request.min(self.deadlines.idle);
        let interval = (shortest / 4).clamp(Duration::from_millis(5), MAX_SWEEP_INTERVAL);
        let started = Instant::now();
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.clock.set(started.elapsed().as_millis() as u64);
            self.end_overdue();
        }
    }

    fn end_overdue(&self) {
        for connection in &*self.open.borrow() {
            if let Some(ending) = connection.overdue(&self.deadlines) {
                connection.end(ending);
            }
        }
    }
}
