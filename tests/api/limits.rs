//! The limit of failed authentications (P17), with the real binary: it applies per client and IP,
//! and per IP.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::http::{Request, Response};
use testkit::{Program, Server, TestClient, eventually};

/// The timeout of waits in these tests.
const LIMIT_TIMEOUT: Duration = Duration::from_secs(20);

const IP: &str = "192.0.2.1";
const OTHER_IP: &str = "192.0.2.2";

const GRANT: &str = "grant_type=client_credentials";

/// A server with a limit and trusted proxies, and a client.
struct Limited {
    server: Server,
    client: TestClient,
}

/// The value of `Retry-After`, in seconds. The response must be exactly the 429 for too many failed
/// authentications.
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
        format!("[server]\nclient_ip_proxies = [\"{trusted}\"]\n[limits]\nauth_failures_per_minute = {per_minute}\n");
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

    /// Sends a token request; each of `from` is an `X-Forwarded-For` header.
    fn send(&self, request: Request, from: &[&str]) -> Response {
        let forwarded = |request: Request, list: &&str| request.header("X-Forwarded-For", list);
        self.server.send(&from.iter().fold(request, forwarded).form_raw(GRANT))
    }

    /// Requests a token with HTTP Basic.
    fn token(&self, id: &str, secret: &str, from: &str) -> Response {
        self.send(with_secret(id, secret), &[from])
    }

    fn right(&self, from: &str) -> Response {
        self.token(&self.client.id, &self.client.secret, from)
    }

    fn wrong(&self, from: &str) -> Response {
        self.token(&self.client.id, "wrong", from)
    }

    /// Fails until the limit is reached. The number of failures must be exact, except for those
    /// that expired meanwhile.
    #[track_caller]
    fn fail_until_limited(&self, limit: usize, per_minute: usize, mut fail: impl FnMut(usize) -> Response) -> u32 {
        let began = Instant::now();
        for failures in 0.. {
            let response = fail(failures);
            if response.status == 429 {
                let expired = 1 + began.elapsed().as_millis() as usize * per_minute / 60_000;
                assert!((limit..=limit + expired).contains(&failures), "{failures} failures");
                return retry_after(&response);
            }
            assert_eq!(response.status, 401, "{response:?}");
        }
        unreachable!("the range is endless")
    }
}

fn with_secret(id: &str, secret: &str) -> Request {
    Request::post("/token").basic_raw(&format!("{id}:{secret}"))
}

#[test]
fn p17_the_31st_failure_is_429_and_so_is_the_right_secret_from_that_ip_only() {
    let limited = Limited::start(30, "127.0.0.1");
    let wait = limited.fail_until_limited(30, 30, |_| limited.wrong(IP));
    assert!((1..=2).contains(&wait), "{wait}");
    // A failure expires every two seconds. With more than one left, the following requests are
    // still limited.
    eventually("more than one failure counts", LIMIT_TIMEOUT, || {
        let wrong = limited.wrong(IP);
        (wrong.status == 429 && retry_after(&wrong) == 2).then_some(())
    });
    assert!((1..=2).contains(&retry_after(&limited.right(IP))));
    assert_eq!(limited.right(OTHER_IP).status, 200);
    assert_eq!(limited.wrong(OTHER_IP).status, 401);
    // The right secret works again after `Retry-After`.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(limited.right(IP).status, 200);
}

#[test]
fn p17_an_ip_is_limited_across_client_ids_and_other_ips_are_not() {
    let limited = Limited::start(2, "127.0.0.1");
    let wait = limited.fail_until_limited(20, 20, |number| limited.token(&format!("id-{number}"), "x", IP));
    assert!((1..=3).contains(&wait), "{wait}");
    retry_after(&limited.right(IP));
    assert_eq!(limited.right(OTHER_IP).status, 200);
    assert_eq!(limited.token("id-1", "x", OTHER_IP).status, 401);
}

#[test]
fn p17_malformed_credentials_count_as_failures_and_missing_ones_do_not() {
    let limited = Limited::start(1, "127.0.0.1");
    for _ in 0..20 {
        let denied = limited.send(Request::post("/token"), &[IP]);
        assert_eq!(denied.status, 401);
    }
    limited.fail_until_limited(10, 10, |_| {
        limited.send(Request::post("/token").header("Authorization", "Basic !!!"), &[IP])
    });
    retry_after(&limited.right(IP));
}

#[test]
fn p17_denied_bearer_tokens_are_not_limited() {
    let limited = Limited::start(1, "127.0.0.1");
    for _ in 0..50 {
        let stats = Request::get("/admin/cache/stats").bearer("x.y.z");
        let response = limited.server.send(&stats.header("X-Forwarded-For", IP));
        assert_eq!(response.status, 401);
    }
    assert_eq!(limited.right(IP).status, 200);
}

