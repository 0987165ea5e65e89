//! Tests of [`GuardedStream`](super::stream::GuardedStream) on a stream in memory. The clock is set by
//! hand.

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

use proptest::prelude::*;
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
}

impl Site {
    fn of(max: usize) -> Self {
        let counts = Arc::<ConnectionCounts>::default();
        let deadlines = Deadlines {
            request: Duration::from_millis(REQUEST_TIMEOUT),
            idle: Duration::from_millis(KEEP_ALIVE),
        };
        let limits = Limits::new(max, 2 * max, [TrustedProxies::NONE, TrustedProxies::NONE], &counts);
        Self {
            worker: WorkerConnections::new(deadlines, limits),
            counts,
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

#[test]
fn one_request_is_delivered_at_a_time() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(&joined(&[GET, GET, b"GET /partial"]));
    assert_eq!(scene.read(), open(GET));
    scene.begins(Announced::Nothing);
    assert_eq!(scene.read(), open(b""), "while the handler works");
    scene.stream.connection().response_began();
    assert_eq!(scene.read(), open(b""), "before the response was sent");
    assert!(scene.write(b"response").unwrap());
    assert_eq!(scene.read(), open(&joined(&[GET, b"GET /partial"])));
}

#[test]
fn a_body_is_delivered_with_its_head() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(&joined(&[POST, b"a=bc"]));
    assert_eq!(scene.read(), open(&joined(&[POST, b"a=bc"])));
    scene.begins(Announced::Length(4));
    assert!(!scene.responds(), "the body has arrived");
}

#[test]
fn a_body_of_known_length_is_delivered_to_its_end_and_only_to_its_reader() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(&joined(&[POST, b"a=bc", GET]));
    assert_eq!(scene.read(), open(POST));
    scene.begins(Announced::Length(4));
    assert_eq!(scene.read(), open(b""));
    scene.stream.connection().body_reading();
    assert_eq!(scene.read(), open(b"a=bc"));
    scene.stream.connection().body_ended();
    assert_eq!(scene.read(), open(b""));
    scene.responds();
    assert_eq!(scene.read(), open(GET));
}

#[test]
fn a_chunked_body_is_delivered_to_its_end() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(&joined(&[CHUNKED, b"4\r\na=bc\r\n0\r\n\r\n", GET]));
    assert_eq!(scene.read(), open(CHUNKED));
    scene.begins(Announced::Unknown);
    scene.stream.connection().body_reading();
    assert_eq!(scene.read(), open(b"4\r\na=bc\r\n0\r\n\r\n"));
    scene.stream.connection().body_ended();
    assert_eq!(scene.read(), open(b""));
    assert!(!scene.responds());
    assert_eq!(scene.read(), open(GET));
}

#[test]
fn chunks_are_delivered_as_their_reader_consumes_them() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(CHUNKED);
    scene.read();
    scene.begins(Announced::Unknown);
    scene.stream.connection().body_reading();
    let chunks = b"1\r\na\r\n".repeat(3000);
    scene.send(&chunks);
    let (mut got, mut rounds) = (Vec::new(), 0);
    while got.len() < chunks.len() {
        let Input::Open(more) = scene.read() else {
            panic!("after {} bytes", got.len());
        };
        assert!(more.len() <= 4 << 10);
        got.extend(more);
        rounds += 1;
        assert!(rounds < 100);
    }
    assert_eq!(got, chunks);
}

#[test]
fn nothing_is_read_while_output_waits() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(GET);
    scene.read();
    scene.begins(Announced::Nothing);
    scene.peer.borrow_mut().reads = 3;
    scene.stream.connection().response_began();
    assert!(!scene.write(b"response").unwrap());
    scene.send(GET);
    assert_eq!(scene.read(), open(b""));
    assert_eq!(scene.peer.borrow().sent.len(), 1, "not even into memory");
    let wakes = scene.wakes();
    scene.peer.borrow_mut().reads = 100;
    assert!(scene.write(b"ponse").unwrap());
    assert!(scene.wakes() > wakes);
    assert_eq!(scene.read(), open(GET));
}

