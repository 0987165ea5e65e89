//! Clients, secrets, keys and routes, managed by somebody who sees the page only; what they come to is asked for outside of it.

use serde_json::json;

use crate::http::{Request, Response};
use crate::page::{DESKTOP, Page};
use crate::server::{Server, TestClient, eventually};

fn signed_in() -> (Server, Page) {
    let server = Server::start();
    let page = sign_in(&server);
    (server, page)
}

fn sign_in(server: &Server) -> Page {
    let ops = server.client("ops", "mintage:admin", &[]);
    let page = Page::console(&server.origin(), DESKTOP);
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");
    page
}

/// The answer to a client that asks for a token.
fn ask(server: &Server, client: &TestClient) -> Response {
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        client.id, client.secret
    );
    Request::new("POST", "/token")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form)
        .send(server.address)
}

/// Reads the credentials that a dialog shows once, and closes it.
#[track_caller]
fn take_secret(page: &Page) -> TestClient {
    let shown = |name: &str| page.text_of(&format!("dialog[open] [data-shown={name}]"));
    let client = TestClient {
        id: shown("client_id"),
        secret: shown("client_secret"),
    };
    page.press("I have stored it");
    page.until("!document.querySelector('dialog')");
    assert!(!page.remains().contains(&client.secret), "it was shown once");
    client
}

#[track_caller]
fn create(page: &Page, id: &str, name: &str) -> TestClient {
    page.go_to("Clients");
    page.press("New client…");
    page.fill("Name", name);
    page.fill("Id", id);
    page.fill("Scope", "orders:read orders:write");
    page.press("Create");
    let client = take_secret(page);
    page.until("finder.row('when it is revoked') && document.body.innerText.includes('None is recorded.')");
    client
}

#[test]
fn a_client_from_its_making_to_its_end() {
    let server = Server::start();
    let ops = server.client("ops", "mintage:admin", &[]);
    let page = Page::console(&server.origin(), DESKTOP);
    page.sign_in(&ops.id, "mtgcsWrong");
    page.reads("The id or the secret is wrong, or the client is disabled.");
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");

    let first = create(&page, "billing", "Billing");
    page.until("document.querySelector('#main h1').textContent.startsWith('Billing')");
    page.until("finder.row('when it is revoked').textContent.includes('never')");
    page.reads("None is recorded.");

    page.go_to("Overview");
    page.until("document.querySelector('#card-tokens .line.main').getAttribute('d').includes('L')");
    assert_eq!(ask(&server, &first).status, 200, "its first token");
    page.until(
        "document.querySelector('#card-tokens .line.main').getAttribute('d').match(/ (\\d+)/g).some((y) => y < 90)",
    );

    page.go_to("Clients");
    page.press("Billing");
    page.press("Add a secret…");
    page.fill("It ends in", "90");
    page.press("Add");
    let second = take_secret(&page);
    assert_eq!(ask(&server, &second).status, 200, "the new one counts");
    page.until("finder.row('in 90 d') && finder.row('when it is revoked')");
    page.press_in_row("when it is revoked");
    page.press("Revoke secret");
    page.until("finder.row('in 90 d') && !finder.row('when it is revoked')");
    assert_eq!(ask(&server, &first).status, 401, "the old one does not");
    page.until("document.activeElement.textContent === 'Add a secret…'");
    assert_eq!(ask(&server, &second).status, 200);

    page.press("Disable…");
    page.press("Disable");
    page.until("document.querySelector('#main h1').textContent === 'Billing disabled'");
    assert_eq!(ask(&server, &second).status, 401, "disabled, it gets no token");
    page.until("document.activeElement === document.querySelector('#main h1')");
    page.press("Enable");
    page.until("document.querySelector('#main h1').textContent === 'Billing enabled'");
    assert_eq!(ask(&server, &second).status, 200);

    page.press("Delete…");
    page.press("Delete client");
    page.until("finder.row('ops') && !finder.row('Billing')");
    assert_eq!(ask(&server, &second).status, 401, "it is no more");

    page.go_to("Audit");
    for deed in [
        "client create",
        "secret add",
        "secret revoke",
        "client update",
        "client delete",
    ] {
        page.reads(deed);
    }
    page.assert_clean(&[401]);
}

