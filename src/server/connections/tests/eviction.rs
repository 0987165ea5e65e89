//! Which connections end for others.

use std::io::Write;
use std::sync::Barrier;
use std::thread;

use tokio::net::TcpListener;

use super::*;

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
fn a_client_that_waits_for_responses_is_kept_before_one_that_pipelines() {
    let site = Site::of(2);
    let (mut served, mut pipelining) = (site.connect(), site.connect());
    served.serve();
    pipelining.send(&joined(&[GET, GET]));
    for _ in 0..2 {
        assert_eq!(pipelining.read(), open(GET));
        pipelining.begins(Announced::Nothing);
        pipelining.responds();
    }
    let _newcomer = site.connect();
    assert_eq!(served.read(), open(b""));
    assert_eq!(pipelining.read(), ended(b""));
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
fn of_a_burst_that_was_accepted_at_once_no_more_than_the_bound_remain() {
    let site = Site::of(2);
    let mut burst: Vec<_> = (0..8).map(|_| site.connect()).collect();
    burst.iter_mut().for_each(|scene| assert_eq!(scene.read(), open(b"")));
    site.worker.sweep_at(100);
    site.worker.sweep_at(200);
    let remaining = burst
        .iter_mut()
        .filter(|scene| scene.stream.connection().evictable().is_some());
    assert_eq!(remaining.count(), 2);
    burst.iter_mut().for_each(|scene| drop(scene.read()));
    drop(burst);
    assert_eq!(site.ended(Ending::Evicted), 6);
}

#[test]
fn workers_do_not_evict_the_same_excess_each() {
    const EACH: usize = 1000;
    let Site { counts, worker, limits } = Site::of(EACH);
    drop(worker);
    let all_are_open = Barrier::new(2);
    let work = || {
        let site = Site::on(limits.clone(), counts.clone());
        let mut scenes: Vec<_> = (0..EACH).map(|_| site.connect()).collect();
        scenes.iter_mut().for_each(|scene| assert_eq!(scene.read(), open(b"")));
        all_are_open.wait();
        site.worker.sweep_at(1000);
        all_are_open.wait();
        let remaining = scenes
            .iter()
            .filter(|scene| scene.stream.connection().evictable().is_some());
        remaining.count()
    };
    let remaining: usize = thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers.map(|worker| worker.join().unwrap()).iter().sum()
    });
    // Both may see the last one.
    assert!((EACH - 1..=EACH).contains(&remaining), "{remaining} remain");
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
fn a_client_whose_request_has_arrived_unnoticed_is_not_evicted() {
    let site = Site::of(1);
    let mut scene = site.connect();
    scene.serve();
    scene.send(GET);
    scene.peer.borrow_mut().is_unnoticed = true;
    let _newcomer = site.connect();
    assert_eq!(scene.read(), open(b""));
    scene.peer.borrow_mut().is_unnoticed = false;
    assert_eq!(scene.read(), open(GET));
}

#[test]
fn one_that_goes_on_does_not_take_the_place_of_another() {
    let site = Site::of(1);
    let mut scene = site.connect();
    scene.serve();
    scene.send(GET);
    let mut newcomer = site.connect();
    assert_eq!(scene.read(), open(GET));
    newcomer.read();
    scene.begins(Announced::Nothing);
    site.worker.sweep_at(100);
    assert_eq!(newcomer.read(), ended(b""), "two are open, and the bound is one");
}

#[test]
fn a_busy_connection_that_is_to_free_memory_closes_with_its_next_response() {
    let site = Site::of(10_000);
    let large = joined(&[&b"GET / HTTP/1.1\r\nX: "[..], &[b'a'; 28 << 10], b"\r\n\r\n"]);
    let mut scenes: Vec<_> = (0..2000).map(|_| site.connect()).collect();
    for scene in &mut scenes {
        scene.send(&large);
        assert_eq!(scene.read(), open(&large));
        scene.begins(Announced::Nothing);
        assert!(!scene.responds());
        // The next request is on its way before the connection learns that it is to end.
        scene.send(GET);
    }
    let responds = |mut scene: Scene| {
        assert_eq!(scene.read(), open(GET));
        scene.begins(Announced::Nothing);
        (!scene.responds()).then_some(scene)
    };
    let lasting: Vec<_> = scenes.into_iter().filter_map(responds).collect();
    assert!((1000..2000).contains(&lasting.len()), "{} last", lasting.len());
    assert!(site.counts.held.load(Ordering::Relaxed) <= 32 << 20);
    assert_eq!(site.ended(Ending::Memory), 2000 - lasting.len() as u64);
}

#[tokio::test]
async fn input_is_found_before_the_runtime_is_told_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut space = [0; 8];
    let mut buf = ReadBuf::new(&mut space);
    // The first attempt tells the runtime that there is nothing.
    assert!(Pin::new(&mut stream).poll_read(&mut context, &mut buf).is_pending());
    assert!(!stream.has_input());
    peer.write_all(b"G").unwrap();
    assert!(Pin::new(&mut stream).poll_read(&mut context, &mut buf).is_pending());
    assert!(stream.has_input());
    drop(peer);
}

#[test]
fn a_new_client_whose_request_arrives_is_not_evicted() {
    let site = Site::of(1);
    let mut scene = site.connect();
    assert_eq!(scene.read(), open(b""));
    scene.send(GET);
    let _newcomer = site.connect();
    assert_eq!(scene.read(), open(GET));
}

#[test]
fn what_connections_hold_is_counted_and_bounded() {
    let site = Site::of(10_000);
    let mut scenes: Vec<_> = (0..2200).map(|_| site.connect()).collect();
    let close_ended = |scenes: &mut Vec<Scene>| {
        // An ended connection gives back what it holds when it is dropped.
        let is_ended = |scene: &mut Scene| scene.wakes() > 0 && matches!(scene.read(), Input::Ended(_));
        drop(scenes.extract_if(.., is_ended).collect::<Vec<_>>());
    };
    for number in 0..22 {
        let opened = scenes.len().min(100);
        let mut sending = scenes.split_off(scenes.len() - opened);
        for scene in &mut sending {
            scene.send(&[b'a'; 31 << 10]);
            scene.read();
        }
        let held = site.counts.held.load(Ordering::Relaxed);
        assert!(held <= (32 << 20) + 100 * (31 << 10), "{held} after {number} times 100");
        close_ended(&mut scenes);
        scenes.splice(0..0, sending);
        assert!(site.counts.held.load(Ordering::Relaxed) <= 32 << 20);
    }
    let closed = site.ended(Ending::Memory);
    assert!((1..2200 / 2).contains(&closed), "{closed} were closed");
    drop(scenes);
    assert_eq!(site.counts.held.load(Ordering::Relaxed), 0);
    assert_eq!(site.counts.open.load(Ordering::Relaxed), 0);
}