#[test]
fn a_first_head_has_the_request_timeout_from_the_connection_on() {
    let site = Site::of(10);
    let (mut silent, mut slow) = (site.connect(), site.connect());
    assert_eq!((silent.read(), slow.read()), (open(b""), open(b"")));
    site.worker.sweep_at(REQUEST_TIMEOUT - 1);
    slow.send(b"G");
    assert_eq!(slow.read(), open(b"G"));
    site.worker.sweep_at(REQUEST_TIMEOUT + 1);
    for scene in [&mut silent, &mut slow] {
        assert!(scene.wakes() > 0);
        assert_eq!(scene.read(), open(b""));
        scene.was_answered("408 Request Timeout");
    }
    site.worker.sweep_at(REQUEST_TIMEOUT + 700);
    assert_eq!((silent.read(), slow.read()), (ended(b""), ended(b"")));
}

#[test]
fn a_later_head_has_the_request_timeout_from_its_first_byte_on() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.serve();
    site.worker.sweep_at(20_000);
    for millis in (0..REQUEST_TIMEOUT).step_by(500) {
        site.worker.sweep_at(20_000 + millis);
        scene.send(b"G");
        assert_eq!(scene.read(), open(b"G"), "{millis} ms after the first byte");
    }
    site.worker.sweep_at(20_001 + REQUEST_TIMEOUT);
    assert_eq!(scene.read(), open(b""));
    scene.was_answered("408 Request Timeout");
    drop(scene);
    assert_eq!(site.ended(Ending::HeadTimeout), 1);
}

#[test]
fn a_head_that_began_with_the_request_before_it_has_the_request_timeout_from_the_response_on() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(&joined(&[GET, b"G"]));
    assert_eq!(scene.read(), open(&joined(&[GET, b"G"])));
    scene.begins(Announced::Nothing);
    site.worker.sweep_at(60_000);
    assert_eq!(scene.read(), open(b""), "the handler has a deadline of its own");
    scene.responds();
    site.worker.sweep_at(60_001 + REQUEST_TIMEOUT);
    assert_eq!(scene.read(), open(b""));
    scene.was_answered("408 Request Timeout");
}

#[test]
fn an_idle_connection_closes_after_keep_alive_without_a_response() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.serve();
    site.worker.sweep_at(KEEP_ALIVE);
    assert_eq!(scene.read(), open(b""));
    site.worker.sweep_at(KEEP_ALIVE + 1);
    assert_eq!(scene.read(), ended(b""));
    assert_eq!(scene.peer.borrow().read, b"response");
}

#[test]
fn a_request_that_arrives_in_the_last_moment_is_served() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.serve();
    site.worker.sweep_at(KEEP_ALIVE + 1);
    scene.send(GET);
    assert_eq!(scene.read(), open(GET));
    scene.begins(Announced::Nothing);
    scene.responds();
    site.worker.sweep_at(KEEP_ALIVE + 2);
    assert_eq!(scene.read(), open(b""));
}

#[test]
fn a_response_before_the_body_was_read_closes_the_connection() {
    let site = Site::of(10);
    for (head, announced) in [(POST, Announced::Length(4)), (CHUNKED, Announced::Unknown)] {
        let mut scene = site.connect();
        scene.send(head);
        scene.read();
        scene.begins(announced);
        assert!(scene.responds(), "the response says Connection: close");
        scene.send(b"4\r\n");
        assert_eq!(
            scene.read(),
            open(b""),
            "thrown away, so that the peer reads the response"
        );
        let later = site.worker.now() + 700;
        site.worker.sweep_at(later);
        assert_eq!(scene.read(), ended(b""));
    }
}

#[test]
fn a_peer_that_sends_on_and_on_is_closed_before_the_deadline() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(CHUNKED);
    scene.read();
    scene.begins(Announced::Unknown);
    scene.responds();
    scene.send(&vec![b'0'; 1 << 20]);
    assert_eq!(scene.read(), ended(b""));
}

