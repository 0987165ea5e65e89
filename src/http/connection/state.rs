//! The state of one connection.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use super::context::WorkerContext;
use super::phase::{Announced, Deadlines, Evictable, Phase};
use crate::metrics::Ending;

/// How long a peer that has sent no whole body may read the response before the connection closes.
/// Closing at once would reset the connection, and the peer might lose the response.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(600);

/// A client whose last response is not older probably sends the next request.
const JUST_SERVED: Duration = Duration::from_millis(500);

/// The first request of a client that connected later is probably on its way.
const JUST_ACCEPTED: Duration = Duration::from_millis(250);

/// The state of one connection.
#[derive(Debug)]
pub struct Connection {
    worker: Rc<WorkerContext>,
    phase: Cell<Phase>,
    /// When the phase began.
    since: Cell<u64>,
    /// When the first byte of the present head arrived.
    head_since: Cell<u64>,
    /// The number of the last change. The lowest has been inactive for the longest time.
    change: Cell<u64>,
    /// Bytes of the present head.
    head_bytes: Cell<usize>,
    /// Bytes behind the end of the present head that were delivered with it.
    behind_head: Cell<usize>,
    /// What of the announced body was not delivered yet.
    body: Cell<Announced>,
    /// A handler is reading the body.
    reading: Cell<bool>,
    /// The peer has sent a request before the response to the one before it.
    pipelines: Cell<bool>,
    /// Since when output waits for the peer to read.
    blocked: Cell<Option<u64>>,
    /// Why the server ends the connection.
    ending: Cell<Option<Ending>>,
    /// Why it has ended it, if the peer still gets time to read.
    ended: Cell<Option<Ending>>,
    waker: RefCell<Option<Waker>>,
    /// Bytes that the connection holds beyond its first buffers.
    held: Cell<usize>,
    /// The place in the list of the worker.
    pub slot: Cell<usize>,
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(worker: Rc<WorkerContext>) -> Self {
        let connection = Self {
            phase: Cell::new(Phase::New),
            since: Cell::new(0),
            head_since: Cell::new(0),
            change: Cell::new(0),
            head_bytes: Cell::new(0),
            behind_head: Cell::new(0),
            body: Cell::new(Announced::Nothing),
            reading: Cell::new(false),
            pipelines: Cell::new(false),
            blocked: Cell::new(None),
            ending: Cell::new(None),
            ended: Cell::new(None),
            waker: RefCell::new(None),
            held: Cell::new(0),
            slot: Cell::new(0),
            worker,
        };
        connection.enter(Phase::New);
        connection
    }

    /// What the connection is waiting for.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.worker.now.get());
        self.touch();
    }

    fn touch(&self) {
        let change = self.worker.changes.get() + 1;
        self.worker.changes.set(change);
        self.change.set(change);
    }
}

/// For the middleware and for the readers of bodies.
impl Connection {
    /// A head has arrived, and its request is given to the application.
    pub fn request_began(&self, announced: Announced) {
        let behind = self.behind_head.replace(0);
        let (rest, behind) = match announced {
            Announced::Nothing => (announced, behind),
            // A chunk may be all there is behind the head.
            Announced::Unknown => (announced, 0),
            Announced::Length(length) => {
                let of_body = length.min(behind as u64);
                (Announced::Length(length - of_body), behind - of_body as usize)
            }
        };
        self.body.set(rest);
        self.head_bytes.set(behind);
        self.reading.set(false);
        self.enter(Phase::Handling);
    }

    /// The body that the present head announces, as far as it was not delivered yet.
    pub fn announced(&self) -> Announced {
        self.body.get()
    }

    /// A handler begins to read the body.
    pub fn body_reading(&self) {
        self.reading.set(true);
    }

    /// The body was read to its end.
    pub fn body_ended(&self) {
        self.reading.set(false);
        self.body.set(Announced::Nothing);
    }

    /// What is left of the time in which head and body must arrive.
    pub fn time_left(&self, request_timeout: Duration) -> Duration {
        let elapsed = Duration::from_millis(self.worker.now.get().saturating_sub(self.head_since.get()));
        request_timeout.saturating_sub(elapsed)
    }

