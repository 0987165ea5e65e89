//! Instances are restarted in turn behind nginx, configured as in `docs/instances.md`. A client
//! that never retries sees no error.

use std::collections::HashSet;
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use tempfile::TempDir;
use testkit::cluster::Cluster;
use testkit::http::{Connection, Request};
use testkit::load::{Load, Receipt, received};
use testkit::port;
use testkit::token::{about_token, token_request};
use testkit::{Program, Server, eventually};

use crate::trio::{CONVERGENCE_TIMEOUT, Trio, validation};

const DOCUMENT: &str = include_str!("../../docs/instances.md");

/// The value that the document requires for its nginx configuration.
const DRAIN_DELAY: &str = "5s";

/// How long an instance may take to stop and to be ready again.
const RESTART_TIMEOUT: Duration = Duration::from_secs(30);

/// nginx with the block of the document, killed on drop.
struct Nginx {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Nginx {
    fn before(instances: &[SocketAddr; 3]) -> Self {
        let folder = testkit::folder::temporary();
        let address: SocketAddr = ([127, 0, 0, 1], port::free()).into();
        let child = testkit::nginx::command(folder.path(), &block(address, instances))
            .stderr(File::create(folder.path().join("stderr.log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx does not start ({error}): scripts/test --only-get installs it"));
        let mut nginx = Self { address, child, folder };
        eventually("nginx listens", CONVERGENCE_TIMEOUT, || {
            let ended = nginx.child.try_wait().unwrap();
            assert!(ended.is_none(), "nginx ended: {}", nginx.log());
            TcpStream::connect(nginx.address).ok()
        });
        nginx
    }

    fn log(&self) -> String {
        let read = |name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("stderr.log") + &read("error.log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of nginx:\n{}", self.log());
        }
    }
}

/// The block of the document, with the addresses of this test.
fn block(address: SocketAddr, instances: &[SocketAddr; 3]) -> String {
    let (_, rest) = DOCUMENT.split_once("```nginx\n").unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    assert!(block.contains("keepalive_timeout 4s;") && DOCUMENT.contains(&format!("drain_delay = \"{DRAIN_DELAY}\"")));
    let mut block = block.replace("listen 80;", &format!("listen {address};"));
    for (number, instance) in instances.iter().enumerate() {
        let documented = format!("10.0.0.1{}:8080", number + 1);
        assert!(block.contains(&documented));
        block = block.replace(&documented, &instance.to_string());
    }
    block
}

/// Ends the polling thread, also when a restart fails.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn restart_in_turn(rounds: usize) {
    let addresses = [(); 3].map(|()| SocketAddr::from(([127, 0, 0, 1], port::free())));
    let cluster = Cluster::start();
    let url = cluster.url(cluster.address(), "mintage");
    let programs = addresses.map(|address| {
        let listen = address.to_string();
        let environment = [
            ("MINTAGE_SERVER__LISTEN", listen.as_str()),
            // Otherwise each would be an issuer of its own, at its own address.
            ("MINTAGE_SERVER__ISSUER", testkit::app::ISSUER),
            ("MINTAGE_SERVER__DRAIN_DELAY", DRAIN_DELAY),
        ];
        testkit::program!().on(&url, &environment)
    });
    let first: Vec<Server> = programs.iter().map(|program| program.serve(&[])).collect();
    let first = std::cell::RefCell::new(first);
    let mut trio = Trio::of(cluster, |_, _| first.borrow_mut().remove(0));
    let client = trio.client();
    let token = trio.token(&client);
    let nginx = Nginx::before(&addresses);
    // Some connections are always busy, others idle for longer than the keep-alive.
    let clients = std::slice::from_ref(&client);
    let busy = Load::start(nginx.address, clients, 4, Duration::from_millis(2));
    let idle = Load::start(nginx.address, clients, 8, Duration::from_millis(900));
    let introspection = about_token("/introspect", &client, &token);
    let over = AtomicBool::new(false);
    let answers = std::thread::scope(|scope| {
        let end = End(&over);
        let asking = scope.spawn(|| {
            let mut answers = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let mut connection = Connection::open(nginx.address);
                let answer = connection.try_ask(&introspection);
                answers.push(answer.map(|answer| (answer.status, answer.text())));
                std::thread::sleep(Duration::from_millis(10));
            }
            answers
        });
        for _ in 0..rounds {
            for (instance, program) in trio.instances.iter_mut().zip(&programs) {
                restart(instance, program);
            }
        }
        drop(end);
        asking.join().unwrap()
    });
    let receipts = [busy.stop(), idle.stop()].concat();
    for answer in answers {
        let (status, text) = answer.expect("every introspection request is answered");
        assert!(status == 200 && text.contains("\"active\":true"), "{status} {text}");
    }
    assert_nothing_failed(&trio, &receipts);
}

