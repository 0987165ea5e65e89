//! Signing in and out: what is refused is said in words, and what is secret leaves nothing behind.

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
fn a_client_without_the_scopes_is_told_so_and_a_reader_has_read_only_access() {
    let (server, _, page) = server();
    let demo = server.client_with_id("demo", "orders:read", &[]);
    let reader = server.client_with_id("reader", "mintage:read", &[]);
    page.sign_in(&demo.id, &demo.secret);
    page.reads("This client has neither the scope mintage:admin nor mintage:read.");
    page.sign_in(&reader.id, &reader.secret);
    page.reads("Signed in as reader (read-only)");
    page.go_to("Keys");
    page.reads("ES256");
    assert_eq!(page.value("Boolean(finder.button('Rotate keys…'))"), false);
    page.assert_clean(&[400]);
}

#[test]
fn a_client_that_may_only_use_the_header_signs_in_as_well() {
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
fn signed_out_nothing_of_the_session_is_left_in_the_page() {
    let (_server, ops, page) = server();
    page.sign_in(&ops.id, &ops.secret);
    page.go_to("Keys");
    page.reads("ES256");
    let remains = page.remains();
    assert!(
        !remains.contains(&ops.secret),
        "while it is used, the secret is in no place that can be read"
    );
    assert!(!remains.contains("eyJ"), "nor is the token");
    page.press("Sign out");
    page.until("!document.getElementById('sign-in').hidden");
    let remains = page.remains().replace("href=\\\"#keys", "");
    for gone in [&ops.secret, "eyJ", "Signing keys", "Signed in as", "#keys"] {
        assert!(!remains.contains(gone), "{gone} is left: {remains}");
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
fn the_policy_is_in_force() {
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
    let elsewhere = page.value("fetch('http://127.0.0.1:1/').then(() => 'asked', () => 'not asked')");
    assert_eq!(elsewhere, "not asked");
    page.until("window.violations.some((violation) => violation.startsWith('connect-src http://127.0.0.1:1'))");
}

#[test]
fn a_token_is_renewed_before_it_has_expired() {
    let server = crate::start();
    let ops = server.client_with_id("ops", "mintage:admin", &["--ttl", "3s"]);
    let page = Page::console(&server.origin(), DESKTOP);
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");
    let renewals = || page.requests().iter().filter(|url| url.ends_with("/token")).count();
    eventually("it has renewed its token twice", TIMEOUT, || {
        (renewals() >= 3).then_some(())
    });
    page.go_to("Keys");
    page.reads("ES256");
    // Not one of the requests that are sent every second was refused meanwhile.
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
fn a_listener_for_admin_has_the_console_and_the_public_side_has_not() {
    let server = crate::start_with(&[("MINTAGE_SERVER__ADMIN_LISTEN", "127.0.0.1:0")]);
    let ops = server.client_with_id("ops", "mintage:admin", &[]);
    let ask = |path: &str| testkit::http::Request::new("GET", path).send(server.address).status;
    assert_eq!(
        [ask("/console"), ask("/console/console.js"), ask("/livez")],
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
