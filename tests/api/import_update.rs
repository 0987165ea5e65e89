//! `mintage client import --update`: clients that exist are changed to what the file says.

use serde_json::{Value, json};
use testkit::program::Outcome;

use crate::import::{BCRYPT, BCRYPT_SECRET, GENERATED_SECRET, LOW_ENTROPY_SECRET, PBKDF2_SHA256, Site, ask};

const OTHER_SECRET: &str = "9tGuURiEKcKED1t48BwfyWF76VkoyII0";

fn counts(outcome: &Outcome) -> [u64; 4] {
    let report = outcome.json();
    let rejected = report["rejected"].as_array().unwrap().len() as u64;
    let count = |name: &str| report[name].as_u64().unwrap();
    [count("created"), count("updated"), count("unchanged"), rejected]
}

fn update(site: &Site, text: &str) -> [u64; 4] {
    counts(&site.import(text, &["--update", "--json"]))
}

/// The actions of the audit log about a client.
fn actions(site: &Site, id: &str) -> Vec<String> {
    let lines = site.program.run(&["audit"]);
    let lines = lines
        .done()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["subject"] == id)
        .map(|line| line["action"].as_str().unwrap().to_owned())
        .collect()
}

fn show(site: &Site, id: &str) -> Value {
    site.program.run_json(&["client", "show", id])
}

fn secrets(site: &Site, id: &str) -> usize {
    let list = site.program.run_json(&["client", "secret", "list", id]);
    list["items"].as_array().unwrap().len()
}

/// Every kind of secret.
fn file(ttl: &str) -> String {
    let digest = "8d4b0c5e1f7a92c36be0d15f4a7839c2d6e1b5f09c83a7d42e6f1b0c9a5d8e73";
    format!(
        "client_id,scope,secret,secret_hash,ttl_seconds\nplain,a b,{GENERATED_SECRET},,{ttl}\nchosen,a,{LOW_ENTROPY_SECRET},,\nbcrypt,a,,\"{BCRYPT}\",\n\
         pbkdf2,a,,\"{PBKDF2_SHA256}\",\ndigest,a,,sha256:{digest},\n"
    )
}

fn the_same_file_changes_nothing_and_another_one_what_differs(site: &Site) {
    assert_eq!(update(site, &file("")), [5, 0, 0, 0]);
    let logged = site.program.run(&["audit"]).done().lines().count();
    let again = site.import(&file(""), &["--update"]);
    assert!(
        again
            .done()
            .ends_with("unchanged    5\nNothing to import: nothing has changed.\n"),
        "{}",
        again.stdout
    );
    assert_eq!(site.program.run(&["audit"]).done().lines().count(), logged);
    // The first use replaces a hash with a digest, and it is the same secret all the same.
    let mut serving = site.program.serve(&[]);
    assert_eq!(ask(&serving, "bcrypt", BCRYPT_SECRET).status, 200);
    serving.stop();
    assert!(site.hash_of("bcrypt").starts_with("sha256:"));
    let dry = site.import(&file("60"), &["--update", "--json", "--dry-run"]);
    assert_eq!(
        (counts(&dry), show(site, "plain")["ttl_seconds"].clone()),
        ([0, 1, 4, 0], Value::Null)
    );
    assert_eq!(update(site, &file("60")), [0, 1, 4, 0]);
    assert_eq!(update(site, &file("60")), [0, 0, 5, 0]);
    assert_eq!(show(site, "plain")["ttl_seconds"], 60);
    // An empty field is the default again.
    assert_eq!(update(site, &file("")), [0, 1, 4, 0]);
    assert_eq!(show(site, "plain")["ttl_seconds"], Value::Null);
    assert_eq!(
        actions(site, "plain"),
        ["client.import", "client.update", "client.update"]
    );
    for id in ["plain", "chosen", "bcrypt", "pbkdf2", "digest"] {
        assert_eq!(secrets(site, id), 1, "{id}");
    }
}

#[test]
fn on_sqlite_the_same_file_changes_nothing_and_another_one_what_differs() {
    the_same_file_changes_nothing_and_another_one_what_differs(&Site::sqlite());
}

#[test]
fn on_postgres_the_same_file_changes_nothing_and_another_one_what_differs() {
    the_same_file_changes_nothing_and_another_one_what_differs(&Site::postgres());
}

