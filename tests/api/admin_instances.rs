//! `/admin` on two instances with one PostgreSQL database: both behave like one server.

use serde_json::{Value, json};

use crate::introspection::is_active;
use crate::operator::{Operator, path_of};
use testkit::app::Setup;
use testkit::http::Request;
use testkit::postgres;
use testkit::{TestApp, TestClient};

fn two_instances() -> [TestApp; 2] {
    let url = postgres::empty().url;
    [(), ()].map(|()| {
        let configured = |config: &mut mintage::config::Config| {
            config.database.url = url.clone();
            config.database.pool.max_size = 4;
        };
        Setup::on_empty_database().configured(configured).start()
    })
}

/// The same operator on each instance.
fn operators(instances: &[TestApp; 2]) -> [Operator<'_>; 2] {
    let first = Operator::of(&instances[0]);
    let second = Operator {
        app: &instances[1],
        client: first.client.with_secret(&first.client.secret),
        token: first.token.clone(),
    };
    [first, second]
}

fn patch_if(operator: &Operator, client: &TestClient, tag: &str, change: &Value) -> u16 {
    let request = Request::new("PATCH", &path_of(client)).header("If-Match", tag);
    operator.send(request.json(change)).status
}

#[test]
fn of_concurrent_updates_on_two_instances_exactly_one_succeeds() {
    let instances = two_instances();
    let operators = operators(&instances);
    let (client, _) = operators[0].create(json!({}));
    for round in 0..10 {
        let shown = operators[round % 2].get(&path_of(&client));
        let tag = shown.header("etag").unwrap();
        let mut statuses: Vec<u16> = std::thread::scope(|scope| {
            let change = |n: usize| {
                patch_if(
                    &operators[n % 2],
                    &client,
                    tag,
                    &json!({"name": format!("{round}-{n}")}),
                )
            };
            let threads: Vec<_> = (0..4).map(|n| scope.spawn(move || change(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412]);
    }
    let events = operators[1].pages("/admin/audit?limit=4").concat();
    let updates = events.iter().filter(|event| event["action"] == "client.update");
    assert_eq!(updates.count(), 10);
}

#[test]
fn a_cursor_of_one_instance_is_valid_on_the_other() {
    let instances = two_instances();
    let operators = operators(&instances);
    for n in 0..3 {
        operators[0].create(json!({"client_id": format!("client-{n}")}));
    }
    let page = operators[0].document("/admin/clients?limit=2");
    let cursor = page["next_cursor"].as_str().unwrap();
    let next = operators[1].document(&format!("/admin/clients?cursor={cursor}"));
    let whole = operators[1].document("/admin/clients");
    let parts = [&page, &next].map(|part| part["items"].as_array().unwrap().clone());
    assert_eq!((json!(parts.concat()), parts[1].len()), (whole["items"].clone(), 2));
}

#[test]
fn g2_a_change_on_one_instance_takes_effect_on_the_other() {
    let instances = two_instances();
    let [first, second] = operators(&instances);
    let (client, created) = first.create(json!({}));
    let token = second.app.issue(&client, &[]);
    let added = first.post(&format!("{}/secrets", path_of(&client)), &json!({})).json();
    let new = client.with_secret(added["client_secret"].as_str().unwrap());
    second.app.wait_for_change_feed();
    second.app.issue(&new, &[]);
    let old = format!(
        "{}/secrets/{}",
        path_of(&client),
        created["secret_id"].as_str().unwrap()
    );
    assert_eq!(first.delete(&old).status, 204);
    second.app.wait_for_change_feed();
    second.app.ask(&client, &[]).assert_invalid_client();
    assert!(is_active(second.app, &new, &token));
    assert_eq!(first.patch(&path_of(&client), &json!({"enabled": false})).status, 200);
    let resource_server = second.app.client_with_scope("mintage:introspect");
    second.app.wait_for_change_feed();
    assert!(!is_active(second.app, &resource_server, &token));
}
