//! Tests of [`GuardedStream`](super::stream::GuardedStream) on a stream in memory. The clock is set by
//! hand.

mod deadlines;
mod delivery;
mod eviction;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::limits::Limits;
use super::registry::WorkerConnections;
use super::stream::{GuardedStream, Transport};
use crate::config::TrustedProxies;
use crate::http::connection::{Announced, Deadlines};
use crate::metrics::{ConnectionCounts, Ending};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

const REQUEST_TIMEOUT: u64 = 5000;
const KEEP_ALIVE: u64 = 60_000;

/// The other end of a stream in memory.
#[derive(Default)]
struct Peer {
    sent: VecDeque<Vec<u8>>,
    closed: bool,
    /// The runtime was not told yet of what it sent.
    is_unnoticed: bool,
    /// How many bytes it still reads.
    reads: usize,
    read: Vec<u8>,
    was_ended: bool,
    was_reset: bool,
}

#[derive(Clone)]
struct Memory(Rc<RefCell<Peer>>);

impl AsyncRead for Memory {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut peer = self.0.borrow_mut();
        if peer.is_unnoticed {
            return Poll::Pending;
        }
        let Some(mut piece) = peer.sent.pop_front() else {
            return if peer.closed {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        };
        let rest = piece.split_off(piece.len().min(buf.remaining()));
        if !rest.is_empty() {
            peer.sent.push_front(rest);
        }
        buf.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut peer = self.0.borrow_mut();
        let written = bytes.len().min(peer.reads);
        if written == 0 {
            return Poll::Pending;
        }
        peer.reads -= written;
        peer.read.extend_from_slice(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().was_ended = true;
        Poll::Ready(Ok(()))
    }
}

impl Transport for Memory {
    fn reset(&self) {
        self.0.borrow_mut().was_reset = true;
    }

    fn has_input(&self) -> bool {
        !self.0.borrow().sent.is_empty()
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A worker and its counts.
struct Site {
    worker: Rc<WorkerConnections>,
    counts: Arc<ConnectionCounts>,
    limits: Arc<Limits>,
}

impl Site {
    fn of(max: usize) -> Self {
        let counts = Arc::default();
        let limits = Limits::new(max, 8 * max, [TrustedProxies::NONE, TrustedProxies::NONE], &counts);
        Self::on(limits, counts)
    }

    /// Another worker with the same bounds.
    fn on(limits: Arc<Limits>, counts: Arc<ConnectionCounts>) -> Self {
        let deadlines = Deadlines {
            request: Duration::from_millis(REQUEST_TIMEOUT),
            idle: Duration::from_millis(KEEP_ALIVE),
        };
        Self {
            worker: WorkerConnections::new(deadlines, limits.clone()),
            counts,
            limits,
        }
    }

    fn connect(&self) -> Scene {
        let peer = Rc::new(RefCell::new(Peer {
            reads: usize::MAX,
            ..Peer::default()
        }));
        let address: IpAddr = [192, 0, 2, 1].into();
        let stream = GuardedStream::accept(Memory(peer.clone()), Some(address), &self.worker);
        let woken = Arc::new(Woken::default());
        Scene {
            stream: stream.expect("there is room"),
            peer,
            waker: Waker::from(woken.clone()),
            woken,
        }
    }

    fn ended(&self, why: Ending) -> u64 {
        self.counts.ended_for(why)
    }
}

/// A connection, driven as actix does it.
struct Scene {
    stream: GuardedStream<Memory>,
    peer: Rc<RefCell<Peer>>,
    waker: Waker,
    woken: Arc<Woken>,
}

#[derive(Debug, PartialEq, Eq)]
enum Input {
    Open(Vec<u8>),
    Ended(Vec<u8>),
    Broken,
}

fn open(bytes: &[u8]) -> Input {
    Input::Open(bytes.to_vec())
}

fn ended(bytes: &[u8]) -> Input {
    Input::Ended(bytes.to_vec())
}

impl Scene {
    fn send(&self, bytes: &[u8]) {
        self.peer.borrow_mut().sent.push_back(bytes.to_vec());
    }

    /// Reads until nothing more comes.
    fn read(&mut self) -> Input {
        let mut context = Context::from_waker(&self.waker);
        let mut all = Vec::new();
        loop {
            let mut space = [0; 1024];
            let mut buf = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(&mut context, &mut buf) {
                Poll::Pending => return Input::Open(all),
                Poll::Ready(Err(_)) => return Input::Broken,
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return Input::Ended(all),
                Poll::Ready(Ok(())) => all.extend_from_slice(buf.filled()),
            }
        }
    }

    fn begins(&self, announced: Announced) {
        self.stream.connection().request_began(announced);
    }

    /// Writes and flushes. `false` if the peer did not read everything.
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        let mut context = Context::from_waker(&self.waker);
        while !bytes.is_empty() {
            match Pin::new(&mut self.stream).poll_write(&mut context, bytes)? {
                Poll::Pending => return Ok(false),
                Poll::Ready(written) => bytes = &bytes[written..],
            }
        }
        assert!(Pin::new(&mut self.stream).poll_flush(&mut context)?.is_ready());
        Ok(true)
    }

    /// Responds, and says whether the response must close the connection.
    fn responds(&mut self) -> bool {
        let closes = self.stream.connection().response_began();
        assert!(self.write(b"response").unwrap());
        closes
    }

    /// A whole request and its response.
    fn serve(&mut self) {
        self.send(GET);
        assert_eq!(self.read(), open(GET));
        self.begins(Announced::Nothing);
        assert!(!self.responds());
    }

    /// The stream has answered itself: then it takes nothing more, and actix cannot answer too.
    fn was_answered(&mut self, answer: &str) {
        assert!(self.write(b"HTTP/1.1 400 ").unwrap());
        let peer = self.peer.borrow();
        let read = String::from_utf8_lossy(&peer.read);
        let read = read.trim_start_matches("response");
        assert_eq!(
            read,
            format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        );
        assert!(peer.was_ended);
    }

    fn wakes(&self) -> usize {
        self.woken.0.load(Ordering::Relaxed)
    }
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}
