//! [`GuardedStream`]: an accepted stream that bounds what its peer can make the server hold.
//!
//! Between the socket and actix, it
//! - delivers one request at a time, and keeps the bytes behind it until the response was sent,
//! - reads nothing while output waits for the peer,
//! - ends the connection when the sweeper says that a deadline is over.
//!
//! It never changes the bytes: it only decides in which pieces, and when, they are delivered.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::limits::Admission;
use super::registry::WorkerConnections;
use super::scan::HeadScan;
use crate::http::connection::{Announced, Connection, Phase};
use crate::metrics::Ending;

/// Bytes of a head that may be delivered without its end.
const MAX_HEAD: usize = 32 << 10;

/// Bytes of chunks that are delivered before their reader has consumed them: actix makes an
/// allocation of each, even of one byte.
const MAX_CHUNKS: usize = 4 << 10;

/// Bytes that each buffer of actix has from the beginning. It grows when it needs more, and stays so
/// for as long as the connection is open.
const FIRST_BUFFER: usize = 8 << 10;

/// Bytes that are read and thrown away after a response that came before the body was read.
const MAX_DRAINED: usize = 256 << 10;

const HEAD_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const HEAD_TOO_LARGE: &[u8] =
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// A stream that can be reset, so that the kernel gives back at once what it holds for it.
pub trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Resets the connection when it is dropped.
    fn reset(&self);

    /// Whether the kernel has input that was not read yet. `poll_read` may not know of it: the
    /// runtime reads only after it was told of input, and a busy worker is told late.
    fn has_input(&self) -> bool;
}

impl Transport for TcpStream {
    fn reset(&self) {
        // Without it, the connection is closed in the usual way.
        let _ = self.set_zero_linger();
    }

    fn has_input(&self) -> bool {
        let peeked = SockRef::from(self).peek(&mut [MaybeUninit::uninit()]);
        peeked.is_ok_and(|bytes| bytes > 0)
    }
}

/// The stream of one connection.
pub struct GuardedStream<S> {
    inner: S,
    connection: Rc<Connection>,
    owner: Rc<WorkerConnections>,
    scan: HeadScan,
    /// The end of a head, or enough of a body, was delivered, and actix had no occasion yet to
    /// decode it.
    head_ended: bool,
    /// Bytes that were read and may not be delivered yet, from `kept_from` on.
    kept: Vec<u8>,
    kept_from: usize,
    /// The most bytes of one head with what followed it, or of one body: for them, actix has made its
    /// buffer of input as large.
    input: usize,
    /// The most bytes of one write, likewise.
    output: usize,
    /// Bytes of a body that were delivered apart from their head.
    body: usize,
    /// Bytes of chunks that were delivered since actix had an occasion to decode them.
    chunks: usize,
    /// Bytes that were thrown away.
    drained: usize,
    waits_for_turn: bool,
    /// The stream has answered, so actix must not.
    answered: bool,
    /// The last to be dropped: until then, the connection counts.
    _admission: Admission,
}

impl<S: Transport> GuardedStream<S> {
    /// Guards an accepted stream. `None` if its peer has too many connections: then it is to be
    /// dropped.
    pub fn accept(inner: S, peer: Option<IpAddr>, owner: &Rc<WorkerConnections>) -> Option<Self> {
        let (connection, admission) = owner.admit(peer)?;
        Some(Self {
            inner,
            connection,
            owner: owner.clone(),
            scan: HeadScan::default(),
            head_ended: false,
            kept: Vec::new(),
            kept_from: 0,
            input: 0,
            output: 0,
            body: 0,
            chunks: 0,
            drained: 0,
            waits_for_turn: false,
            answered: false,
            _admission: admission,
        })
    }

