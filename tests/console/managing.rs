//! Clients, secrets, keys and routes, managed in the console; the results are checked outside of
//! it.

use serde_json::json;
use testkit::http::{Request, Response};
use testkit::token::{about_token, part, token_request};
use testkit::{Server, TestClient, eventually};

use crate::TIMEOUT;
use crate::page::{DESKTOP, Page};

/// Creates `count` clients `service-…` through the admin API, because a command for each would be
/// slow.
fn create_services(server: &Server, count: usize) {
    let creator = server.client_with_id("creator", "mintage:admin", &[]);
    let token = server.token(&creator, "mintage:admin", &[]);
    for number in 1..=count {
        let client = json!({
            "client_id": format!("service-{number:03}"), "name": format!("Service {number:03}"), "scope": "orders:read",
            "labels": {"number": number.to_string()},
        });
        let created = server.send(&Request::post("/admin/clients").bearer(&token).json(&client));
        assert_eq!(created.status, 201);
    }
    assert_eq!(server.program.run(&["client", "delete", "creator"]).code, Some(0));
}

fn signed_in() -> (Server, Page) {
    let server = crate::start();
    let page = sign_in(&server);
    (server, page)
}

fn sign_in(server: &Server) -> Page {
    let ops = server.client_with_id("ops", "mintage:admin", &[]);
    let page = Page::console(&server.origin(), DESKTOP);
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");
    page
}

/// Requests a token.
fn request_token(server: &Server, client: &TestClient) -> Response {
    server.send(&token_request(client, &[]))
}

/// The credentials that a dialog shows once.
#[track_caller]
fn shown_credentials(page: &Page) -> TestClient {
    let shown = |name: &str| page.text_of(&format!("dialog[open] [data-shown={name}]"));
    TestClient::new(&shown("client_id"), &shown("client_secret"))
}

/// Reads the credentials that a dialog shows once, and closes the dialog.
#[track_caller]
fn take_secret(page: &Page) -> TestClient {
    let client = shown_credentials(page);
    page.press("I have stored it");
    page.until("!document.querySelector('dialog')");
    assert!(
        !page.remains().contains(&client.secret),
        "the secret is shown only once"
    );
    client
}

#[track_caller]
fn create(page: &Page, id: &str, name: &str) -> TestClient {
    page.go_to("Clients");
    page.press("Create client…");
    page.fill("Name", name);
    page.fill("Id", id);
    page.fill("Scope", "orders:read orders:write");
    page.press("Create client");
    let client = take_secret(page);
    page.until("finder.row('no expiry') && document.body.innerText.includes('No tokens yet.')");
    client
}

#[test]
fn a_client_is_managed_from_creation_to_deletion() {
    let server = crate::start();
    let ops = server.client_with_id("ops", "mintage:admin", &[]);
    let page = Page::console(&server.origin(), DESKTOP);
    page.sign_in(&ops.id, "mtgcsWrong");
    page.reads("The client id or secret is wrong, or the client is disabled.");
    page.sign_in(&ops.id, &ops.secret);
    page.reads("Signed in as ops");

    let first = create(&page, "billing", "Billing");
    page.until("document.querySelector('#main h1').textContent.startsWith('Billing')");
    page.until("finder.row('no expiry').textContent.includes('never')");
    page.reads("No tokens yet.");

    page.go_to("Overview");
    page.until("document.querySelector('#card-tokens .line.main').getAttribute('d').includes('L')");
    assert_eq!(request_token(&server, &first).status, 200, "its first token");
    page.until(
        "document.querySelector('#card-tokens .line.main').getAttribute('d').match(/ (\\d+)/g).some((y) => y < 90)",
    );

    page.go_to("Clients");
    page.press("Billing");
    page.press("Add secret…");
    page.fill("Expires in", "90");
    page.press("Add secret");
    let second = take_secret(&page);
    assert_eq!(request_token(&server, &second).status, 200, "the new secret is valid");
    page.until("finder.row('in 90 d') && finder.row('no expiry')");
    page.press_in_row("no expiry");
    page.press("Revoke secret");
    page.until("finder.row('in 90 d') && !finder.row('no expiry')");
    assert_eq!(request_token(&server, &first).status, 401, "the old secret is revoked");
    page.until("document.activeElement.textContent === 'Add secret…'");
    assert_eq!(request_token(&server, &second).status, 200);

    page.press("Disable…");
    page.press("Disable client");
    page.until("document.querySelector('#main h1').textContent === 'Billing disabled'");
    assert_eq!(
        request_token(&server, &second).status,
        401,
        "a disabled client gets no token"
    );
    page.until("document.activeElement === document.querySelector('#main h1')");
    page.press("Enable");
    page.until("document.querySelector('#main h1').textContent === 'Billing enabled'");
    assert_eq!(request_token(&server, &second).status, 200);

    page.press("Delete…");
    page.press("Delete client");
    page.until("finder.row('ops') && !finder.row('Billing')");
    assert_eq!(
        request_token(&server, &second).status,
        401,
        "a deleted client gets no token"
    );

    page.go_to("Audit");
    for action in [
        "client create",
        "secret add",
        "secret revoke",
        "client update",
        "client delete",
    ] {
        page.reads(action);
    }
    page.assert_clean(&[401]);
}