    /// The response exists. `true` if the response must close the connection: the body was not read
    /// to its end, or the connection is to free memory.
    pub fn response_began(&self) -> bool {
        self.reading.set(false);
        let unread = !matches!(self.body.get(), Announced::Nothing | Announced::Length(0));
        self.enter(Phase::Responding);
        unread || self.ended.get().is_some()
    }
}

/// For the stream.
impl Connection {
    /// Whether the next bytes of a head may be delivered, as far as the phase goes.
    pub fn awaits_head(&self) -> bool {
        matches!(self.phase.get(), Phase::New | Phase::Head | Phase::Idle)
    }

    /// What may be delivered of a body.
    pub fn awaited_body(&self) -> Announced {
        match self.phase.get() {
            Phase::Handling if self.reading.get() && self.body.get() != Announced::Length(0) => self.body.get(),
            _ => Announced::Nothing,
        }
    }

    /// Whether input of any kind may be delivered.
    pub fn awaits_input(&self) -> bool {
        self.awaits_head() || self.awaited_body() != Announced::Nothing
    }

    /// Bytes of a head are delivered, `behind` of them behind its end. Without `behind`, the end
    /// is not among them.
    pub fn head_delivered(&self, bytes: usize, behind: Option<usize>) {
        match self.phase.get() {
            // The time for the first head begins with the connection.
            Phase::New => {
                self.head_since.set(self.since.get());
                self.phase.set(Phase::Head);
                self.touch();
            }
            Phase::Idle => {
                self.enter(Phase::Head);
                self.head_since.set(self.since.get());
            }
            _ => {}
        }
        self.behind_head.set(behind.unwrap_or(0));
        self.head_bytes.set(self.head_bytes.get() + bytes);
    }

    /// Bytes of the present head that were delivered.
    pub fn head_bytes(&self) -> usize {
        self.head_bytes.get()
    }

    /// The server takes no further input.
    pub fn end_of_input(&self, why: Ending) {
        self.enter(Phase::Draining);
        self.ending.set(None);
        self.ended.set(Some(why));
    }

