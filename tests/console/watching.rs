//! The overview: live plots of the metrics of the server.

use testkit::token::token_request;
use testkit::{Server, TestClient, eventually};

use crate::TIMEOUT;
use crate::page::{DESKTOP, Page};

fn overview() -> (Server, TestClient, Page) {
    // The plot of token errors needs more failures per minute than the default limit allows.
    // Its metrics need a token, as by default.
    let server = crate::start_with(&[
        ("MINTAGE_LIMITS__AUTH_FAILURES_PER_MINUTE", "0"),
        ("MINTAGE_SERVER__OPEN_METRICS", "false"),
    ]);
    let ops = server.client_with_id("ops", "mintage:admin", &[]);
    let demo = server.client_with_id("demo", "orders:read", &[]);
    let page = Page::console(&server.origin(), DESKTOP);
    page.sign_in(&ops.id, &ops.secret);
    page.until("document.querySelector('#card-tokens .line.main').getAttribute('d').includes('L')");
    (server, demo, page)
}

/// The highest point of a line, in percent of the plot.
fn height(page: &Page, card: &str, line: &str) -> f64 {
    let path = page.value(&format!(
        "document.querySelector('#card-{card} .line.{line}').getAttribute('d')"
    ));
    let numbers: Vec<f64> = path
        .as_str()
        .unwrap()
        .split(['M', 'L', ' '])
        .filter_map(|number| number.trim_end_matches("h0").parse().ok())
        .collect();
    let lowest = numbers.chunks(2).map(|point| point[1]).fold(f64::INFINITY, f64::min);
    95.0 - lowest
}

#[test]
fn tokens_and_token_errors_appear_in_the_plots() {
    let (server, demo, page) = overview();
    eventually("the plot is flat", TIMEOUT, || {
        (height(&page, "tokens", "main") < 95.0).then_some(())
    });
    eventually("the plots rise", TIMEOUT, || {
        server.token(&demo, "orders:read", &[]);
        let denied = server.send(&token_request(&demo.with_secret("wrong"), &[]));
        assert_eq!(denied.status, 401);
        let rise = ["main", "bad"].map(|line| height(&page, "tokens", line));
        (rise.iter().all(|rise| *rise > 10.0) && height(&page, "latency", "third") > 5.0).then_some(())
    });
    page.until("document.querySelector('#card-tokens svg').getAttribute('aria-label').startsWith('Tokens issued: ')");
    page.until("/\\d+ clients? cached/.test(document.getElementById('card-hit-rate').textContent)");
    page.assert_clean(&[]);
}

/// The same numbers as in the tests of `mintage stats`.
#[test]
fn rates_are_computed_between_two_scrapes() {
    let server = crate::start();
    let page = Page::console(&server.origin(), DESKTOP);
    let evaluate = |expression: &str| {
        page.value(&format!(
            "import('/console/scrape.js').then(({{ read, between, quantile }}) => {expression})"
        ))
    };
    let tokens = |es256, rs256| {
        format!(
            "read('mintage_tokens_issued_total{{alg=\"ES256\"}} {es256}\\nmintage_tokens_issued_total{{alg=\"RS256\"}} {rs256}\\n')"
        )
    };
    let (before, now) = (tokens(10, 1), tokens(14, 3));
    assert_eq!(evaluate(&format!("between({before}, {now}, 2).tokens")), 3);
    let restarted = evaluate(&format!("between({now}, {before}, 2).tokens"));
    assert_eq!(restarted, 5.5, "counters restart from zero after a restart");
    let lookups = |hits, misses| {
        format!("read('mintage_client_cache_hits_total {hits}\\nmintage_client_cache_misses_total {misses}')")
    };
    let rate = |before: &str, now: &str| evaluate(&format!("between({before}, {now}, 1).hitRate"));
    assert_eq!(rate(&lookups(0, 100), &lookups(9, 101)), 0.9);
    assert_eq!(rate(&lookups(7, 7), &lookups(7, 7)), serde_json::Value::Null);
    let buckets = "[[0.1, 0], [0.2, 10], [0.4, 20], [Infinity, 20]].map(([bound, count]) => ({ bound, count }))";
    for (q, expected) in [(0.25, 0.15), (0.5, 0.2), (0.75, 0.3), (1.0, 0.4)] {
        let found = evaluate(&format!("quantile({buckets}, {q})")).as_f64().unwrap();
        assert!((found - expected).abs() < 1e-9, "{q}: {found}");
    }
    let late = "[{ bound: 0.1, count: 1 }, { bound: Infinity, count: 4 }]";
    assert_eq!(evaluate(&format!("quantile({late}, 0.9)")), 0.1);
}

#[test]
fn every_part_of_the_server_is_shown_with_its_statistics() {
    let (_server, _, page) = overview();
    page.until("document.querySelectorAll('.details section').length === 3");
    for (card, shows) in [
        ("requests", "/s"),
        ("writer", "oldest"),
        ("pool", " of "),
        ("breaker", "closed"),
        ("revocations", "0"),
    ] {
        assert!(page.text_of(&format!("#card-{card}")).contains(shows), "{card}");
    }
    assert!(page.text_of(".details").contains("sqlite"));
    assert_eq!(page.text_of("#state"), "Ready");
    page.assert_clean(&[]);
}

#[test]
fn plots_move_until_they_are_paused() {
    let (_server, _, page) = overview();
    const PLACE: &str = "document.querySelector('#card-tokens g').getAttribute('transform')";
    let place = || page.value(PLACE);
    let first = place();
    eventually("the plot moves", TIMEOUT, || (place() != first).then_some(()));
    page.press("Pause");
    let paused = page.value(&format!("new Promise((done) => setTimeout(() => done({PLACE}), 300))"));
    let later = page.value(&format!("new Promise((done) => setTimeout(() => done({PLACE}), 1500))"));
    assert_eq!(paused, later);
    page.press("Resume");
    eventually("the plot moves again", TIMEOUT, || (place() != later).then_some(()));
}

#[test]
fn with_reduced_motion_the_plots_move_in_steps_of_a_second() {
    let (_server, _, page) = overview();
    page.media("prefers-reduced-motion", "reduce");
    let places = page.value(
        "new Promise((done) => { const places = new Set(); const look = () => places.add(\
         document.querySelector('#card-tokens g').getAttribute('transform')); const timer = setInterval(look, 20); \
         setTimeout(() => { clearInterval(timer); done(places.size); }, 3000); })",
    );
    let places = places.as_u64().unwrap();
    assert!((2..=6).contains(&places), "{places} positions in three seconds");
}

#[test]
fn a_past_moment_is_selected_with_the_keyboard() {
    let (_server, _, page) = overview();
    page.tab_to("document.getElementById('back')");
    page.key("ArrowLeft");
    page.key("ArrowLeft");
    page.until("document.querySelector('output[for=back]').textContent === '2 s ago'");
    page.until("document.querySelector('#card-tokens .mark').getAttribute('d').startsWith('M118.00 ')");
    assert_eq!(
        page.value("document.getElementById('back').getAttribute('aria-valuetext')"),
        "2 s ago"
    );
}

#[test]
fn an_unreachable_server_is_reported_until_it_responds_again() {
    let (server, _, page) = overview();
    server.signal("STOP");
    page.reads("The server does not respond. Check that it is running and can be reached from here.");
    assert_eq!(page.text_of("#state"), "No response");
    server.signal("CONT");
    page.until("document.getElementById('state').textContent === 'Ready'");
    page.until("!document.body.innerText.includes('does not respond')");
}