#[test]
fn a_client_is_created_with_the_keyboard_alone() {
    let server = crate::start();
    let ops = server.client_with_id("ops", "mintage:admin", &[]);
    let page = Page::console(&server.origin(), DESKTOP);
    page.until("document.activeElement.name === 'id'");
    page.write(&ops.id);
    page.key("Tab");
    page.write(&ops.secret);
    page.key("Enter");
    page.reads("Signed in as ops");
    page.tab_to("document.querySelector('.tabs a[href=\"#clients\"]')");
    page.key("Enter");
    page.tab_to("finder.button('Create client…')");
    page.key("Enter");
    page.until("document.activeElement.name === 'name'");
    page.write("By hand");
    page.tab_to("finder.field('Scope')");
    page.write("orders:read");
    page.key("Enter");
    page.until("document.querySelector('dialog[open] [data-shown=client_secret]')");
    let created = shown_credentials(&page);
    page.key("Escape");
    page.key("Escape");
    // Like the back gesture, which requests that a dialog closes.
    page.value("document.querySelector('dialog').requestClose()");
    assert_eq!(
        shown_credentials(&page).secret,
        created.secret,
        "an accidental key press does not lose the secret"
    );
    page.tab_to("finder.button('I have stored it')");
    page.key("Enter");
    page.until("document.activeElement.textContent.startsWith('By hand')");
    assert_eq!(request_token(&server, &created).status, 200);
    page.assert_clean(&[]);
}

#[test]
fn an_error_of_the_server_is_shown_in_the_dialog() {
    let (_server, page) = signed_in();
    create(&page, "billing", "Billing");
    page.go_to("Clients");
    page.press("Create client…");
    page.fill("Name", "Again");
    page.fill("Id", "billing");
    page.press("Create client");
    page.reads("The client id is already in use.");
    assert_eq!(page.value("document.activeElement.closest('dialog') !== null"), true);
    page.fill("Id", "other");
    page.fill("Audiences", "größe");
    page.press("Create client");
    page.reads("Audiences must be at most 100 texts of printable ASCII");
    page.press("Cancel");
    page.assert_clean(&[400, 409]);
}

#[test]
fn an_update_is_saved_unless_someone_else_has_updated_the_client() {
    let (server, page) = signed_in();
    create(&page, "billing", "Billing");
    page.fill("Token lifetime", "600");
    page.press("Save");
    page.reads("Client updated");
    assert_eq!(server.run_json(&["client", "show", "billing"])["ttl_seconds"], 600);
    assert_eq!(
        server
            .program
            .run(&["client", "update", "billing", "--name", "Theirs"])
            .code,
        Some(0)
    );
    page.fill("Name", "Mine");
    page.press("Save");
    page.reads("Someone else updated this client in the meantime. Your changes were not saved.");
    assert_eq!(server.run_json(&["client", "show", "billing"])["name"], "Theirs");
    page.press("Load latest");
    page.until("document.querySelector('#main h1').textContent.startsWith('Theirs')");
    page.assert_clean(&[412]);
}

