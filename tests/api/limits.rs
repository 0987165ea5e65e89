//! P17 over the real binary: who fails too often is not verified any more, where it failed and nowhere else.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::http::{Request, Response};
use testkit::{Program, Server, TestClient, eventually};

/// How long anything may take here.
const LIMIT_TIMEOUT: Duration = Duration::from_secs(20);

const HERE: &str = "192.0.2.1";
const THERE: &str = "192.0.2.2";

const GRANT: &str = "grant_type=client_credentials";

/// A server with a client, its limit, and the proxies that it trusts.
struct Limited {
    server: Server,
    client: TestClient,
}

/// Seconds, if a response says that there were too many failures, in exactly the right words.
#[track_caller]
fn retry_after(response: &Response) -> u32 {
    assert_eq!(response.status, 429, "{response:?}");
    let document = json!({"error": "temporarily_unavailable", "error_description": "too many failed authentications, try again later"});
    assert_eq!(response.json(), document);
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("www-authenticate"), None);
    response.header("retry-after").unwrap().parse().unwrap()
}

/// Writes the configuration file.
fn configure(program: &Program, per_minute: u32, trusted: &str) {
    let text =
        format!("[server]\ntrusted_proxies = [\"{trusted}\"]\n[limits]\nauth_failures_per_minute = {per_minute}\n");
    program.write("mintage.toml", &text);
}

impl Limited {
    fn start(per_minute: u32, trusted: &str) -> Self {
        let program = testkit::program!()
            .with_database()
            .without("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE");
        configure(&program, per_minute, trusted);
        let client = program.create_client(&["--id", "demo", "--name", "Demo", "--scope", "a mintage:admin"]);
        let server = program.serve(&[]);
        Self { server, client }
    }

    /// Sends a request for a token; each of `from` is what a proxy says of where it came from.
    fn send(&self, request: Request, from: &[&str]) -> Response {
        let forwarded = |request: Request, list: &&str| request.header("X-Forwarded-For", list);
        self.server.send(&from.iter().fold(request, forwarded).form_raw(GRANT))
    }

    /// Asks for a token with HTTP Basic.
    fn token(&self, id: &str, secret: &str, from: &str) -> Response {
        self.send(with_secret(id, secret), &[from])
    }

    fn right(&self, from: &str) -> Response {
        self.token(&self.client.id, &self.client.secret, from)
    }

    fn wrong(&self, from: &str) -> Response {
        self.token(&self.client.id, "wrong", from)
    }

    /// Fails until it is limited. How often it failed is exact, but for what drained away while it did.
    #[track_caller]
    fn fail_until_limited(&self, most: usize, per_minute: usize, mut fail: impl FnMut(usize) -> Response) -> u32 {
        let began = Instant::now();
        for failures in 0.. {
            let response = fail(failures);
            if response.status == 429 {
                let drained = 1 + began.elapsed().as_millis() as usize * per_minute / 60_000;
                assert!((most..=most + drained).contains(&failures), "{failures} failures");
                return retry_after(&response);
            }
            assert_eq!(response.status, 401, "{response:?}");
        }
        unreachable!("there is no end of numbers")
    }
}

fn with_secret(id: &str, secret: &str) -> Request {
    Request::post("/token").basic_raw(&format!("{id}:{secret}"))
}

#[test]
fn p17_the_31st_failure_is_429_and_so_is_the_right_secret_there_but_not_elsewhere() {
    let limited = Limited::start(30, "127.0.0.1");
    let wait = limited.fail_until_limited(30, 30, |_| limited.wrong(HERE));
    assert!((1..=2).contains(&wait), "{wait}");
    // A failure drains away every two seconds. With more than one of them left, what follows is in time.
    eventually("more than one failure is left", LIMIT_TIMEOUT, || {
        let wrong = limited.wrong(HERE);
        (wrong.status == 429 && retry_after(&wrong) == 2).then_some(())
    });
    assert!((1..=2).contains(&retry_after(&limited.right(HERE))));
    assert_eq!(limited.right(THERE).status, 200);
    assert_eq!(limited.wrong(THERE).status, 401);
    // The right secret works again after the time that was told.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(limited.right(HERE).status, 200);
}

#[test]
fn p17_an_address_is_limited_over_many_ids_and_other_addresses_are_not() {
    let limited = Limited::start(2, "127.0.0.1");
    let wait = limited.fail_until_limited(20, 20, |number| limited.token(&format!("id-{number}"), "x", HERE));
    assert!((1..=3).contains(&wait), "{wait}");
    retry_after(&limited.right(HERE));
    assert_eq!(limited.right(THERE).status, 200);
    assert_eq!(limited.token("id-1", "x", THERE).status, 401);
}