#[test]
fn p17_successes_neither_count_as_failures_nor_reset_them() {
    let limited = Limited::start(2, "127.0.0.1");
    for _ in 0..50 {
        assert_eq!(limited.right(IP).status, 200);
    }
    assert_eq!(limited.wrong(IP).status, 401);
    assert_eq!(limited.right(IP).status, 200);
    assert_eq!(limited.wrong(IP).status, 401);
    retry_after(&limited.right(IP));
}

#[test]
fn p17_concurrent_attempts_beyond_the_limit_are_not_verified() {
    let limited = Limited::start(1, "127.0.0.1");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..32).map(|_| scope.spawn(|| limited.wrong(IP).status)).collect();
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
fn p17_zero_disables_the_limit() {
    let limited = Limited::start(0, "127.0.0.1");
    for _ in 0..400 {
        assert_eq!(limited.wrong(IP).status, 401);
    }
    assert_eq!(limited.right(IP).status, 200);
}

#[test]
fn p17_a_reload_applies_the_limit() {
    let limited = Limited::start(1, "127.0.0.1");
    limited.wrong(IP);
    retry_after(&limited.right(IP));
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
        assert_eq!(limited.wrong(IP).status, 401);
    }
    assert_eq!(limited.right(IP).status, 200);
}

#[test]
fn p43_by_default_invented_addresses_neither_evade_the_limit_nor_reach_log_and_audit() {
    let program = testkit::program!()
        .with_database()
        .without("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE");
    let client = program.create_client(&["--id", "demo", "--name", "Demo", "--scope", "mintage:admin"]);
    let server = program.serve(&[]);
    let limited = Limited { server, client };
    let request = testkit::token::token_request(&limited.client, &[("scope", "mintage:admin")]);
    let token = limited
        .server
        .send(&request.header("X-Forwarded-For", "198.51.100.1"))
        .access_token();
    let audited = Request::post("/admin/clients/demo/revoke-tokens").header("X-Forwarded-For", "198.51.100.2");
    assert_eq!(limited.server.send(&audited.bearer(&token)).status, 204);
    limited.fail_until_limited(30, 30, |number| limited.wrong(&format!("198.51.100.{number}")));
    // From here on, any other invented address is limited too.
    retry_after(&limited.wrong("203.0.113.1"));
    let log = limited.server.log();
    assert!(log.contains("client=demo client_ip=127.0.0.1"), "{log}");
    assert_eq!(
        log.matches("x-forwarded-for ignored peer=127.0.0.1").count(),
        1,
        "{log}"
    );
    let audit = limited.server.program.run(&["audit"]);
    for invented in ["198.51.100.", "203.0.113."] {
        assert!(
            !log.contains(invented) && !audit.done().contains(invented),
            "{log} {audit:?}"
        );
    }
}

#[test]
fn p43_a_proxy_without_the_header_is_logged_once() {
    let limited = Limited::start(0, "127.0.0.1");
    for _ in 0..3 {
        limited.send(with_secret("demo", "wrong"), &[]);
    }
    let log = limited.server.log();
    assert_eq!(
        log.matches("proxy sends no x-forwarded-for peer=127.0.0.1").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("x-forwarded-for ignored"), "{log}");
}

#[test]
fn p43_forwarded_addresses_from_an_untrusted_proxy_are_ignored() {
    let limited = Limited::start(1, "192.0.2.99");
    assert_eq!(limited.wrong(IP).status, 401);
    // The header is ignored, so both requests come from the same IP.
    retry_after(&limited.right(OTHER_IP));
    assert!(limited.server.log().contains("client=demo client_ip=127.0.0.1"));
    assert!(!limited.server.log().contains(IP));
}

#[test]
fn p43_a_spoofed_forwarded_address_does_not_change_the_client_ip() {
    let limited = Limited::start(1, "127.0.0.1");
    assert_eq!(limited.wrong(IP).status, 401);
    let right = |from: &[&str]| limited.send(with_secret(&limited.client.id, &limited.client.secret), from);
    retry_after(&right(&[&format!("{OTHER_IP}, {IP}")]));
    retry_after(&right(&[OTHER_IP, IP]));
    retry_after(&right(&["garbage", &format!("{IP}, 127.0.0.1")]));
    assert_eq!(right(&[IP, OTHER_IP]).status, 200);
    assert_eq!(right(&[IP, "garbage"]).status, 200);
}

#[test]
fn p17_g8_a_limited_client_is_logged_once_and_without_secrets() {
    let limited = Limited::start(3, "127.0.0.1");
    for _ in 0..9 {
        limited.token(&limited.client.id, "hunter2", IP);
    }
    limited.token("hunter3", "hunter4", OTHER_IP);
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