#[test]
fn p108_claims_and_the_default_audience_of_a_client_are_set_and_removed() {
    let (server, page) = signed_in();
    create(&page, "billing", "Billing");
    let shown = |member: &str| server.run_json(&["client", "show", "billing"])[member].clone();
    page.fill("Custom claims", "{");
    page.press("Save");
    page.reads("Custom claims must be a JSON object.");
    for repeated in [
        r#"{"tenant": "t1", "ten\u0061nt": "t2"}"#,
        r#"{"a": [{"tenant": 1, "b": "{", "tenant": 1}]}"#,
    ] {
        page.fill("Custom claims", repeated);
        page.press("Save");
        page.reads("Custom claims repeat the name \"tenant\".");
    }
    page.fill("Custom claims", r#"{"tenants": {"a": 9007199254740993}}"#);
    page.press("Save");
    page.reads("Custom claims contain a number that browsers round");
    page.fill("Custom claims", r#"{"aud": "x"}"#);
    page.press("Save");
    page.reads("free of the names of standard claims");
    // A name may be repeated in different objects, and in a text.
    let claims = json!({"tenant": "t1", "of": [{"tenant": "\"tenant\": 1"}, {"tenant": "t1"}]});
    page.fill("Custom claims", &claims.to_string());
    page.fill("Default audience", "kafka");
    page.press("Save");
    page.reads("Client updated");
    assert_eq!((shown("claims"), shown("default_audience")), (claims, json!("kafka")));
    page.press("Save");
    page.reads("No changes to save");
    page.fill("Custom claims", "{}");
    page.press("Save");
    eventually("the claims are removed", TIMEOUT, || {
        shown("claims").is_null().then_some(())
    });
    assert_eq!(shown("default_audience"), "kafka");
    page.assert_clean(&[400]);
}

#[test]
fn the_token_type_and_the_scope_claim_of_a_client_are_selected_and_returned_to_the_default() {
    let (server, page) = signed_in();
    page.go_to("Clients");
    page.press("Create client…");
    page.fill("Name", "Billing");
    page.fill("Id", "billing");
    page.fill("Scope", "orders:read orders:write");
    page.select("Token type", "JWT");
    page.select("Scope claim", "scope and scp, a list");
    page.press("Create client");
    let client = take_secret(&page);
    let selected = || {
        let shown = server.run_json(&["client", "show", "billing"]);
        (shown["typ"].clone(), shown["scope_claim"].clone())
    };
    assert_eq!(selected(), (json!("JWT"), json!("scp")));
    let token = server.token(&client, "orders:read", &[]);
    assert_eq!(part(&token, 0)["typ"], "JWT");
    assert_eq!(part(&token, 1)["scp"], json!(["orders:read"]));

    page.until("finder.field('Token type')?.value === 'JWT' && finder.field('Scope claim').value === 'scp'");
    page.press("Save");
    page.reads("No changes to save");
    for label in ["Token type", "Scope claim"] {
        page.select(label, "server default");
    }
    page.press("Save");
    page.reads("Client updated");
    assert_eq!(selected(), (json!(null), json!(null)));
    page.assert_clean(&[]);
}

#[test]
fn labels_are_set_changed_and_removed() {
    let (server, page) = signed_in();
    create(&page, "billing", "Billing");
    let shown = || server.run_json(&["client", "show", "billing"])["labels"].clone();
    page.fill("Labels", "team");
    page.press("Save");
    page.reads("Labels must be lines of the form key=value.");
    page.fill("Labels", "a b=x");
    page.press("Save");
    page.reads("Labels must be an object of at most 16 texts");
    page.fill("Labels", "team=payments\nenv = prod=1");
    page.press("Save");
    page.reads("Client updated");
    assert_eq!(shown(), json!({"team": "payments", "env": "prod=1"}));
    page.until("finder.field('Labels').value === 'env=prod=1\\nteam=payments'");
    page.press("Save");
    page.reads("No changes to save");
    page.fill("Labels", " ");
    page.press("Save");
    eventually("the labels are removed", TIMEOUT, || {
        (shown() == json!({})).then_some(())
    });
    page.assert_clean(&[400]);
}

#[test]
fn revoked_tokens_are_inactive() {
    let (server, page) = signed_in();
    let billing = create(&page, "billing", "Billing");
    let token = server.token(&billing, "orders:read", &[]);
    let active = || {
        let introspection = about_token("/introspect", &billing, &token);
        server.send(&introspection).json()["active"].clone()
    };
    assert_eq!(active(), true);
    page.press("Revoke tokens…");
    page.press("Revoke tokens");
    page.reads("Tokens revoked");
    assert_eq!(active(), false);
    eventually("the token is shown as revoked", TIMEOUT, || {
        page.press("Refresh");
        page.until("finder.button('Refresh').ariaDisabled !== 'true'");
        (page.value("finder.row('orders:read')?.textContent.includes('revoked')") == true).then_some(())
    });
    page.assert_clean(&[]);
}

#[test]
fn one_token_of_several_is_revoked() {
    let (server, page) = signed_in();
    let billing = create(&page, "billing", "Billing");
    for scope in ["orders:read", "orders:write"] {
        server.token(&billing, scope, &[]);
    }
    // The list is complete once the token records are written.
    eventually("both tokens are shown", TIMEOUT, || {
        page.press("Refresh");
        page.until("finder.button('Refresh').ariaDisabled !== 'true'");
        (page.value("document.querySelectorAll('#main .pill.ok').length") == 3).then_some(())
    });
    page.click("finder.row('orders:write').querySelector('button')");
    page.press("Revoke token");
    page.until("finder.row('orders:write').textContent.includes('revoked')");
    assert_eq!(
        page.value("finder.row('orders:read').textContent.includes('active')"),
        true
    );
    let tokens = server.metrics().0;
    assert!(tokens.contains("\nmintage_revocations_known 1\n"));
    page.assert_clean(&[]);
}

#[test]
fn a_name_that_looks_like_markup_is_shown_as_text() {
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
    page.reads("Client deleted");
    page.go_to("Audit");
    page.reads("client delete");
    assert_eq!(
        page.value("document.querySelectorAll('#main img, #main b, #main script').length"),
        0
    );
    page.assert_clean(&[]);
}

#[test]
fn keys_are_rotated_and_the_page_shows_when_the_new_ones_activate() {
    let (server, page) = signed_in();
    page.go_to("Keys");
    page.until("document.querySelectorAll('tbody tr').length === 5");
    page.press("Rotate keys…");
    page.click("document.querySelector('dialog select')");
    page.value("document.querySelector('dialog select').value = 'ES256'");
    page.press("Rotate keys");
    page.until("document.querySelector('.news').textContent.match(/^The new ES256 key activates in 1 h, at \\d{4}-/)");
    page.until("document.querySelectorAll('tbody tr').length === 6");
    page.until("finder.row('next').textContent.startsWith('ES256')");
    let keys = server.run_json(&["key", "list"]).to_string();
    assert!(keys.contains("\"next\""), "{keys}");
    page.press("Rotate keys…");
    page.value("document.querySelector('dialog select').value = 'ES256'");
    page.press("Rotate keys");
    page.reads("A new key is already published");
    page.assert_clean(&[409]);
}

#[test]
fn routes_are_added_explained_and_removed() {
    let (server, page) = signed_in();
    let demo = server.client_with_id("demo", "orders:read", &[]);
    let token = server.token(&demo, "orders:read", &[]);
    let validate = || server.validate("GET", "/orders/1", &token).status;
    page.go_to("Routes");
    page.reads("No routes yet. /validate denies every request.");
    page.press("Add route…");
    page.fill("Method", "GET");
    page.fill("Path", "/orders/{id}");
    page.fill("Scope", "orders:read");
    page.press("Add route");
    page.until("finder.row('/orders/{id}')");
    assert_eq!(validate(), 200);
    page.fill("URL", "https://api.example/orders/1");
    page.press("Explain");
    page.until("document.querySelector('.explanation').textContent.startsWith('decided by GET /orders/{id}, which requires orders:read: ')");
    page.fill("URL", "/other");
    page.press("Explain");
    page.until("document.querySelector('.explanation').textContent.startsWith('denied')");
    page.press_in_row("/orders/{id}");
    page.press("Remove route");
    page.reads("No routes yet. /validate denies every request.");
    assert_eq!(validate(), 403);
    page.assert_clean(&[]);
}

#[test]
fn a_public_route_is_added_without_a_scope_and_explained() {
    let (server, page) = signed_in();
    let preflight = || server.send(&testkit::gateway::forwarded("OPTIONS", "/orders/1")).status;
    page.go_to("Routes");
    page.press("Add route…");
    page.fill("Method", "OPTIONS");
    page.fill("Path", "/orders/{id}");
    page.fill("Scope", "orders:read");
    page.click("finder.field('Public')");
    page.until("finder.field('Scope').disabled && finder.field('Audience').disabled");
    page.press("Add route");
    page.until("finder.row('/orders/{id}').textContent.includes('public')");
    assert_eq!(preflight(), 200);
    page.value("document.querySelector('.in-line [name=method]').value = 'OPTIONS'");
    page.fill("URL", "https://api.example/orders/1");
    page.press("Explain");
    page.until("document.querySelector('.explanation').textContent.startsWith('decided by OPTIONS /orders/{id}, which is public and requires no token: ')");
    page.press_in_row("/orders/{id}");
    page.press("Remove route");
    page.reads("No routes yet. /validate denies every request.");
    assert_eq!(preflight(), 403);
    page.press("Add route…");
    page.fill("Path", "/orders/{id}");
    page.click("finder.field('Public')");
    page.click("finder.field('Public')");
    page.until("!finder.field('Scope').disabled && finder.field('Scope').required");
    page.assert_clean(&[]);
}

#[test]
fn many_clients_are_filtered_searched_and_loaded_page_by_page() {
    let server = crate::start();
    create_services(&server, 230);
    let page = sign_in(&server);
    page.go_to("Clients");
    page.until("document.querySelectorAll('tbody tr').length === 200");
    page.click("document.querySelector('input[type=search]')");
    page.write("service-229");
    page.press("Open client service-229");
    page.until("document.querySelector('#main h1').textContent === 'Service 229 enabled'");
    page.press("‹ All clients");
    page.click("document.querySelector('input[type=search]')");
    page.write("SERVICE 22");
    page.reads("No match among the 200 loaded clients. Press Enter to search all clients");
    page.key("Enter");
    page.until("document.querySelectorAll('tbody tr').length === 10 && finder.row('service-229')");
    page.value("document.querySelector('input[type=search]').select()");
    page.write("number=230");
    page.key("Enter");
    page.until("document.querySelectorAll('tbody tr').length === 1 && finder.row('service-230')");
    page.go_to("Overview");
    page.go_to("Clients");
    page.press("Load more");
    page.until("document.querySelectorAll('tbody tr').length === 231 && !finder.button('Load more')");
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
    page.press("Create client…");
    page.fill("Name", "Billing");
    page.press("Create client");
    let secret = page.text_of("dialog[open] [data-shown=client_secret]");
    page.press("Copy client secret");
    page.until("[...document.querySelectorAll('dialog button')].some((found) => found.textContent === 'Copied')");
    eventually("the secret is in the clipboard", TIMEOUT, || {
        (page.value("navigator.clipboard.readText()") == secret).then_some(())
    });
}
