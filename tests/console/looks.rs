//! How it looks, as far as that can be computed: nothing overflows a phone, and all that can be read has contrast.

use serde_json::Value;

use crate::page::{DESKTOP, Look, PHONE, Page};

/// The texts whose contrast with what is behind them is below what WCAG 2 asks for (1.4.3), with their ratios.
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

/// Signs in and shows every part of the console to `judge`.
fn walk(look: Look, name: &str, judge: impl Fn(&Page, &str)) {
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
    let page = Page::console(&server.origin(), look);
    judge(&page, "sign in");
    page.screenshot(&format!("{name}-sign-in"));
    page.sign_in(&ops.id, &ops.secret);
    page.until("document.querySelectorAll('.details section').length === 3");
    page.until("document.querySelector('#card-tokens .line.main').getAttribute('d').includes('L')");
    judge(&page, "overview");
    page.whole_screenshot(&format!("{name}-overview"), look);
    let see = |what: &str| {
        // A dialog appears in a moment.
        page.until("document.getAnimations().every((animation) => animation.playState === 'finished')");
        judge(&page, what);
        page.whole_screenshot(&format!("{name}-{what}"), look);
    };
    for part in ["Clients", "Keys", "Routes", "Audit"] {
        page.go_to(part);
        page.until("document.querySelector('#main table')");
        see(part);
    }
    page.go_to("Clients");
    page.press("Create client…");
    see("new client");
    page.fill(
        "Name",
        "A client with a name that is rather long, as names of clients are now and then",
    );
    page.fill("Audiences", "no uri");
    page.press("Create client");
    page.reads("Audiences must be");
    see("refused");
    page.fill("Audiences", "https://orders.example");
    page.press("Create client");
    page.until("document.querySelector('[data-shown=client_secret]')");
    see("secret");
    page.press("I have stored it");
    page.until("document.querySelector('#main tbody') && finder.button('Save')");
    see("client");
    page.press("Delete…");
    see("question");
    page.press("Delete client");
    page.until("!document.querySelector('dialog') && document.querySelectorAll('#main tbody tr').length === 2");
    page.go_to("Keys");
    page.press("Rotate keys…");
    see("rotate");
    page.press("Rotate keys");
    page.reads("and HS256 keys activate in");
    see("rotated");
    page.assert_clean(&[400]);
}

/// That whatever can be used has a name, and so has every plot.
#[track_caller]
fn assert_named(page: &Page, what: &str) {
    const USED: [&str; 11] = [
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
    let used: Vec<_> = controls
        .iter()
        .filter(|(role, _)| USED.contains(&role.as_str()))
        .collect();
    assert!(used.len() >= 3, "{what}: {controls:?}");
    for (role, name) in used {
        assert!(!name.trim().is_empty(), "{what}: a {role} has no name");
    }
    let headings = page.value("[...document.querySelectorAll('h1')].filter(finder.seen).length");
    assert_eq!(headings, 1, "{what}");
}

#[test]
fn nothing_is_wider_than_a_phone_and_all_has_a_name_for_screen_readers() {
    walk(PHONE, "phone", |page, what| {
        assert_fits(page, what);
        assert_named(page, what);
    });
}

#[test]
fn all_can_be_read_in_the_light() {
    walk(DESKTOP, "desktop", assert_readable);
}

#[test]
fn all_can_be_read_in_the_dark() {
    let look = Look { dark: true, ..DESKTOP };
    walk(look, "dark", |page, what| {
        let ground = page.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(ground, "rgb(14, 19, 17)", "it is dark");
        assert_readable(page, what);
    });
}
