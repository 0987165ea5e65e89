//! What an operator may do: a right that one instance has taken away changes nothing on another,
//! however soon the other is asked.

use serde_json::json;
use testkit::TestClient;
use testkit::http::Request;
use testkit::token::token_request;

use crate::trio::Trio;

const ROUNDS: usize = 40;

#[test]
fn g2_a_right_that_was_taken_away_grants_nothing_on_another_instance() {
    let trio = Trio::start();
    let url = trio.cluster.url(trio.cluster.address(), "mintage");
    let ops: TestClient = trio.instances[0].client_at(&url, "mintage:admin", &[]);
    let path = format!("/admin/clients/{}", ops.id);
    let asked = token_request(&ops, &[("scope", "mintage:admin")]);
    let token = trio.instances[0].send(&asked).access_token();
    let own = Request::get("/admin/self").bearer(&token);
    let give = |scope: &str| {
        let change = Request::new("PATCH", &path).json(&json!({ "scope": scope }));
        let changed = trio.instances[0].send(&trio.operator(change));
        assert_eq!(changed.status, 200, "{}", changed.text());
    };
    let mut late = 0;
    for round in 0..ROUNDS {
        trio.assert_soon("the right is back", &own, |answer| answer.status == 200);
        give("x");
        for other in &trio.instances[1..] {
            let backdoor = json!({"name": "n", "client_id": format!("backdoor-{round}"), "scope": "mintage:admin"});
            let created = other.send(&Request::post("/admin/clients").json(&backdoor).bearer(&token));
            assert_eq!(created.status, 403, "{}", created.text());
            let back = Request::new("PATCH", &path).json(&json!({"scope": "mintage:admin"}));
            assert_eq!(other.send(&back.bearer(&token)).status, 403);
            // A read may still be answered for the second until the change log is read.
            late += usize::from(other.send(&own).status == 200);
        }
        trio.assert_soon("the right is gone", &own, |answer| answer.status == 403);
        give("mintage:admin");
    }
    println!("{late} of {} reads came before the change was known", 2 * ROUNDS);
}
