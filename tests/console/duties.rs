//! What an operator sees: the sections and buttons of its duties and no others, also when they
//! change during a session.

use serde_json::{Value, json};
use testkit::Server;

use crate::page::{DESKTOP, Page};

/// A server whose metrics need a token, with a client to look at and a route.
fn server() -> Server {
    let server = crate::start_with(&[("MINTAGE_SERVER__OPEN_METRICS", "false")]);
    server.client_with_id("demo", "orders:read", &[]);
    server.route("GET", "/orders/{id}", "orders:read", &[]);
    server
}

/// Signs in as a new client with this scope.
fn signed_in(server: &Server, id: &str, scope: &str, more: &[&str]) -> Page {
    let operator = server.client_with_id(id, scope, more);
    let page = Page::console(&server.origin(), DESKTOP);
    page.sign_in(&operator.id, &operator.secret);
    page.reads(&format!("Signed in as {id}"));
    page
}

fn texts(page: &Page, selector: &str) -> Vec<String> {
    let found = page.value(&format!(
        "[...document.querySelectorAll({})].filter(finder.seen).map(finder.words)",
        json!(selector)
    ));
    let found = found.as_array().unwrap().iter();
    found.map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn tabs(page: &Page) -> Vec<String> {
    texts(page, ".tabs a")
}

/// The buttons of the section that is shown, once everything in it is loaded, without those that
/// only read.
fn actions(page: &Page) -> Vec<String> {
    const READING: [&str; 5] = ["Pause", "Refresh", "Load more", "Explain", "Copy client id"];
    page.until(
        "document.querySelector('#main table, #main .nothing') && \
         ![...document.querySelectorAll('#main .nothing')].some((found) => found.textContent === 'Loading…')",
    );
    let buttons = texts(page, "#main button").into_iter();
    buttons.filter(|button| !READING.contains(&button.as_str())).collect()
}

/// What one client's page shows: its parts, and its buttons.
fn client_page(page: &Page, id: &str) -> (Vec<String>, Vec<String>) {
    page.value(&format!("location.hash = '#clients/{id}'"));
    page.until("document.querySelector('#main form')");
    let actions = actions(page);
    (texts(page, "#main h2"), actions)
}

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn each_duty_opens_its_sections_and_shows_its_buttons() {
    let server = server();
    let create = ("Clients", &["Create client…"][..]);
    let rotate = ("Keys", &["Rotate keys…"][..]);
    let route = ("Routes", &["Add route…", "Remove route GET /orders/{id}"][..]);
    let none = |section| (section, &[][..]);
    for (duty, sections) in [
        (
            "admin",
            &[
                ("Overview", &["Clear caches…"][..]),
                create,
                rotate,
                route,
                none("Audit"),
            ][..],
        ),
        (
            "read",
            &[
                none("Overview"),
                none("Clients"),
                none("Keys"),
                none("Routes"),
                none("Audit"),
            ],
        ),
        ("clients", &[create]),
        ("keys", &[rotate]),
        ("routes", &[route]),
        ("tokens", &[none("Clients")]),
        ("audit", &[none("Audit")]),
    ] {
        let page = signed_in(&server, duty, &format!("mintage:{duty}"), &[]);
        let names: Vec<&str> = sections.iter().map(|(section, _)| *section).collect();
        assert_eq!(tabs(&page), list(&names), "{duty}");
        // The first of them is open after the sign-in.
        assert_eq!(page.value("document.title"), format!("{} · Mintage", names[0]));
        for (section, buttons) in sections {
            page.go_to(section);
            if *section == "Overview" {
                page.until("document.querySelectorAll('.details section').length === 3");
            }
            assert_eq!(actions(&page), list(buttons), "{duty} {section}");
        }
        let read_only = texts(&page, "#user")[0].ends_with("(read-only)");
        assert_eq!(read_only, ["read", "audit"].contains(&duty), "{duty}");
        page.press("Sign out");
        page.assert_clean(&[400]);
    }
}

#[test]
fn the_page_of_a_client_has_the_parts_and_buttons_of_the_duties() {
    let server = server();
    let secret = server.run_json(&["client", "secret", "list", "demo"])["items"][0]["secret_id"].clone();
    let revoke_secret = format!("Revoke secret {}", secret.as_str().unwrap());
    let [details, secrets, tokens] = ["Details", "Secrets", "Tokens"];
    for (duty, parts, buttons) in [
        ("read", &[details, secrets, tokens][..], &[][..]),
        (
            "clients",
            &[details, secrets],
            &["Disable…", "Delete…", "Reset", "Save", "Add secret…", &revoke_secret],
        ),
        ("tokens", &[details, tokens], &["Revoke tokens…"]),
    ] {
        let page = signed_in(&server, duty, &format!("mintage:{duty}"), &[]);
        assert_eq!(client_page(&page, "demo"), (list(parts), list(buttons)), "{duty}");
        page.press("Sign out");
        page.assert_clean(&[400]);
    }
}

#[test]
fn a_client_with_scopes_that_the_operator_does_not_hold_is_read_only() {
    let server = server();
    server.client_with_id("ops", "mintage:admin", &[]);
    server.client_with_id("keeper", "mintage:keys", &[]);
    let page = signed_in(&server, "staff", "mintage:clients mintage:keys", &[]);
    assert_eq!(client_page(&page, "ops").1, list(&[]));
    page.reads("Read-only: this client has scopes that you do not hold.");
    // The operator holds what this one has.
    assert!(client_page(&page, "keeper").1.contains(&"Save".to_owned()));
    page.go_to("Clients");
    page.press("Create client…");
    page.fill("Name", "Backdoor");
    page.fill("Scope", "mintage:admin");
    page.press("Create client");
    page.reads("Scopes that begin with mintage: can be granted");
    page.press("Cancel");
    page.assert_clean(&[400, 403]);
}

#[test]
fn all_duties_of_a_client_are_in_one_session() {
    let server = server();
    let page = signed_in(&server, "both", "mintage:audit mintage:keys orders:read", &[]);
    assert_eq!(tabs(&page), list(&["Keys", "Audit"]));
    assert_eq!(actions(&page), list(&["Rotate keys…"]));
    page.go_to("Audit");
    page.reads("client create");
    page.press("Sign out");
    page.assert_clean(&[400]);
}

#[test]
fn a_duty_that_is_taken_away_disappears_from_the_page() {
    let server = server();
    let page = signed_in(&server, "ops", "mintage:admin", &[]);
    page.go_to("Keys");
    assert_eq!(actions(&page), list(&["Rotate keys…"]));
    let narrow = |scope: &str| {
        let outcome = server.program.run(&["client", "update", "ops", "--scope", scope]);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
    };
    narrow("mintage:read");
    // The first request that is denied tells the page.
    page.press("Rotate keys…");
    page.press("Rotate keys");
    page.reads("The duties of this client have changed");
    page.until("document.getElementById('user').textContent.endsWith('(read-only)')");
    assert_eq!(page.value("document.title"), "Keys · Mintage");
    page.until("!document.querySelector('dialog')");
    assert_eq!(actions(&page), list(&[]));
    narrow("orders:read");
    page.reads("The session has ended: this client can no longer sign in.");
    page.assert_clean(&[400, 401, 403]);
}

#[test]
fn a_duty_that_is_added_appears_with_the_next_token() {
    let server = server();
    let page = signed_in(&server, "keeper", "mintage:keys", &["--ttl", "10s"]);
    assert_eq!(tabs(&page), list(&["Keys"]));
    let widened = ["client", "update", "keeper", "--scope", "mintage:keys mintage:routes"];
    assert_eq!(server.program.run(&widened).code, Some(0));
    page.until("[...document.querySelectorAll('.tabs a')].filter(finder.seen).length === 2");
    page.go_to("Routes");
    assert_eq!(actions(&page), list(&["Add route…", "Remove route GET /orders/{id}"]));
    page.assert_clean(&[400]);
}

#[test]
fn a_session_ends_when_its_secret_is_revoked() {
    let server = server();
    let page = signed_in(&server, "ops", "mintage:admin", &[]);
    let secrets: Value = server.run_json(&["client", "secret", "list", "ops"]);
    let secret = secrets["items"][0]["secret_id"].as_str().unwrap();
    let revoked = server.program.run(&["client", "secret", "revoke", "ops", secret]);
    assert_eq!(revoked.code, Some(0), "{revoked:?}");
    page.reads("The session has ended: this client can no longer sign in.");
    page.assert_clean(&[401, 403]);
}