#[test]
fn somebody_without_a_mouse_signs_in_and_makes_a_client() {
    let server = Server::start();
    let ops = server.client("ops", "mintage:admin", &[]);
    let page = Page::console(&server.origin(), DESKTOP);
    page.until("document.activeElement.name === 'id'");
    page.write(&ops.id);
    page.key("Tab");
    page.write(&ops.secret);
    page.key("Enter");
    page.reads("Signed in as ops");
    page.tab_to("document.querySelector('.tabs a[href=\"#clients\"]')");
    page.key("Enter");
    page.tab_to("finder.button('New client…')");
    page.key("Enter");
    page.until("document.activeElement.name === 'name'");
    page.write("By hand");
    page.tab_to("finder.field('Scope')");
    page.write("orders:read");
    page.key("Enter");
    page.until("document.querySelector('dialog[open] [data-shown=client_secret]')");
    let shown = |name: &str| page.text_of(&format!("dialog[open] [data-shown={name}]"));
    let made = TestClient {
        id: shown("client_id"),
        secret: shown("client_secret"),
    };
    page.key("Escape");
    page.key("Escape");
    // As a gesture of going back asks a dialog to close.
    page.value("document.querySelector('dialog').requestClose()");
    assert_eq!(
        shown("client_secret"),
        made.secret,
        "a slip of the finger does not lose the secret"
    );
    page.tab_to("finder.button('I have stored it')");
    page.key("Enter");
    page.until("document.activeElement.textContent.startsWith('By hand')");
    assert_eq!(ask(&server, &made).status, 200);
    page.assert_clean(&[]);
}

#[test]
fn what_the_server_refuses_is_said_beside_what_was_written() {
    let (_server, page) = signed_in();
    create(&page, "billing", "Billing");
    page.go_to("Clients");
    page.press("New client…");
    page.fill("Name", "Again");
    page.fill("Id", "billing");
    page.press("Create");
    page.reads("The client id is already in use.");
    assert_eq!(page.value("document.activeElement.closest('dialog') !== null"), true);
    page.fill("Id", "other");
    page.fill("Audiences", "not a uri");
    page.press("Create");
    page.reads("Audiences must be at most 100 absolute URIs");
    page.press("Cancel");
    page.assert_clean(&[400, 409]);
}

#[test]
fn a_change_is_saved_and_one_that_somebody_else_has_overtaken_is_not() {
    let (server, page) = signed_in();
    create(&page, "billing", "Billing");
    page.fill("Lifetime of tokens", "600");
    page.press("Save");
    page.reads("The client is changed");
    assert_eq!(server.run_json(&["client", "show", "billing"])["ttl_seconds"], 600);
    assert_eq!(
        server.run(&["client", "update", "billing", "--name", "Theirs"]).0,
        Some(0)
    );
    page.fill("Name", "Mine");
    page.press("Save");
    page.reads("Somebody else has changed this client meanwhile; nothing of yours is saved.");
    assert_eq!(server.run_json(&["client", "show", "billing"])["name"], "Theirs");
    page.press("Show theirs");
    page.until("document.querySelector('#main h1').textContent.startsWith('Theirs')");
    page.assert_clean(&[412]);
}

#[test]
fn revoked_tokens_are_inactive() {
    let (server, page) = signed_in();
    let billing = create(&page, "billing", "Billing");
    let token = server.token(&billing, "orders:read", "");
    let active = || {
        let form = format!("client_id=billing&client_secret={}&token={token}", billing.secret);
        let asked = Request::new("POST", "/introspect").header("Content-Type", "application/x-www-form-urlencoded");
        asked.body(form).send(server.address).json()["active"].clone()
    };
    assert_eq!(active(), true);
    page.press("Revoke tokens…");
    page.press("Revoke tokens");
    page.reads("Its tokens are revoked");
    assert_eq!(active(), false);
    eventually("it is shown", || {
        page.press("Look again");
        page.until("finder.button('Look again').ariaDisabled !== 'true'");
        (page.value("finder.row('orders:read')?.textContent.includes('revoked')") == true).then_some(())
    });
    page.assert_clean(&[]);
}

#[test]
fn one_token_of_several_is_taken_back() {
    let (server, page) = signed_in();
    let billing = create(&page, "billing", "Billing");
    for scope in ["orders:read", "orders:write"] {
        server.token(&billing, scope, "");
    }
    // Until the records are written.
    eventually("both are shown", || {
        page.press("Look again");
        page.until("finder.button('Look again').ariaDisabled !== 'true'");
        (page.value("document.querySelectorAll('#main .pill.ok').length") == 3).then_some(())
    });
    page.click("finder.row('orders:write').querySelector('button')");
    page.press("Revoke token");
    page.until("finder.row('orders:write').textContent.includes('revoked')");
    assert_eq!(
        page.value("finder.row('orders:read').textContent.includes('active')"),
        true
    );
    let tokens = server.metrics();
    assert!(tokens.contains("\nmintage_revocations_known 1\n"));
    page.assert_clean(&[]);
}