    /// Says how many bytes the connection holds beyond its first buffers.
    pub fn holds(&self, bytes: usize) {
        let before = self.held.replace(bytes);
        if bytes >= before {
            self.worker.counts.held.fetch_add(bytes - before, Ordering::Relaxed);
        } else {
            self.worker.counts.held.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }

    /// Whether the connection holds bytes beyond its first buffers.
    pub fn is_holding(&self) -> bool {
        self.held.get() > 0
    }

    /// The connection is closed. Returns why, if the server ended it.
    pub fn close(&self) -> Option<Ending> {
        self.holds(0);
        self.phase.set(Phase::Closed);
        self.ended.get().or(self.ending.get())
    }

    /// Bytes of a body of known length are delivered.
    pub fn body_delivered(&self, bytes: usize) {
        if let Announced::Length(rest) = self.body.get() {
            self.body.set(Announced::Length(rest.saturating_sub(bytes as u64)));
        }
    }

    /// Everything that was to be sent has been sent. Returns whether output was waiting before.
    pub fn flushed(&self) -> bool {
        if self.phase.get() == Phase::Responding {
            self.response_sent();
        }
        self.blocked.take().is_some()
    }

    fn response_sent(&self) {
        match self.body.get() {
            Announced::Nothing | Announced::Length(0) => {}
            _ => return self.enter(Phase::Draining),
        }
        if self.head_bytes.get() > 0 {
            // The next head has begun behind this request.
            self.enter(Phase::Head);
            self.head_since.set(self.since.get());
        } else {
            self.enter(Phase::Idle);
        }
    }

    /// The peer did not wait for a response.
    pub fn pipelines(&self) {
        self.pipelines.set(true);
    }

    /// Output waits until the peer reads.
    pub fn write_blocked(&self) {
        if self.blocked.get().is_none() {
            self.write_progressed();
        }
    }

    /// The peer has read something.
    pub fn write_progressed(&self) {
        self.blocked.set(Some(self.worker.now.get()));
        self.touch();
    }

    /// Whether output waits.
    pub fn is_blocked(&self) -> bool {
        self.blocked.get().is_some()
    }

    /// Why the server ends the connection, if it does.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    /// Whether reading needs more than the usual care.
    pub fn is_exceptional(&self) -> bool {
        self.blocked.get().is_some() || self.ending.get().is_some() || self.phase.get() == Phase::Draining
    }

    /// Whether the connection was told to end for another, and has not closed yet.
    pub fn is_evicted(&self) -> bool {
        self.ending.get() == Some(Ending::Evicted)
    }

    /// Bytes that are free once the connection has closed, if it was told to end for them.
    pub fn frees(&self) -> usize {
        match self.ending.get().or(self.ended.get()) {
            Some(Ending::Memory) => self.held.get(),
            _ => 0,
        }
    }

    /// The connection goes on: a request arrived just in time. One that was to free memory closes
    /// with the response to that request, or a busy peer would keep what it holds.
    pub fn goes_on(&self) {
        if let Some(memory @ Ending::Memory) = self.ending.take() {
            self.ended.set(Some(memory));
        }
    }

    /// Ends the connection the next time its stream is polled.
    pub fn end(&self, ending: Ending) {
        if self.ending.get().is_none() {
            self.ending.set(Some(ending));
        }
        // Again at each sweep, in case that the connection could not end yet.
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Remembers which task to wake when a deadline is over.
    pub fn wakes(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

/// For the sweeper.
impl Connection {
    /// The deadline that is over, if one is.
    pub fn overdue(&self, deadlines: &Deadlines) -> Option<Ending> {
        let over = |since: u64, limit: Duration| Duration::from_millis(self.worker.now.get() - since) > limit;
        if let Some(since) = self.blocked.get() {
            return over(since, deadlines.request).then_some(Ending::ResponseNotRead);
        }
        let (since, limit, ending) = match self.phase.get() {
            Phase::New => (self.since.get(), deadlines.request, Ending::HeadTimeout),
            Phase::Head => (self.head_since.get(), deadlines.request, Ending::HeadTimeout),
            Phase::Draining => (self.since.get(), DRAIN_TIMEOUT, Ending::BodyNotRead),
            Phase::Idle => (self.since.get(), deadlines.idle, Ending::Idle),
            // The handlers and the readers of bodies have deadlines of their own.
            Phase::Handling | Phase::Responding | Phase::Closed => return None,
        };
        over(since, limit).then_some(ending)
    }

    /// The number of the last change. The lowest has been inactive for the longest time.
    pub fn change(&self) -> u64 {
        self.change.get()
    }

    /// Whether the connection waits for a request.
    pub fn is_idle(&self) -> bool {
        matches!(self.phase.get(), Phase::New | Phase::Idle)
    }

    /// Whether the connection can be evicted: it waits for its peer only, and does not end yet.
    pub fn evictable(&self) -> Option<Evictable> {
        // One whose stream was not polled yet may have a request that no one has looked at.
        if self.ending.get().is_some() || self.waker.borrow().is_none() {
            return None;
        }
        let age = self.worker.now.get() - self.since.get();
        let is_within = |time: Duration| age < time.as_millis() as u64;
        match self.phase.get() {
            _ if self.is_blocked() => Some(Evictable::Unfinished),
            Phase::New if is_within(JUST_ACCEPTED) => Some(Evictable::Recent),
            Phase::New if is_within(JUST_SERVED) => Some(Evictable::Unfinished),
            // No one knows whether this one reads its responses, or only the kernel has taken them.
            Phase::Idle if is_within(JUST_SERVED) && self.pipelines.get() => Some(Evictable::Unfinished),
            Phase::Idle if is_within(JUST_SERVED) => Some(Evictable::Recent),
            Phase::New | Phase::Idle | Phase::Draining => Some(Evictable::Idle),
            Phase::Head => Some(Evictable::Unfinished),
            Phase::Handling if self.awaited_body() != Announced::Nothing => Some(Evictable::Unfinished),
            Phase::Handling | Phase::Responding | Phase::Closed => None,
        }
    }

    /// Whether the connection can be ended to free memory.
    pub fn is_holder(&self) -> bool {
        self.is_holding() && self.ended.get().is_none() && self.evictable().is_some()
    }
}