fn restart(instance: &mut Server, program: &Program) {
    let began = Instant::now();
    instance.signal("TERM");
    eventually("the instance reports that it is not ready", CONVERGENCE_TIMEOUT, || {
        (instance.send(&Request::get("/readyz")).status == 503).then_some(())
    });
    assert_eq!(instance.exit_code(), Some(0), "{}", instance.log());
    *instance = program.serve(&[]);
    assert!(began.elapsed() < RESTART_TIMEOUT, "{:?}", began.elapsed());
}

#[track_caller]
fn assert_nothing_failed(trio: &Trio, receipts: &[Receipt]) {
    let failed: Vec<u16> = receipts
        .iter()
        .map(|receipt| receipt.status)
        .filter(|status| *status != 200)
        .collect();
    assert!(failed.is_empty(), "{failed:?} of {}", receipts.len());
    let tokens = received(receipts);
    eventually("every token is recorded", CONVERGENCE_TIMEOUT, || {
        let recorded: HashSet<String> = trio.cluster.recorded().into_iter().collect();
        tokens.iter().all(|token| recorded.contains(token)).then_some(())
    });
    let longest = receipts.iter().map(|receipt| receipt.took).max().unwrap_or_default();
    println!(
        "{} tokens through nginx, the longest took {longest:.2?}",
        receipts.len()
    );
}

#[test]
fn g6_three_restarts_behind_nginx_cause_no_error() {
    restart_in_turn(1);
}

#[test]
#[ignore = "takes minutes: scripts/test --soak"]
fn soak_g6_sixty_restarts_behind_nginx_cause_no_error() {
    restart_in_turn(20);
}

/// nginx sends requests to every instance that listens.
#[test]
fn requests_to_an_instance_that_is_not_ready_wait_for_it() {
    let trio = Trio::start();
    let client = trio.client();
    let token = trio.token(&client);
    let mut lock_holder = trio.cluster.connect();
    lock_holder
        .batch_execute("BEGIN; LOCK TABLE routes IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let cold = testkit::program!()
        .on(&trio.cluster.url(trio.cluster.address(), "mintage"), &[])
        .serve_unready(&[]);
    let requests = [
        token_request(&client, &[]),
        about_token("/introspect", &client, &token),
        about_token("/revoke", &client, "no token"),
        Request::get("/.well-known/jwks.json"),
        validation(&token, "/nowhere"),
    ];
    let statuses = std::thread::scope(|scope| {
        let asking: Vec<_> = requests
            .iter()
            .map(|request| scope.spawn(|| cold.send(request).status))
            .collect();
        eventually("the start waits for the routes", CONVERGENCE_TIMEOUT, || {
            (trio.cluster.number("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0).then_some(())
        });
        assert_eq!(cold.send(&Request::get("/readyz")).status, 503);
        assert_eq!(cold.send(&Request::get("/livez")).status, 200);
        lock_holder.batch_execute("ROLLBACK").unwrap();
        asking
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect::<Vec<u16>>()
    });
    // No route allows the last request.
    assert_eq!(statuses, [200, 200, 200, 200, 403]);
}

#[test]
fn g6_an_unready_instance_serves_until_the_end_of_its_drain_delay() {
    let trio = Trio::start();
    let request = token_request(&trio.client(), &[]);
    let url = trio.cluster.url(trio.cluster.address(), "mintage");
    let mut server = testkit::program!()
        .on(&url, &[("MINTAGE_SERVER__DRAIN_DELAY", "5s")])
        .serve(&[]);
    let mut idle = Connection::open(server.address);
    assert_eq!(idle.ask(&request).status, 200);
    server.signal("TERM");
    eventually("the server reports that it is not ready", CONVERGENCE_TIMEOUT, || {
        (server.send(&Request::get("/readyz")).status == 503).then_some(())
    });
    assert!(
        !idle.closes_within(Duration::from_secs(1)),
        "the client closes an idle connection, not the server"
    );
    for mut connection in [idle, Connection::open(server.address)] {
        let answer = connection.ask(&request);
        assert_eq!((answer.status, answer.closes()), (200, true));
    }
    assert_eq!(server.exit_code(), Some(0));
    assert!(Connection::try_open(server.address).is_none());
}

#[test]
fn an_idle_connection_is_kept_for_the_configured_time() {
    let trio = Trio::start();
    let url = trio.cluster.url(trio.cluster.address(), "mintage");
    let short = testkit::program!()
        .on(&url, &[("MINTAGE_SERVER__KEEP_ALIVE", "500ms")])
        .serve(&[]);
    let mut connections = [&short, &trio.instances[0]].map(|server| Connection::open(server.address));
    for connection in &mut connections {
        assert_eq!(connection.ask(&Request::get("/livez")).status, 200);
    }
    let [closed, kept] = &mut connections;
    assert!(closed.closes_within(CONVERGENCE_TIMEOUT));
    // Longer than the default of servers that are not designed for proxies.
    assert!(!kept.closes_within(Duration::from_secs(7)));
    assert_eq!(kept.ask(&Request::get("/livez")).status, 200);
}
