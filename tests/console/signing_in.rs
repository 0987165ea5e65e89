//! Signing in and out: denials are explained, and no secret remains in the page.

use testkit::token::beginnings;
use testkit::{Server, TestClient, eventually};

use crate::TIMEOUT;
use crate::page::{DESKTOP, Page};

fn server() -> (Server, TestClient, Page) {
    let server = crate::start();
    let ops = server.client_with_id("ops", "mintage:admin", &[]);
    let page = Page::console(&server.origin(), DESKTOP);
    (server, ops, page)
}

#[test]
fn a_wrong_secret_is_denied_with_a_message_and_the_right_one_opens_the_overview() {
    let (_server, ops, page) = server();
    page.sign_in(&ops.id, "mtgcsWrong");
    page.reads("The client id or secret is wrong, or the client is disabled.");
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");
    page.until("document.title === 'Overview · Mintage'");
    page.until("document.activeElement.tagName === 'H1'");
    page.assert_clean(&[401]);
}

#[test]
fn a_client_without_an_admin_scope_is_denied_and_a_reader_has_read_only_access() {
    let (server, _, page) = server();
    let demo = server.client_with_id("demo", "orders:read", &[]);
    let reader = server.client_with_id("reader", "mintage:read", &[]);
    page.sign_in(&demo.id, &demo.secret);
    page.reads("This client has no scope for the console, such as mintage:admin or mintage:read.");
    page.sign_in(&reader.id, &reader.secret);
    page.reads("Signed in as reader (read-only)");
    page.go_to("Keys");
    page.reads("ES256");
    assert_eq!(page.value("Boolean(finder.button('Rotate keys…'))"), false);
    page.assert_clean(&[400]);
}

#[test]
fn a_client_limited_to_client_secret_basic_can_sign_in() {
    let (server, _, page) = server();
    let basic = server.client_with_id(
        "by:the header",
        "mintage:admin",
        &["--auth-method", "client_secret_basic"],
    );
    page.sign_in(&basic.id, &basic.secret);
    page.reads("Signed in as by:the header");
    page.assert_clean(&[401]);
}

#[test]
fn signing_out_leaves_nothing_of_the_session_in_the_page() {
    let (server, ops, page) = server();
    let [header, payload] = beginnings();
    let token = server.token(&ops, "mintage:admin", &[]);
    assert!(token.starts_with(&header) && token.contains(&format!(".{payload}")));
    page.sign_in(&ops.id, &ops.secret);
    page.go_to("Keys");
    page.reads("ES256");
    let remains = page.remains();
    assert!(
        !remains.contains(&ops.secret),
        "the secret is not in the page during the session"
    );
    assert!(
        !remains.contains(&header) && !remains.contains(&payload),
        "the token is not in the page during the session"
    );
    page.press("Sign out");
    page.until("!document.getElementById('sign-in').hidden");
    let remains = page.remains().replace("href=\\\"#keys", "");
    for gone in [&ops.secret, &*header, &payload, "Signing keys", "Signed in as", "#keys"] {
        assert!(!remains.contains(gone), "{gone} remains: {remains}");
    }
    assert_eq!(page.value("document.activeElement.name"), "id");
    page.assert_clean(&[]);
}

#[test]
fn signing_out_and_leaving_the_page_revoke_the_token() {
    let (server, ops, page) = server();
    let revoked = |count: usize| {
        let known = format!("\nmintage_revocations_known {count}\n");
        eventually("the token is revoked", TIMEOUT, || {
            server.metrics().0.contains(&known).then_some(())
        });
    };
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");
    page.press("Sign out");
    revoked(1);
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");
    page.leave();
    revoked(2);
}

#[test]
fn the_content_security_policy_is_enforced() {
    let (_server, _, page) = server();
    for forbidden in [
        "document.body.innerHTML = '<b>x</b>'",
        "document.body.append(Object.assign(document.createElement('script'), { textContent: 'window.ran = true' }))",
        "eval('window.ran = true')",
    ] {
        page.value(&format!("(() => {{ try {{ {forbidden} }} catch {{}} }})()"));
    }
    page.value(
        "(() => { const found = document.createElement('p'); found.setAttribute('style', 'position: fixed'); \
         found.id = 'styled'; document.body.append(found); })()",
    );
    page.until("window.violations.length >= 3");
    assert_eq!(
        page.value("document.querySelectorAll('b').length + Number(window.ran ?? 0)"),
        0
    );
    assert_eq!(
        page.value("getComputedStyle(document.getElementById('styled')).position"),
        "static"
    );
    let elsewhere = page.value("fetch('http://127.0.0.1:1/').then(() => 'connected', () => 'blocked')");
    assert_eq!(elsewhere, "blocked");
    page.until("window.violations.some((violation) => violation.startsWith('connect-src http://127.0.0.1:1'))");
}

#[test]
fn a_token_is_renewed_before_it_expires() {
    let server = crate::start();
    // A token expires at a whole second, up to one second before its lifetime is over. It is
    // renewed after 80 % of its lifetime, which must be earlier, with time to spare on a busy
    // machine.
    let ops = server.client_with_id("ops", "mintage:admin", &["--ttl", "10s"]);
    let page = Page::console(&server.origin(), DESKTOP);
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");
    let renewals = || page.requests().iter().filter(|url| url.ends_with("/token")).count();
    eventually("the token is renewed twice", TIMEOUT, || {
        (renewals() >= 3).then_some(())
    });
    page.go_to("Keys");
    page.reads("ES256");
    // None of the requests that are sent every second was denied in the meantime.
    page.assert_clean(&[]);
}

#[test]
fn a_session_whose_client_is_disabled_ends_with_a_message() {
    let (server, ops, page) = server();
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");
    assert_eq!(server.program.run(&["client", "disable", "ops"]).code, Some(0));
    page.reads("The session has ended: this client can no longer sign in.");
    assert!(!page.remains().contains(&ops.secret));
    page.assert_clean(&[401]);
}

#[test]
fn with_an_admin_listener_the_console_is_served_only_there() {
    let server = crate::start_with(&[("MINTAGE_SERVER__ADMIN_LISTEN", "127.0.0.1:0")]);
    let ops = server.client_with_id("ops", "mintage:admin", &[]);
    let status = |path: &str| testkit::http::Request::new("GET", path).send(server.address).status;
    assert_eq!(
        [status("/console"), status("/console/console.js"), status("/livez")],
        [404, 404, 200]
    );
    let page = Page::console(&server.admin_origin(), DESKTOP);
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");
    page.go_to("Keys");
    page.reads("ES256");
    page.press("Sign out");
    page.assert_clean(&[]);
}
