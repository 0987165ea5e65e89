//! Layout and accessibility of the console, as far as they can be computed: width on a phone,
//! contrast, accessible names.

use serde_json::Value;

use crate::page::{DESKTOP, Look, PHONE, Page};

/// Returns the texts whose contrast ratio is below what WCAG 2 requires (1.4.3), with their ratios.
const FAINT: &str = r#"
(() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parse = (color) => {
    const [red, green, blue, alpha = 1] = color.match(/[\d.]+/g).map(Number);
    return { red, green, blue, alpha };
  };
  const over = (top, below) => Object.fromEntries(['red', 'green', 'blue'].map((name) =>
    [name, top[name] * top.alpha + below[name] * (1 - top.alpha)]));
  const light = ({ red, green, blue }) => 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
  const behind = (found) => {
    const own = parse(getComputedStyle(found).backgroundColor);
    if (own.alpha === 1) return own;
    return over(own, found.parentElement ? behind(found.parentElement) : { red: 255, green: 255, blue: 255 });
  };
  const opacity = (found) => found ? Number(getComputedStyle(found).opacity) * opacity(found.parentElement) : 1;
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let looked = 0;
  while (walker.nextNode()) {
    const found = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || found.closest(':disabled, [aria-disabled=true], .unseen, noscript') || !found.getClientRects().length) continue;
    looked += 1;
    const back = behind(found);
    const color = parse(getComputedStyle(found).color);
    color.alpha *= opacity(found);
    const [one, other] = [light(over(color, back)), light(back)].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) faint.push(`${walker.currentNode.data.trim()}: ${ratio.toFixed(2)}`);
  }
  return { looked, faint };
})()
"#;

#[track_caller]
fn assert_readable(page: &Page, what: &str) {
    let found = page.value(FAINT);
    assert!(found["looked"].as_u64().unwrap() > 5, "{what}: {found}");
    assert_eq!(found["faint"], Value::Array(Vec::new()), "{what}");
}

#[track_caller]
fn assert_fits(page: &Page, what: &str) {
    let wide = page.value(
        "[...document.querySelectorAll('body *')].filter((found) => found.getBoundingClientRect().right > innerWidth + 0.5 \
         && !found.closest('svg, .unseen, thead')).map((found) => found.outerHTML.slice(0, 120))",
    );
    assert_eq!(wide, Value::Array(Vec::new()), "{what}");
    assert_eq!(
        page.value("document.documentElement.scrollWidth <= innerWidth"),
        true,
        "{what}"
    );
}

/// Signs in, opens every view of the console and calls `check` on each.
fn visit_all(look: Look, name: &str, check: impl Fn(&Page, &str)) {
    let server = crate::start();
    let ops = server.client_with_id("ops", "mintage:admin", &[]);
    let long = "a.client.whose.id.is.as.long.as.ids.get.when.somebody.puts.the.whole.name.of.a.service.into.it.production.eu.west";
    server.client_with_id(
        long,
        "orders:read orders:write invoices:read invoices:write shipments:read",
        &[],
    );
    server.route(
        "GET",
        "/orders/{id}/positions/{position}/{*rest}",
        "orders:read",
        &["--audience", "https://orders.example"],
    );
    server.public_route("OPTIONS", "/orders/{id}/positions/{position}/{*rest}", &[]);
    let page = Page::console(&server.origin(), look);
    check(&page, "sign in");
    page.screenshot(&format!("{name}-sign-in"));
    page.sign_in(&ops.id, &ops.secret);
    page.until("document.querySelectorAll('.details section').length === 3");
    page.until("document.querySelector('#card-tokens .line.main').getAttribute('d').includes('L')");
    check(&page, "overview");
    page.whole_screenshot(&format!("{name}-overview"), look);
    let check_view = |what: &str| {
        // A dialog opens with an animation.
        page.until("document.getAnimations().every((animation) => animation.playState === 'finished')");
        check(&page, what);
        page.whole_screenshot(&format!("{name}-{what}"), look);
    };
    for part in ["Clients", "Keys", "Routes", "Audit"] {
        page.go_to(part);
        page.until("document.querySelector('#main table')");
        check_view(part);
    }
    page.go_to("Clients");
    page.press("Create client…");
    check_view("new client");
    page.fill(
        "Name",
        "A client with a name that is rather long, as names of clients are now and then",
    );
    page.fill("Audiences", "no uri");
    page.press("Create client");
    page.reads("Audiences must be");
    check_view("rejected");
    page.fill("Audiences", "https://orders.example");
    page.press("Create client");
    page.until("document.querySelector('[data-shown=client_secret]')");
    check_view("secret");
    page.press("I have stored it");
    page.until("document.querySelector('#main tbody') && finder.button('Save')");
    check_view("client");
    page.press("Delete…");
    check_view("question");
    page.press("Delete client");
    page.until("!document.querySelector('dialog') && document.querySelectorAll('#main tbody tr').length === 2");
    page.go_to("Keys");
    page.press("Rotate keys…");
    check_view("rotate");
    page.press("Rotate keys");
    page.reads("and HS256 keys activate in");
    check_view("rotated");
    page.assert_clean(&[400]);
}

/// Every control and every plot has an accessible name.
#[track_caller]
fn assert_named(page: &Page, what: &str) {
    const ROLES: [&str; 11] = [
        "button",
        "link",
        "textbox",
        "searchbox",
        "combobox",
        "checkbox",
        "slider",
        "spinbutton",
        "dialog",
        "image",
        "heading",
    ];
    let controls = page.controls();
    let named: Vec<_> = controls
        .iter()
        .filter(|(role, _)| ROLES.contains(&role.as_str()))
        .collect();
    assert!(named.len() >= 3, "{what}: {controls:?}");
    for (role, name) in named {
        assert!(!name.trim().is_empty(), "{what}: a {role} has no name");
    }
    let headings = page.value("[...document.querySelectorAll('h1')].filter(finder.seen).length");
    assert_eq!(headings, 1, "{what}");
}

#[test]
fn every_page_fits_a_phone_and_every_control_has_an_accessible_name() {
    visit_all(PHONE, "phone", |page, what| {
        assert_fits(page, what);
        assert_named(page, what);
    });
}

#[test]
fn every_text_has_enough_contrast_in_the_light_theme() {
    visit_all(DESKTOP, "desktop", assert_readable);
}

#[test]
fn every_text_has_enough_contrast_in_the_dark_theme() {
    let look = Look { dark: true, ..DESKTOP };
    visit_all(look, "dark", |page, what| {
        let ground = page.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(ground, "rgb(14, 19, 17)", "it is dark");
        assert_readable(page, what);
    });
}