#[test]
fn a_name_that_looks_like_markup_stays_a_name() {
    let (_server, page) = signed_in();
    let name = "<img src=x onerror=alert(1)><b>bold</b>";
    create(&page, "a/b?c#d", name);
    page.until(&format!(
        "document.querySelector('#main h1').textContent.startsWith({})",
        json!(name)
    ));
    page.go_to("Clients");
    page.press(name);
    page.until("document.title === 'Clients · Mintage' && finder.button('Delete…')");
    page.press("Delete…");
    page.reads(&format!("Delete {name}?"));
    page.press("Delete client");
    page.reads("The client is deleted");
    page.go_to("Audit");
    page.reads("client delete");
    assert_eq!(
        page.value("document.querySelectorAll('#main img, #main b, #main script').length"),
        0
    );
    page.assert_clean(&[]);
}

#[test]
fn keys_are_rotated_and_it_is_said_when_the_new_ones_sign() {
    let (server, page) = signed_in();
    page.go_to("Keys");
    page.until("document.querySelectorAll('tbody tr').length === 5");
    page.press("Rotate…");
    page.click("document.querySelector('dialog select')");
    page.value("document.querySelector('dialog select').value = 'ES256'");
    page.press("Rotate");
    page.until("document.querySelector('.news').textContent.match(/^The new ES256 key signs in 1 h, from \\d{4}-/)");
    page.until("document.querySelectorAll('tbody tr').length === 6");
    page.until("finder.row('next').textContent.startsWith('ES256')");
    let waiting = server.run_json(&["key", "list"]).to_string();
    assert!(waiting.contains("\"next\""), "{waiting}");
    page.press("Rotate…");
    page.value("document.querySelector('dialog select').value = 'ES256'");
    page.press("Rotate");
    page.reads("A new key is already published");
    page.assert_clean(&[409]);
}

#[test]
fn routes_are_added_explained_and_removed() {
    let (server, page) = signed_in();
    let demo = server.client("demo", "orders:read", &[]);
    let token = server.token(&demo, "orders:read", "");
    let passes = || server.validate("GET", "/orders/1", &token).status;
    page.go_to("Routes");
    page.reads("There is no route: /validate lets nothing pass.");
    page.press("Add a route…");
    page.fill("Method", "GET");
    page.fill("Path", "/orders/{id}");
    page.fill("Scope", "orders:read");
    page.press("Add");
    page.until("finder.row('/orders/{id}')");
    assert_eq!(passes(), 200);
    page.fill("URL", "https://api.example/orders/1");
    page.press("Explain");
    page.until("document.querySelector('.explanation').textContent.startsWith('decided by GET /orders/{id}, which wants orders:read: ')");
    page.fill("URL", "/other");
    page.press("Explain");
    page.until("document.querySelector('.explanation').textContent.startsWith('denied')");
    page.press_in_row("/orders/{id}");
    page.press("Remove route");
    page.reads("There is no route: /validate lets nothing pass.");
    assert_eq!(passes(), 403);
    page.assert_clean(&[]);
}

#[test]
fn many_clients_are_found_by_a_filter_and_shown_page_by_page() {
    let server = Server::start();
    server.many_clients(230);
    let page = sign_in(&server);
    page.go_to("Clients");
    page.until("document.querySelectorAll('tbody tr').length === 200");
    page.click("document.querySelector('input[type=search]')");
    page.write("service-229");
    page.press("Open the client with the id service-229");
    page.until("document.querySelector('#main h1').textContent === 'Service 229 enabled'");
    page.press("‹ All clients");
    page.press("Show more");
    page.until("document.querySelectorAll('tbody tr').length === 231 && !finder.button('Show more')");
    page.click("document.querySelector('input[type=search]')");
    page.write("service 117");
    page.until("document.querySelectorAll('tbody tr').length === 1 && finder.row('service-117')");
    page.assert_clean(&[]);
}

#[test]
fn a_secret_is_copied_with_a_button() {
    let (_server, page) = signed_in();
    page.allow_clipboard();
    page.go_to("Clients");
    page.press("New client…");
    page.fill("Name", "Billing");
    page.press("Create");
    let secret = page.text_of("dialog[open] [data-shown=client_secret]");
    page.press("Copy client secret");
    page.until("[...document.querySelectorAll('dialog button')].some((found) => found.textContent === 'Copied')");
    eventually("it is in the clipboard", || {
        (page.value("navigator.clipboard.readText()") == secret).then_some(())
    });
}
