//! `Type=notify`: the service manager is told, on the socket that it names, when the server is ready,
//! reloads and stops, and that it is alive.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use testkit::http::Request;
use testkit::program::listening_on;

/// As long as a server may take to make its keys.
const PATIENCE: Duration = Duration::from_secs(20);

fn received(socket: &UnixDatagram) -> String {
    let mut state = [0; 256];
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = socket.recv(&mut state).expect("the service manager is told");
    String::from_utf8(state[..length].to_vec()).unwrap()
}

/// A server's configuration is reloaded between these two.
fn is_told_of_a_reload(socket: &UnixDatagram) {
    let reloading = received(socket);
    let moment = reloading
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .expect(&reloading);
    assert!(moment.parse::<u64>().is_ok_and(|moment| moment > 0), "{reloading}");
    assert_eq!(received(socket), "READY=1");
}

/// The server is ready by the time it says so, and stops after it has said that.
fn is_told(socket: &UnixDatagram, name: &OsStr) {
    // Keys are still to be made: it is long alive before it is ready.
    let program = testkit::program!().with("NOTIFY_SOCKET", name.to_str().unwrap());
    std::thread::scope(|scope| {
        let at_ready = scope.spawn(|| {
            let state = received(socket);
            let log = program.logs();
            let address = listening_on(&log).expect("it listens before it is ready");
            (state, Request::get("/readyz").send(address).status)
        });
        let mut serving = program.serve(&[]);
        assert_eq!(at_ready.join().unwrap(), ("READY=1".to_owned(), 200));
        serving.signal("HUP");
        is_told_of_a_reload(socket);
        serving.signal("TERM");
        assert_eq!(received(socket), "STOPPING=1");
        assert_eq!(serving.exit_code(), Some(0));
    });
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 8]).is_err(), "nothing else is said");
}

#[test]
fn a_service_manager_on_a_path_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    is_told(&UnixDatagram::bind(&path).unwrap(), path.as_os_str());
}

#[test]
fn a_service_manager_in_the_abstract_namespace_is_told() {
    let name = format!("mintage-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    is_told(&socket, OsStr::new(&format!("@{name}")));
}

#[test]
fn a_socket_that_cannot_be_is_an_error_at_once() {
    let program = testkit::program!().with_database().with("NOTIFY_SOCKET", "nowhere");
    let outcome = program.run(&["serve"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("mintage: NOTIFY_SOCKET: "), "{outcome:?}");
}

#[test]
fn a_watchdog_is_given_signs_of_life_at_half_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let program = testkit::program!()
        .with_database()
        .with("NOTIFY_SOCKET", path.to_str().unwrap())
        .with("WATCHDOG_USEC", "1000000");
    let mut serving = program.serve(&[]);
    let next_after = |mut state: String| {
        while state == "WATCHDOG=1" {
            state = received(&socket);
        }
        state
    };
    assert_eq!(next_after(received(&socket)), "READY=1");
    let begin = Instant::now();
    for _ in 0..4 {
        assert_eq!(received(&socket), "WATCHDOG=1");
    }
    // The first may have been due at once.
    assert!(begin.elapsed() > Duration::from_millis(1_400), "{:?}", begin.elapsed());
    serving.signal("TERM");
    assert_eq!(next_after(received(&socket)), "STOPPING=1");
    assert_eq!(serving.exit_code(), Some(0));
}

#[test]
fn the_watchdog_of_another_process_is_given_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let program = testkit::program!()
        .with_database()
        .with("NOTIFY_SOCKET", path.to_str().unwrap())
        .with("WATCHDOG_USEC", "1000")
        .with("WATCHDOG_PID", "1");
    let serving = program.serve(&[]);
    assert_eq!(received(&socket), "READY=1");
    serving.signal("HUP");
    is_told_of_a_reload(&socket);
}