#[test]
fn a_secret_of_the_file_is_added_beside_the_others() {
    let site = Site::sqlite();
    let line = |secret: &str| format!("client_id,scope,secret\norders,a,{secret}\n");
    site.import(&line(GENERATED_SECRET), &[]).done();
    assert_eq!(update(&site, &line(OTHER_SECRET)), [0, 1, 0, 0]);
    assert_eq!(update(&site, &line(GENERATED_SECRET)), [0, 0, 1, 0]);
    assert_eq!(actions(&site, "orders"), ["client.import", "secret.add"]);
    let serving = site.program.serve(&[]);
    for secret in [GENERATED_SECRET, OTHER_SECRET] {
        assert_eq!(ask(&serving, "orders", secret).status, 200);
    }
    // One that was replaced does not come back.
    site.program
        .run(&["client", "secret", "add", "orders", "--others-expire-in", "0s"])
        .done();
    let outcome = site.import(&line(GENERATED_SECRET), &["--update"]);
    assert!(
        outcome.stderr.contains("nothing imported: 1 of 1 client rejected"),
        "{}",
        outcome.stderr
    );
    assert!(
        outcome
            .stdout
            .contains("the client has this secret, and it has expired"),
        "{}",
        outcome.stdout
    );
    assert!(!outcome.stdout.contains(GENERATED_SECRET));
}

#[test]
fn what_the_file_does_not_have_stays() {
    let site = Site::sqlite();
    let hydra = |more: Value| {
        let mut client = json!({
            "client_id": "orders", "grant_types": ["client_credentials"], "scope": "a", "client_secret": GENERATED_SECRET,
        });
        for (name, value) in more.as_object().unwrap() {
            client[name] = value.clone();
        }
        client.to_string()
    };
    let without_scope = || {
        let mut client: Value = serde_json::from_str(&hydra(json!({}))).unwrap();
        client.as_object_mut().unwrap().remove("scope");
        client.to_string()
    };
    const LIFESPAN: &str = "client_credentials_grant_access_token_lifespan";
    site.import(&hydra(json!({})), &[]).done();
    let own = [
        "client",
        "update",
        "orders",
        "--name",
        "Orders",
        "--introspection-audience",
        "urn:a",
        "--ttl",
        "90s",
        "--label",
        "team=x",
    ];
    site.program.run(&own).done();
    site.program.run(&["client", "disable", "orders"]).done();
    assert_eq!(update(&site, &hydra(json!({}))), [0, 0, 1, 0]);
    let empty = json!({"owner": "", "metadata": {}, "client_name": ""});
    assert_eq!(update(&site, &hydra(empty)), [0, 0, 1, 0]);
    assert_eq!(
        update(&site, &hydra(json!({"audience": ["kafka"], LIFESPAN: null}))),
        [0, 1, 0, 0]
    );
    // Neither the scope nor the audience is in the file.
    assert_eq!(update(&site, &without_scope()), [0, 0, 1, 0]);
    let after = show(&site, "orders");
    for (member, value) in [
        ("scope", json!("a")),
        ("labels", json!({"team": "x"})),
        ("name", json!("Orders")),
        ("introspection_audiences", json!(["urn:a"])),
        ("enabled", json!(false)),
        ("audiences", json!(["kafka"])),
        ("ttl_seconds", Value::Null),
    ] {
        assert_eq!(after[member], value, "{member}");
    }
    // An empty scope is none.
    assert_eq!(update(&site, &hydra(json!({"scope": ""}))), [0, 1, 0, 0]);
    assert_eq!(show(&site, "orders")["scope"], "");
}

#[test]
fn an_update_touches_no_client_with_rights_on_this_server_and_is_all_or_nothing() {
    let site = Site::sqlite();
    let new = [
        "client",
        "create",
        "--id",
        "ops",
        "--name",
        "Ops",
        "--scope",
        "mintage:admin",
    ];
    site.program.run(&new).done();
    let text = format!("client_id,scope,secret\nfirst,a,{GENERATED_SECRET}\nops,a,{OTHER_SECRET}\n");
    let outcome = site.import(&text, &["--update"]);
    assert_eq!(outcome.code, Some(1));
    assert!(
        outcome.stdout.contains("the client has rights on this server"),
        "{}",
        outcome.stdout
    );
    assert_eq!(site.clients(), ["ops"]);
    assert_eq!(
        (show(&site, "ops")["scope"].clone(), secrets(&site, "ops")),
        (json!("mintage:admin"), 1)
    );
    // Without --update, a client that exists is rejected as before.
    let outcome = site.import(&text, &["--update", "--skip-refused", "--json"]);
    assert_eq!(counts(&outcome), [1, 0, 0, 1]);
    let outcome = site.import(&text, &[]);
    assert_eq!(outcome.code, Some(1));
    assert_eq!(
        outcome.stdout.matches("a client with this id already exists").count(),
        2
    );
}

