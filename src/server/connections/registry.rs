//! The connections of one worker: the sweeper that ends those whose deadline is over, the choice of
//! the one to evict, and the turns of connections that pipeline.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use super::limits::{Admission, Limits};
use crate::http::connection::{Connection, Deadlines, WorkerContext};
use crate::metrics::Ending;

/// How late a deadline may be noticed.
const MAX_SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// Bytes that the connections of the process may hold beyond their first buffers: what buffers have
/// grown by for heads, bodies and responses, and requests that wait.
pub const MAX_HELD: usize = 32 << 20;

/// Bytes of a connection that holds nothing beyond its first buffers: those of actix for input and
/// output, 8 KiB each, its states and ours.
pub const CONNECTION_BUFFERS: usize = 24 << 10;

/// The connections of one worker.
pub struct WorkerConnections {
    context: Rc<WorkerContext>,
    deadlines: Deadlines,
    limits: Arc<Limits>,
    open: RefCell<Vec<Rc<Connection>>>,
    /// The next to evict, if they have not changed since. Looking for one means to look at all, so
    /// several are taken at once.
    candidates: RefCell<VecDeque<(Rc<Connection>, u64)>>,
    /// How many were idle at the last sweep.
    idle: Cell<usize>,
    /// How many were evicted and have not closed yet. One whose request arrives just in time goes
    /// on, so each sweep counts again.
    evicting: Cell<usize>,
    /// Bytes of those that were ended to free memory and have not closed yet, counted likewise.
    freeing: Cell<usize>,
    turns: Turns,
}

/// Connections with a request that was read already. They come one after the other, each after the
/// worker has looked for other work.
#[derive(Default)]
struct Turns {
    waiting: RefCell<VecDeque<Waker>>,
    task: RefCell<Option<Waker>>,
}

impl WorkerConnections {
    /// No connections yet.
    pub fn new(deadlines: Deadlines, limits: Arc<Limits>) -> Rc<Self> {
        Rc::new(Self {
            context: Rc::new(WorkerContext::new(limits.counts().clone())),
            deadlines,
            limits,
            open: RefCell::default(),
            candidates: RefCell::default(),
            idle: Cell::default(),
            evicting: Cell::default(),
            freeing: Cell::default(),
            turns: Turns::default(),
        })
    }

    /// Admits a connection, and evicts another if there are too many. `None` if its address has its
    /// share already.
    pub fn admit(&self, peer: Option<IpAddr>) -> Option<(Rc<Connection>, Admission)> {
        let admission = self.limits.admit(peer)?;
        self.evict_excess();
        let connection = Rc::new(Connection::new(self.context.clone()));
        let mut open = self.open.borrow_mut();
        connection.slot.set(open.len());
        open.push(connection.clone());
        Some((connection, admission))
    }

    /// Removes a connection.
    pub fn remove(&self, connection: &Connection) {
        if connection.is_evicted() {
            self.set_evicting(self.evicting.get().saturating_sub(1));
        }
        let frees = connection.frees();
        if let Some(ending) = connection.close() {
            self.limits.ended(ending);
        }
        self.set_freeing(self.freeing.get().saturating_sub(frees));
        let mut open = self.open.borrow_mut();
        let slot = connection.slot.get();
        open.swap_remove(slot);
        if let Some(moved) = open.get(slot) {
            moved.slot.set(slot);
        }
    }

    fn set_evicting(&self, now: usize) {
        self.limits.evicting(self.evicting.replace(now), now);
    }

    fn set_freeing(&self, now: usize) {
        self.limits.freeing(self.freeing.replace(now), now);
    }

    /// Ends connections until no more than the bound remain, as far as there are any to end.
    fn evict_excess(&self) {
        // Looked at again each time: the other workers evict too.
        while self.limits.excess() > 0 && self.evict() {}
    }

    /// Ends the connection that is missed least. False if there is none.
    fn evict(&self) -> bool {
        let mut candidates = self.candidates.borrow_mut();
        for _ in 0..2 {
            while let Some((connection, change)) = candidates.pop_front() {
                if connection.change() == change && connection.evictable().is_some() {
                    connection.end(Ending::Evicted);
                    self.set_evicting(self.evicting.get() + 1);
                    return true;
                }
            }
            *candidates = self.oldest();
        }
        false
    }

    /// The connections to evict first.
    fn oldest(&self) -> VecDeque<(Rc<Connection>, u64)> {
        let open = self.open.borrow();
        let mut evictable: Vec<_> = open
            .iter()
            .filter_map(|connection| Some(((connection.evictable()?, connection.change()), connection)))
            .collect();
        let count = (1 + open.len() / 64).min(evictable.len());
        if count == 0 {
            return VecDeque::new();
        }
        evictable.select_nth_unstable_by_key(count - 1, |(order, _)| *order);
        evictable.truncate(count);
        evictable.sort_unstable_by_key(|(order, _)| *order);
        let taken = evictable.into_iter();
        taken
            .map(|((_, change), connection)| (connection.clone(), change))
            .collect()
    }

    /// Ends connections that hold memory until those that remain do not hold too much, as far as
    /// there are any to end.
    pub fn bound_memory(&self) {
        while self.limits.held() > MAX_HELD && self.free() {}
    }

    /// Ends the connection that holds memory and has been inactive for the longest time. False if
    /// there is none.
    fn free(&self) -> bool {
        let open = self.open.borrow();
        let holders = open.iter().filter(|connection| connection.is_holder());
        let Some(oldest) = holders.min_by_key(|connection| connection.change()) else {
            return false;
        };
        oldest.end(Ending::Memory);
        self.set_freeing(self.freeing.get() + oldest.frees());
        true
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
            self.sweep_at(started.elapsed().as_millis() as u64);
            self.limits.report();
        }
    }

    /// Ends connections whose deadline is over at this time, and those above the bound: of a burst
    /// that was accepted at once, none could be evicted when the next was admitted.
    pub(super) fn sweep_at(&self, now: u64) {
        self.context.set_now(now);
        let (mut idle, mut evicting, mut freeing) = (0, 0, 0);
        for connection in &*self.open.borrow() {
            idle += usize::from(connection.is_idle());
            evicting += usize::from(connection.is_evicted());
            freeing += connection.frees();
            if let Some(ending) = connection.overdue(&self.deadlines) {
                connection.end(ending);
            }
        }
        let counts = self.limits.counts();
        counts.idle.fetch_add(idle, Ordering::Relaxed);
        counts.idle.fetch_sub(self.idle.replace(idle), Ordering::Relaxed);
        self.set_evicting(evicting);
        self.set_freeing(freeing);
        self.evict_excess();
        self.bound_memory();
    }

    /// The time of the last sweep.
    #[cfg(test)]
    pub(super) fn now(&self) -> u64 {
        self.context.now()
    }

    /// Wakes a task when its turn has come.
    pub fn wait_for_turn(&self, waker: &Waker) {
        self.turns.waiting.borrow_mut().push_back(waker.clone());
        if let Some(task) = self.turns.task.take() {
            task.wake();
        }
    }

    /// Gives one connection after the other its turn, for as long as the worker runs.
    pub async fn take_turns(self: Rc<Self>) {
        let turns = &self.turns;
        loop {
            let next = poll_fn(|context| match turns.waiting.borrow_mut().pop_front() {
                Some(next) => Poll::Ready(next),
                None => {
                    turns.task.replace(Some(context.waker().clone()));
                    Poll::Pending
                }
            });
            next.await.wake();
            // The runtime first looks for other work, and for input of other connections.
            tokio::task::yield_now().await;
        }
    }
}