    /// The state of the connection, for the middleware.
    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// How many of these bytes, which come next, may be delivered now.
    fn admit(&mut self, bytes: &[u8], head_ended: bool) -> usize {
        let admitted = match self.connection.awaited_body() {
            Announced::Length(rest) => {
                let of_body = bytes.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
                self.connection.body_delivered(of_body);
                self.body += of_body;
                self.input = self.input.max(self.body);
                self.scan = HeadScan::default();
                return of_body;
            }
            // The last chunk is followed by an empty line, so at most its request ends here.
            Announced::Unknown if !head_ended => {
                let bytes = &bytes[..bytes.len().min(MAX_CHUNKS - self.chunks)];
                let end = self.scan.end(bytes);
                let of_body = end.unwrap_or(bytes.len());
                self.body += of_body;
                self.chunks += of_body;
                self.head_ended = end.is_some() || self.chunks == MAX_CHUNKS;
                if self.head_ended {
                    self.chunks = 0;
                }
                return of_body;
            }
            Announced::Nothing if !head_ended && self.connection.awaits_head() => self.scan.end(bytes),
            _ => return 0,
        };
        let Some(end) = admitted else {
            self.head_delivered(bytes.len(), None);
            return bytes.len();
        };
        self.head_ended = true;
        let mut ahead = self.scan;
        let next = &bytes[end..];
        let next = &next[..next.len().min(MAX_CHUNKS)];
        let behind = match ahead.end(next) {
            // Another head: it waits for the response to this one.
            Some(_) => 0,
            // The body, usually.
            None => {
                self.scan = ahead;
                next.len()
            }
        };
        self.head_delivered(end, Some(behind));
        end + behind
    }

    fn head_delivered(&mut self, bytes: usize, behind: Option<usize>) {
        self.connection.head_delivered(bytes, behind);
        self.input = self.input.max(self.connection.head_bytes() + behind.unwrap_or(0));
    }