/// What was taken away in Keycloak is taken away here; of a file without the client scopes no one
/// knows.
#[test]
fn mappers_that_the_realm_no_longer_has_are_removed() {
    let site = Site::sqlite();
    let realm = |mappers: Value, lifespan: &str, scopes: Value| {
        json!({
            "clients": [{
                "clientId": "billing", "serviceAccountsEnabled": true, "secret": GENERATED_SECRET,
                "defaultClientScopes": ["invoices"], "optionalClientScopes": [],
                "attributes": {"access.token.lifespan": lifespan}, "protocolMappers": mappers,
            }],
            "clientScopes": scopes,
        })
        .to_string()
    };
    let mappers = json!([
        {
            "name": "role", "protocolMapper": "oidc-hardcoded-claim-mapper",
            "config": {
                "claim.name": "role", "claim.value": "admin", "jsonType.label": "String", "access.token.claim": "true",
            },
        },
        {
            "name": "audience", "protocolMapper": "oidc-audience-mapper",
            "config": {"included.custom.audience": "payments", "access.token.claim": "true"},
        },
    ]);
    let scopes = json!([{"name": "invoices", "protocol": "openid-connect"}]);
    let state = || {
        let client = show(&site, "billing");
        ["claims", "audiences", "default_audience", "ttl_seconds"].map(|member| client[member].clone())
    };
    let all = [
        json!({"role": "admin"}),
        json!(["payments"]),
        json!("payments"),
        json!(300),
    ];
    assert_eq!(
        update(&site, &realm(mappers.clone(), "300", scopes.clone())),
        [1, 0, 0, 0]
    );
    assert_eq!(state(), all);
    assert_eq!(update(&site, &realm(json!([]), "300", json!([]))), [0, 0, 1, 0]);
    assert_eq!(state(), all);
    // The client's own mappers are only a part of them.
    let mut other = mappers[1].clone();
    other["config"]["included.custom.audience"] = "ledger".into();
    let mut bare: Value = serde_json::from_str(&realm(json!([other]), "300", json!([]))).unwrap();
    assert_eq!(update(&site, &bare.to_string()), [0, 0, 1, 0]);
    let client = bare["clients"][0].as_object_mut().unwrap();
    for name in ["optionalClientScopes", "defaultClientScopes", "protocolMappers"] {
        client.remove(name);
        assert_eq!(
            update(&site, &json!({"clients": [client]}).to_string()),
            [0, 0, 1, 0],
            "{name}"
        );
    }
    assert_eq!(state(), all);
    assert_eq!(show(&site, "billing")["scope"], "invoices");
    assert_eq!(update(&site, &realm(json!([]), "-1", scopes)), [0, 1, 0, 0]);
    assert_eq!(state(), [Value::Null, json!([]), Value::Null, Value::Null]);
}

/// Each of several password hashes is verified once.
#[test]
fn a_client_with_two_password_hashes_verifies_each_once() {
    let site = Site::sqlite();
    let line = |hash: &str| format!("client_id,scope,secret_hash\norders,a,\"{hash}\"\n");
    let (old, new) = ("chosen-by-a-person", "chosen-by-another");
    for secret in [old, new] {
        let hash = bcrypt::hash(secret, 4).unwrap();
        site.import(&line(&hash), &["--update"]).done();
    }
    let serving = site.program.serve(&[]);
    let verified = || {
        testkit::scrape::Scrape::of(serving.address)
            .value("mintage_password_hash_verifications_total")
            .unwrap()
    };
    for secret in [old, new] {
        assert_eq!(ask(&serving, "orders", secret).status, 200);
    }
    let first = verified();
    for secret in [old, new, old, new] {
        assert_eq!(ask(&serving, "orders", secret).status, 200);
    }
    assert_eq!(verified(), first);
}