#[test]
fn p17_malformed_credentials_count_and_none_at_all_do_not() {
    let limited = Limited::start(1, "127.0.0.1");
    for _ in 0..20 {
        let none = limited.send(Request::post("/token"), &[HERE]);
        assert_eq!(none.status, 401);
    }
    limited.fail_until_limited(10, 10, |_| {
        limited.send(Request::post("/token").header("Authorization", "Basic !!!"), &[HERE])
    });
    retry_after(&limited.right(HERE));
}

#[test]
fn p17_refused_bearer_tokens_are_not_limited() {
    let limited = Limited::start(1, "127.0.0.1");
    for _ in 0..50 {
        let stats = Request::get("/admin/cache/stats").bearer("x.y.z");
        let response = limited.server.send(&stats.header("X-Forwarded-For", HERE));
        assert_eq!(response.status, 401);
    }
    assert_eq!(limited.right(HERE).status, 200);
}

#[test]
fn p17_successes_neither_count_nor_forgive() {
    let limited = Limited::start(2, "127.0.0.1");
    for _ in 0..50 {
        assert_eq!(limited.right(HERE).status, 200);
    }
    assert_eq!(limited.wrong(HERE).status, 401);
    assert_eq!(limited.right(HERE).status, 200);
    assert_eq!(limited.wrong(HERE).status, 401);
    retry_after(&limited.right(HERE));
}

#[test]
fn p17_of_many_failures_at_once_no_more_are_judged() {
    let limited = Limited::start(1, "127.0.0.1");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..32).map(|_| scope.spawn(|| limited.wrong(HERE).status)).collect();
        tries.into_iter().map(|each| each.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 429).count(),
        31,
        "{statuses:?}"
    );
}

#[test]
fn p17_zero_turns_it_off() {
    let limited = Limited::start(0, "127.0.0.1");
    for _ in 0..400 {
        assert_eq!(limited.wrong(HERE).status, 401);
    }
    assert_eq!(limited.right(HERE).status, 200);
}

#[test]
fn p17_a_reload_takes_over_the_limit() {
    let limited = Limited::start(1, "127.0.0.1");
    limited.wrong(HERE);
    retry_after(&limited.right(HERE));
    configure(&limited.server.program, 0, "127.0.0.1");
    limited.server.signal("HUP");
    limited.server.wait_for_log("configuration reloaded");
    assert!(
        limited
            .server
            .log()
            .contains("configuration key reloaded key=limits.auth_failures_per_minute")
    );
    for _ in 0..20 {
        assert_eq!(limited.wrong(HERE).status, 401);
    }
    assert_eq!(limited.right(HERE).status, 200);
}

#[test]
fn p43_a_peer_that_is_no_trusted_proxy_is_not_believed_about_where_it_calls_from() {
    let limited = Limited::start(1, "192.0.2.99");
    assert_eq!(limited.wrong(HERE).status, 401);
    // Another address in the header is another address only where the header counts.
    retry_after(&limited.right(THERE));
    assert!(limited.server.log().contains("client=demo client_ip=127.0.0.1"));
    assert!(!limited.server.log().contains(HERE));
}

#[test]
fn p43_what_the_caller_itself_forwards_does_not_change_its_address() {
    let limited = Limited::start(1, "127.0.0.1");
    assert_eq!(limited.wrong(HERE).status, 401);
    let right = |from: &[&str]| limited.send(with_secret(&limited.client.id, &limited.client.secret), from);
    retry_after(&right(&[&format!("{THERE}, {HERE}")]));
    retry_after(&right(&[THERE, HERE]));
    retry_after(&right(&["garbage", &format!("{HERE}, 127.0.0.1")]));
    assert_eq!(right(&[HERE, THERE]).status, 200);
    assert_eq!(right(&[HERE, "garbage"]).status, 200);
}

#[test]
fn p17_g8_the_log_says_who_is_limited_once_and_shows_no_secret() {
    let limited = Limited::start(3, "127.0.0.1");
    for _ in 0..9 {
        limited.token(&limited.client.id, "hunter2", HERE);
    }
    limited.token("hunter3", "hunter4", THERE);
    let log = limited.server.log();
    let news = "authentication limit reached limit=client_ip client=demo client_ip=192.0.2.1 request_id=";
    assert_eq!(log.matches(news).count(), 1, "{log}");
    assert_eq!(
        log.matches("reason=wrong_secret client=demo client_ip=192.0.2.1")
            .count(),
        3,
        "{log}"
    );
    assert!(log.contains("reason=too_many_failures client_ip=192.0.2.1"), "{log}");
    assert!(log.contains("reason=unknown_client client_ip=192.0.2.2"), "{log}");
    assert!(!log.contains("hunter"), "{log}");
}
