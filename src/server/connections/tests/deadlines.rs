//! When and how connections end by themselves.

use super::*;

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