#[test]
fn a_response_that_is_not_read_ends_in_a_reset() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(GET);
    scene.read();
    scene.begins(Announced::Nothing);
    scene.stream.connection().response_began();
    scene.peer.borrow_mut().reads = 1;
    assert!(!scene.write(b"response").unwrap());
    site.worker.sweep_at(4000);
    scene.peer.borrow_mut().reads = 1;
    assert!(!scene.write(b"esponse").unwrap(), "progress");
    site.worker.sweep_at(4000 + REQUEST_TIMEOUT);
    assert!(!scene.write(b"sponse").unwrap());
    site.worker.sweep_at(4001 + REQUEST_TIMEOUT);
    assert_eq!(scene.read(), Input::Broken);
    assert!(scene.write(b"sponse").is_err());
    assert!(scene.peer.borrow().was_reset);
}

#[test]
fn a_head_without_end_is_too_large_after_32_kib() {
    let site = Site::of(10);
    let mut scene = site.connect();
    for _ in 0..40 {
        scene.send(&[b'a'; 1024]);
    }
    let Input::Open(delivered) = scene.read() else {
        panic!("the peer has no time to read the answer");
    };
    assert!((32 << 10..=34 << 10).contains(&delivered.len()), "{}", delivered.len());
    scene.was_answered("431 Request Header Fields Too Large");
    drop(scene);
    assert_eq!(site.ended(Ending::HeadTooLarge), 1);
}

#[test]
fn a_large_head_whose_end_arrives_is_served() {
    let site = Site::of(10);
    let mut scene = site.connect();
    let head = joined(&[&b"GET / HTTP/1.1\r\nX: "[..], &[b'a'; 31 << 10], b"\r\nHost: h\r\n\r\n"]);
    scene.send(&head);
    assert_eq!(scene.read(), open(&head));
    scene.begins(Announced::Nothing);
    scene.responds();
    scene.serve();
}

#[test]
fn empty_lines_without_a_request_are_a_head_without_end() {
    let site = Site::of(10);
    let mut scene = site.connect();
    scene.send(&b"\r\n".repeat(40 << 10));
    let mut rounds = 0;
    while scene.peer.borrow().read.is_empty() {
        rounds += 1;
        assert!(rounds < 40 << 10);
        assert!(matches!(scene.read(), Input::Open(_)));
        assert!(scene.write(b"").unwrap());
    }
    scene.was_answered("431 Request Header Fields Too Large");
}

#[test]
fn over_the_bound_the_connection_inactive_for_the_longest_time_is_evicted() {
    let site = Site::of(3);
    let mut scenes: Vec<_> = (0..3).map(|_| site.connect()).collect();
    scenes.iter_mut().for_each(Scene::serve);
    scenes[0].serve();
    site.worker.sweep_at(10_000);
    let newcomer = site.connect();
    let inputs: Vec<_> = scenes.iter_mut().map(Scene::read).collect();
    assert_eq!(inputs, [open(b""), ended(b""), open(b"")]);
    drop((scenes, newcomer));
    assert_eq!(site.ended(Ending::Evicted), 1);
}

#[test]
fn an_unfinished_head_is_evicted_before_a_client_that_was_just_served() {
    let site = Site::of(2);
    let mut served = site.connect();
    served.serve();
    let mut hostile = site.connect();
    hostile.send(b"G");
    hostile.read();
    let _newcomer = site.connect();
    assert_eq!(served.read(), open(b""));
    assert_eq!(hostile.read(), ended(b""));
}

#[test]
fn an_idle_connection_is_evicted_before_unfinished_requests() {
    let site = Site::of(3);
    let (mut head, mut body) = (site.connect(), site.connect());
    head.send(b"G");
    head.read();
    body.send(POST);
    body.read();
    body.begins(Announced::Length(4));
    body.stream.connection().body_reading();
    let mut idle = site.connect();
    idle.serve();
    site.worker.sweep_at(600);
    let _newcomer = site.connect();
    assert_eq!(idle.read(), ended(b""));
    assert_eq!((head.read(), body.read()), (open(b""), open(b"")));
    drop(idle);
    let _newcomer = (site.connect(), site.connect());
    assert_eq!(head.read(), ended(b""));
    site.worker.sweep_at(700);
    let _newcomer = site.connect();
    assert_eq!(body.read(), Input::Broken);
}

