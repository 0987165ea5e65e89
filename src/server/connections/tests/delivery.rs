//! In which pieces, and when, bytes are delivered.

use proptest::prelude::*;

use super::*;

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
fn bodies_that_were_read_are_not_held() {
    let site = Site::of(10);
    let mut scene = site.connect();
    let body = joined(&[b"320\r\n", &[b'a'; 0x320], b"\r\n0\r\n\r\n"]);
    for _ in 0..100 {
        scene.send(CHUNKED);
        assert_eq!(scene.read(), open(CHUNKED));
        scene.begins(Announced::Unknown);
        scene.stream.connection().body_reading();
        scene.send(&body);
        assert_eq!(scene.read(), open(&body));
        scene.stream.connection().body_ended();
        assert!(!scene.responds());
    }
    scene.send(b"G");
    assert_eq!(scene.read(), open(b"G"));
    assert!(site.counts.held.load(Ordering::Relaxed) < body.len());
}

#[test]
fn what_buffers_have_grown_by_is_held_until_the_connection_closes() {
    let site = Site::of(10);
    let held = || site.counts.held.load(Ordering::Relaxed);
    let large = joined(&[&b"GET / HTTP/1.1\r\nX: "[..], &[b'a'; 20 << 10], b"\r\n\r\n"]);
    let mut scene = site.connect();
    scene.serve();
    assert_eq!(held(), 0);
    scene.send(&large);
    assert_eq!(scene.read(), open(&large));
    scene.begins(Announced::Nothing);
    scene.responds();
    let input = large.len() - (8 << 10);
    assert_eq!(held(), input);
    scene.serve();
    assert_eq!(held(), input, "the buffer is as large as before");
    scene.send(GET);
    scene.read();
    scene.begins(Announced::Nothing);
    scene.stream.connection().response_began();
    assert!(scene.write(&[b'a'; 30 << 10]).unwrap());
    assert_eq!(held(), input + (22 << 10));
    drop(scene);
    assert_eq!(held(), 0);
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