    /// Delivers what was kept.
    fn deliver_kept(&mut self, buf: &mut ReadBuf<'_>, head_ended: bool) -> Poll<io::Result<()>> {
        let kept = std::mem::take(&mut self.kept);
        let next = &kept[self.kept_from..];
        let next = &next[..next.len().min(buf.remaining())];
        let admitted = self.admit(next, head_ended);
        buf.put_slice(&next[..admitted]);
        self.kept_from += admitted;
        if self.kept_from < kept.len() {
            self.kept = kept;
        } else {
            self.kept_from = 0;
        }
        self.account();
        if admitted == 0 {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Reads a connection on which output waits, which ends, or whose body no one reads.
    fn poll_exceptional(&mut self, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let ending = self.connection.ending();
        if self.connection.is_blocked() {
            // `poll_flush` wakes the task once the output is sent.
            return match ending {
                Some(_) => Poll::Ready(Err(self.abort())),
                None => Poll::Pending,
            };
        }
        let Some(ending) = ending else {
            return self.drain(context, buf);
        };
        match (self.connection.phase(), ending) {
            (Phase::New | Phase::Head, Ending::HeadTimeout) => self.answer(context, buf, HEAD_TIMEOUT, ending),
            (Phase::New | Phase::Idle, _) if self.kept.is_empty() => self.last_chance(context, buf),
            (Phase::Handling | Phase::Responding, _) => Poll::Ready(Err(self.abort())),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// A connection without a request ends, unless one has just arrived.
    fn last_chance(&mut self, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(context, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                self.connection.goes_on();
                self.deliver_read(buf, before, false)
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending if self.inner.has_input() => {
                self.connection.goes_on();
                Poll::Pending
            }
            _ => {
                // At once: a request that arrives between this read and a later close would be lost.
                let _ = Pin::new(&mut self.inner).poll_shutdown(context);
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Answers a head that was not complete, says that no more comes, and throws away the rest, so
    /// that the peer can read the answer. If the few bytes do not fit into the kernel's buffer, there
    /// is no peer that reads.
    fn answer(
        &mut self,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
        answer: &[u8],
        why: Ending,
    ) -> Poll<io::Result<()>> {
        let _ = Pin::new(&mut self.inner).poll_write(context, answer);
        let _ = Pin::new(&mut self.inner).poll_shutdown(context);
        self.answered = true;
        self.connection.end_of_input(why);
        self.drain(context, buf)
    }

    /// Throws away what the peer sends, until it closes or has sent too much.
    fn drain(&mut self, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        (self.kept, self.kept_from) = (Vec::new(), 0);
        let before = buf.filled().len();
        while self.drained < MAX_DRAINED {
            ready!(Pin::new(&mut self.inner).poll_read(context, buf))?;
            let read = buf.filled().len() - before;
            if read == 0 {
                break;
            }
            buf.set_filled(before);
            self.drained += read;
        }
        Poll::Ready(Ok(()))
    }

    /// Delivers what may be delivered of the bytes that were read into `buf`, and keeps the rest.
    fn deliver_read(&mut self, buf: &mut ReadBuf<'_>, before: usize, head_ended: bool) -> Poll<io::Result<()>> {
        let read = buf.filled().len() - before;
        let admitted = self.admit(&buf.filled()[before..], head_ended);
        if admitted < read {
            self.kept.extend_from_slice(&buf.filled()[before + admitted..]);
            buf.set_filled(before + admitted);
        }
        if admitted < read || self.body > 0 || self.input > FIRST_BUFFER {
            self.account();
        }
        if admitted == 0 {
            Poll::Pending
        } else {
            Poll::Ready(Ok(()))
        }
    }

    /// Counts what the connection holds beyond the first buffers.
    fn account(&self) {
        let grown = self.input.saturating_sub(FIRST_BUFFER) + self.output.saturating_sub(FIRST_BUFFER);
        self.connection.holds(self.kept.capacity() + grown + self.body);
        self.owner.bound_memory();
    }

    fn abort(&self) -> io::Error {
        self.inner.reset();
        ErrorKind::TimedOut.into()
    }
}

impl<S> Drop for GuardedStream<S> {
    fn drop(&mut self) {
        self.owner.remove(&self.connection);
    }
}

impl<S: Transport> AsyncRead for GuardedStream<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.connection.wakes(context.waker());
        this.waits_for_turn = false;
        if this.connection.is_exceptional() {
            return this.poll_exceptional(context, buf);
        }
        // actix reads until there is nothing left, and only then decodes.
        let head_ended = std::mem::take(&mut this.head_ended);
        if !head_ended && this.connection.head_bytes() > MAX_HEAD && this.connection.awaits_head() {
            return this.answer(context, buf, HEAD_TOO_LARGE, Ending::HeadTooLarge);
        }
        if !this.kept.is_empty() {
            return this.deliver_kept(buf, head_ended);
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(context, buf))?;
        if buf.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        this.deliver_read(buf, before, head_ended)
    }
}

impl<S: Transport> AsyncWrite for GuardedStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.answered {
            return Poll::Ready(Ok(buf.len()));
        }
        let blocked = this.connection.is_blocked();
        if blocked && this.connection.ending().is_some() {
            return Poll::Ready(Err(this.abort()));
        }
        if buf.len() > this.output {
            this.output = buf.len();
            if buf.len() > FIRST_BUFFER {
                this.account();
            }
        }
        let written = Pin::new(&mut this.inner).poll_write(context, buf);
        match &written {
            Poll::Pending => {
                this.connection.wakes(context.waker());
                this.connection.write_blocked();
            }
            Poll::Ready(_) if blocked => this.connection.write_progressed(),
            Poll::Ready(_) => {}
        }
        written
    }

    /// actix flushes at the end of every poll in which it could write everything.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.inner).poll_flush(context))?;
        let was_blocked = this.connection.flushed();
        if this.connection.is_holding() {
            if this.connection.awaits_head() {
                this.body = 0;
            }
            this.account();
        }
        if was_blocked {
            // Nothing was read meanwhile.
            context.waker().wake_by_ref();
        } else if !this.kept.is_empty() && this.connection.awaits_input() && !this.waits_for_turn {
            this.waits_for_turn = true;
            if this.connection.awaits_head() {
                this.connection.pipelines();
            }
            this.owner.wait_for_turn(context.waker());
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.connection.is_blocked() && this.connection.ending().is_some() {
            return Poll::Ready(Err(this.abort()));
        }
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}