#[test]
fn a_connection_that_had_no_turn_yet_is_not_evicted() {
    let site = Site::of(1);
    let mut new = site.connect();
    let mut newer = site.connect();
    assert_eq!(new.read(), open(b""));
    assert_eq!(newer.read(), open(b""));
    let _newest = site.connect();
    assert_eq!(new.read(), ended(b""));
}

#[test]
fn a_connection_whose_request_is_handled_is_never_evicted() {
    let site = Site::of(1);
    let mut scene = site.connect();
    scene.send(GET);
    scene.read();
    scene.begins(Announced::Nothing);
    let _newcomer = site.connect();
    assert_eq!(scene.read(), open(b""));
    scene.responds();
    assert_eq!(scene.read(), open(b""));
}

#[test]
fn a_client_whose_request_arrives_is_not_evicted() {
    let site = Site::of(1);
    let mut scene = site.connect();
    scene.serve();
    scene.send(GET);
    let _newcomer = site.connect();
    assert_eq!(scene.read(), open(GET));
}

#[test]
fn what_connections_hold_is_counted_and_bounded() {
    let site = Site::of(10_000);
    let mut scenes: Vec<_> = (0..2200).map(|_| site.connect()).collect();
    for scene in &mut scenes {
        scene.send(&[b'a'; 31 << 10]);
        scene.read();
        assert!(site.counts.held.load(Ordering::Relaxed) <= (32 << 20) + (2200 << 10));
    }
    // An ended connection gives back what it holds when it is dropped.
    let ended: Vec<_> = scenes
        .extract_if(.., |scene| matches!(scene.read(), Input::Ended(_)))
        .collect();
    assert!(!ended.is_empty());
    drop(ended);
    assert!(site.ended(Ending::Memory) > 0);
    drop(scenes);
    assert_eq!(site.counts.held.load(Ordering::Relaxed), 0);
    assert_eq!(site.counts.open.load(Ordering::Relaxed), 0);
}

proptest! {
    /// The stream only decides in which pieces bytes are delivered: it neither changes nor loses any,
    /// and each read ends at most one head.
    #[test]
    fn requests_are_delivered_whole_in_order_and_one_at_a_time(
        kinds in proptest::collection::vec(0usize..3, 1..8),
        lengths in proptest::collection::vec(1usize..90, 1..8),
    ) {
        let body: &[u8] = b"\n\r\nx";
        let chunks: &[u8] = b"4\r\n\n\r\nx\r\n0\r\n\r\n";
        let texts: Vec<_> = kinds
            .iter()
            .map(|kind| [joined(&[GET]), joined(&[POST, body]), joined(&[CHUNKED, chunks])][*kind].clone())
            .collect();
        let all = texts.concat();
        let site = Site::of(10);
        let mut scene = site.connect();
        let (mut rest, mut lengths) = (&all[..], lengths.iter().copied().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(lengths.next().unwrap()));
            scene.send(piece);
            rest = behind;
        }
        let mut early = Vec::new();
        for (kind, text) in kinds.iter().zip(&texts) {
            let head = [GET, POST, CHUNKED][*kind].len();
            let mut got = std::mem::take(&mut early);
            let mut begun = false;
            for _ in 0..text.len() + 2 {
                if !begun && got.len() >= head {
                    begun = true;
                    scene.begins([Announced::Nothing, Announced::Length(4), Announced::Unknown][*kind]);
                    scene.stream.connection().body_reading();
                }
                if got.len() >= text.len() {
                    break;
                }
                let Input::Open(more) = scene.read() else { panic!("{got:?}") };
                got.extend(more);
            }
            prop_assert!(got.starts_with(text));
            early = got.split_off(text.len());
            // Never the whole next head.
            prop_assert!(!early.ends_with(b"\r\n\r\n"));
            scene.stream.connection().body_ended();
            prop_assert!(!scene.responds());
        }
        prop_assert!(early.is_empty());
    }
}
