//! `Type=notify` (sd_notify): the server notifies the service manager, on the socket in
//! `NOTIFY_SOCKET`, when it is ready, reloads and stops, and sends watchdog notifications.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::Program;
use testkit::http::Request;
use testkit::program::{SERVER_TIMEOUT, listening_on};

fn received(socket: &UnixDatagram) -> String {
    let mut state = [0; 256];
    socket.set_read_timeout(Some(SERVER_TIMEOUT)).unwrap();
    let length = socket
        .recv(&mut state)
        .expect("the service manager receives a notification");
    String::from_utf8(state[..length].to_vec()).unwrap()
}

/// Receives the two notifications of a reload.
fn assert_reload_notified(socket: &UnixDatagram) {
    let reloading = received(socket);
    let moment = reloading
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .expect(&reloading);
    assert!(moment.parse::<u64>().is_ok_and(|moment| moment > 0), "{reloading}");
    assert_eq!(received(socket), "READY=1");
}

/// Runs a server through start, reload and stop. It is ready when it sends `READY=1`, and sends
/// `STOPPING=1` before it exits.
fn assert_notified(socket: &UnixDatagram, name: &OsStr) {
    // Without a database the server first generates keys, so it runs for a while before it is
    // ready.
    let program = testkit::program!().with("NOTIFY_SOCKET", name.to_str().unwrap());
    std::thread::scope(|scope| {
        let at_ready = scope.spawn(|| {
            let state = received(socket);
            let log = program.logs();
            let address = listening_on(&log).expect("the server listens before it is ready");
            (state, Request::get("/readyz").send(address).status)
        });
        let mut serving = program.serve(&[]);
        assert_eq!(at_ready.join().unwrap(), ("READY=1".to_owned(), 200));
        serving.signal("HUP");
        assert_reload_notified(socket);
        serving.signal("TERM");
        assert_eq!(received(socket), "STOPPING=1");
        assert_eq!(serving.exit_code(), Some(0));
    });
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 8]).is_err(), "no further notification is sent");
}

#[test]
fn a_service_manager_on_a_path_is_notified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    assert_notified(&UnixDatagram::bind(&path).unwrap(), path.as_os_str());
}

#[test]
fn a_service_manager_in_the_abstract_namespace_is_notified() {
    let name = format!("mintage-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    assert_notified(&socket, OsStr::new(&format!("@{name}")));
}

#[test]
fn an_invalid_notify_socket_fails_immediately() {
    let program = testkit::program!().with_database().with("NOTIFY_SOCKET", "nowhere");
    let outcome = program.run(&["serve"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("mintage: NOTIFY_SOCKET: "), "{outcome:?}");
}

/// A program whose service manager expects watchdog notifications, the socket of the service
/// manager, and its folder.
fn with_watchdog(microseconds: &str) -> (Program, UnixDatagram, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let program = testkit::program!()
        .with_database()
        .with("NOTIFY_SOCKET", path.to_str().unwrap())
        .with("WATCHDOG_USEC", microseconds);
    (program, socket, folder)
}

/// Discards the notifications that have arrived while the test did not run. Returns a moment after
/// which all others arrive.
fn begin_without_backlog(socket: &UnixDatagram) -> Instant {
    socket.set_nonblocking(true).unwrap();
    let mut begin = Instant::now();
    while socket.recv(&mut [0; 256]).is_ok() {
        begin = Instant::now();
    }
    socket.set_nonblocking(false).unwrap();
    begin
}

#[test]
fn watchdog_notifications_are_sent_at_half_the_timeout() {
    let (program, socket, _folder) = with_watchdog("1000000");
    let mut serving = program.serve(&[]);
    let next_after = |mut state: String| {
        while state == "WATCHDOG=1" {
            state = received(&socket);
        }
        state
    };
    assert_eq!(next_after(received(&socket)), "READY=1");
    let begin = begin_without_backlog(&socket);
    for _ in 0..4 {
        assert_eq!(received(&socket), "WATCHDOG=1");
    }
    // The first may be due immediately.
    assert!(begin.elapsed() > Duration::from_millis(1_400), "{:?}", begin.elapsed());
    serving.signal("TERM");
    assert_eq!(next_after(received(&socket)), "STOPPING=1");
    assert_eq!(serving.exit_code(), Some(0));
}

#[test]
fn the_watchdog_of_another_process_is_not_notified() {
    let (program, socket, _folder) = with_watchdog("1000");
    let program = program.with("WATCHDOG_PID", "1");
    let serving = program.serve(&[]);
    assert_eq!(received(&socket), "READY=1");
    serving.signal("HUP");
    assert_reload_notified(&socket);
}
