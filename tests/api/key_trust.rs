//! With `keys.encryption_key`, a row of the table of keys is believed only for what an instance
//! with that key wrote: another program that writes there adds no key and changes none.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use mintage::clock::Clock;
use mintage::keys::{KeyEncryptionKey, Signer, SigningKey, StoredKey};
use mintage::oauth::alg::Alg;
use mintage::oauth::claims::AccessTokenClaims;
use mintage::time::UnixMillis;
use serde_json::Value;
use testkit::http::Request;
use testkit::poll::until;
use testkit::sample::ENCRYPTION_KEYS;
use testkit::sqlite::private_keys;
use testkit::token::part;
use testkit::{Program, Server, TestClient};

/// The bytes of the configured encryption key.
const ENCRYPTION_KEY: [u8; 32] = *b"\x9f\x03\xa7\x51\xee\x1c\x88\x42\xb6\x70\x2d\xf9\x14\xc3\x5e\x8b\
    \x07\xd2\x69\xfa\x33\x95\x4c\xe0\x7a\xbd\x11\x86\xcf\x28\x64\x3f";

const JWKS: &str = "/.well-known/jwks.json";

/// How long an instance may take to apply a line of the change log, on a busy machine.
const FEED_TIMEOUT: Duration = Duration::from_secs(30);

const HOUR: i64 = 3_600_000;

/// A program with a migrated database, whose keys the next start encrypts.
fn program() -> Program {
    let key = STANDARD.encode(ENCRYPTION_KEY);
    testkit::program!()
        .with_database()
        .with("MINTAGE_KEYS__ENCRYPTION_KEY", &key)
}

fn sql(program: &Program, statements: &str) {
    let mut conn = testkit::sqlite::connect(&program.database_path());
    conn.batch_execute(statements).unwrap();
}

/// What the change log says after a change of the keys.
fn announce(program: &Program) {
    sql(
        program,
        "INSERT INTO changes (kind, subject, at_ms) VALUES ('keys', '', 0)",
    );
}

/// A key of another installation, or of the attacker.
fn foreign_key(alg: Alg) -> StoredKey {
    SigningKey::generate(alg, UnixMillis(Clock::System.now().0 - HOUR), None).unwrap()
}

/// Writes the row of a key as it is, and announces it.
fn insert(program: &Program, key: &StoredKey) {
    let row = "INSERT INTO signing_keys (kid, alg, private_key, sealed, created_at_ms, activates_at_ms, retires_at_ms)
        VALUES (?, ?, ?, 0, ?, ?, ?)";
    diesel::sql_query(row)
        .bind::<Text, _>(&key.kid)
        .bind::<Text, _>(key.alg.name())
        .bind::<Binary, _>(&key.private[..])
        .bind::<BigInt, _>(key.created_at.0)
        .bind::<BigInt, _>(key.activates_at.0)
        .bind::<Nullable<BigInt>, _>(key.retires_at.map(|at| at.0))
        .execute(&mut testkit::sqlite::connect(&program.database_path()))
        .unwrap();
    announce(program);
}

/// A token with the claims of `token`, signed with `key`.
fn forged(token: &str, key: &StoredKey) -> String {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: AccessTokenClaims = serde_json::from_slice(&payload).unwrap();
    let key = SigningKey::from_stored(key, None).unwrap();
    Signer::new(&key).unwrap().sign(&claims).unwrap()
}

fn admin_token(server: &Server) -> String {
    let client = server.client("mintage:admin", &[]);
    issue(server, &client, "mintage:admin")
}

fn issue(server: &Server, client: &TestClient, scope: &str) -> String {
    server
        .send(&testkit::token::token_request(client, &[("scope", scope)]))
        .access_token()
}

fn status(server: &Server, token: &str) -> u16 {
    server.send(&Request::get("/admin/keys").bearer(token)).status
}

/// The keys as the admin API lists them.
fn listed(server: &Server, token: &str) -> Vec<Value> {
    let answer = server.send(&Request::get("/admin/keys").bearer(token));
    answer.json()["items"].as_array().unwrap().clone()
}

/// The states of all keys, by their number.
fn states(keys: &[Value]) -> Vec<(String, usize)> {
    let mut states = std::collections::BTreeMap::new();
    for key in keys {
        *states.entry(key["state"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    states.into_iter().collect()
}

#[test]
fn a_plain_key_beside_encrypted_ones_is_not_believed() {
    let program = program();
    let mut server = program.serve(&[]);
    let admin = admin_token(&server);
    let foreign = foreign_key(Alg::Es256);
    let forged = forged(&admin, &foreign);
    insert(&program, &foreign);
    server.wait_for_change_feed();
    for restarted in [false, true] {
        if restarted {
            server.stop();
            server = program.serve(&[]);
        }
        assert_eq!((status(&server, &admin), status(&server, &forged)), (200, 401));
        assert!(!server.send(&Request::get(JWKS)).text().contains(&foreign.kid));
        server.wait_for_log(&format!("signing key rejected kid={} reason=plain", foreign.kid));
        let rejected = ("rejected".to_owned(), 1);
        assert!(states(&listed(&server, &admin)).contains(&rejected));
    }
    let lines = program.run(&["key", "list"]);
    assert!(
        lines.done().contains(&format!("rejected  {}", foreign.kid)),
        "{lines:?}"
    );
    let plain = "SELECT count(*) AS value FROM signing_keys WHERE sealed = 0";
    assert_eq!(number(&program, plain), 1);
}

fn number(program: &Program, query: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Number {
        #[diesel(sql_type = BigInt)]
        value: i64,
    }
    let mut conn = testkit::sqlite::connect(&program.database_path());
    let rows: Vec<Number> = diesel::sql_query(query).load(&mut conn).unwrap();
    rows[0].value
}

#[test]
fn a_forged_row_neither_blocks_reloads_nor_rotation() {
    let program = program();
    let server = program.serve(&[]);
    let admin = admin_token(&server);
    // One that is scheduled for the distant future would otherwise postpone every rotation.
    let mut foreign = foreign_key(Alg::Es256);
    foreign.activates_at = UnixMillis(Clock::System.now().0 + 1000 * 24 * HOUR);
    insert(&program, &foreign);
    let broken = StoredKey {
        private: zeroize::Zeroizing::new(b"no key".to_vec()),
        ..foreign_key(Alg::EdDsa)
    };
    insert(&program, &broken);
    server.wait_for_change_feed();
    let rotated = program.run(&["key", "rotate", "--json"]).json();
    assert_eq!(rotated["items"].as_array().unwrap().len(), 5);
    server.wait_for_change_feed();
    let keys = server.send(&Request::get(JWKS)).json()["keys"]
        .as_array()
        .unwrap()
        .len();
    assert_eq!(keys, 8);
    let expected = [("active", 5), ("next", 5), ("rejected", 2)].map(|(state, count)| (state.to_owned(), count));
    assert_eq!(states(&listed(&server, &admin)), expected);
}

#[test]
fn altered_algorithms_and_times_have_no_effect() {
    let program = program();
    let server = program.serve(&[]);
    let admin = admin_token(&server);
    let client = server.client("mintage:read", &[]);
    program.run(&["key", "rotate"]).done();
    server.wait_for_change_feed();
    let before = listed(&server, &admin);
    let (future, past) = (Clock::System.now().0 + 1000 * 24 * HOUR, 1);
    for (number, change) in [
        "alg = 'HS256' WHERE alg = 'ES256'".to_owned(),
        "alg = 'none'".to_owned(),
        format!("created_at_ms = {past}"),
        format!("created_at_ms = {future}"),
        format!("activates_at_ms = {past}"),
        format!("activates_at_ms = {future}"),
        "retires_at_ms = NULL".to_owned(),
        format!("retires_at_ms = {future} WHERE retires_at_ms IS NOT NULL"),
    ]
    .iter()
    .enumerate()
    {
        let original = format!("CREATE TABLE copy_{number} AS SELECT * FROM signing_keys");
        sql(&program, &format!("{original}; UPDATE signing_keys SET {change}"));
        announce(&program);
        server.wait_for_change_feed();
        assert_eq!(listed(&server, &admin), before, "{change}");
        let signed = issue(&server, &client, "mintage:read");
        assert_eq!(part(&signed, 0)["alg"], "HS256", "{change}");
        assert_eq!(status(&server, &signed), 200, "{change}");
        let restore = format!("DELETE FROM signing_keys; INSERT INTO signing_keys SELECT * FROM copy_{number}");
        sql(&program, &restore);
    }
    assert!(server.log().contains("signing key alteration ignored"));
}

#[test]
fn a_key_without_its_attestation_is_not_used() {
    let program = program();
    let server = program.serve(&[]);
    let admin = admin_token(&server);
    let old = "SELECT retires_at_ms AS value FROM signing_keys WHERE alg = 'HS256' AND retires_at_ms IS NOT NULL";
    program.run(&["key", "rotate", "--alg", "HS256"]).done();
    server.wait_for_change_feed();
    assert!(number(&program, old) > 0);
    assert_eq!(status(&server, &admin), 200);
    sql(
        &program,
        "UPDATE signing_keys SET attestation = NULL WHERE alg = 'HS256' AND retires_at_ms IS NOT NULL",
    );
    announce(&program);
    until("the key is rejected", FEED_TIMEOUT, || status(&server, &admin) == 401);
    server.wait_for_log("reason=unattested");
}

#[test]
fn if_all_keys_lose_their_attestations_no_start_attests_them_again() {
    let program = program();
    let mut server = program.serve(&[]);
    let admin = admin_token(&server);
    // The times of the attacker would keep a leaked key.
    sql(
        &program,
        "UPDATE signing_keys SET attestation = NULL, retires_at_ms = NULL",
    );
    announce(&program);
    server.wait_for_log("signing keys not reloaded");
    assert_eq!(clients(&server, &admin), 200);
    server.stop();
    let mut server = program.spawn(&[], &[]);
    assert_ne!(server.exit_code(), Some(0));
    assert!(
        server.log().contains("the stored keys have no attestation"),
        "{}",
        server.log()
    );
    let attested = "SELECT count(*) AS value FROM signing_keys WHERE attestation IS NOT NULL";
    assert_eq!(number(&program, attested), 0);
}

/// The status of a request that needs a token, but no key of the database.
fn clients(server: &Server, token: &str) -> u16 {
    server.send(&Request::get("/admin/clients").bearer(token)).status
}

const VARIABLE: &str = "MINTAGE_KEYS__ENCRYPTION_KEY";

#[test]
fn after_a_re_encryption_all_tokens_stay_valid_and_servers_go_on_until_they_are_restarted() {
    let old = program();
    let new = old.clone().without(VARIABLE).with(VARIABLE, ENCRYPTION_KEYS[1]);
    old.write("old.key", &format!("{}\n", STANDARD.encode(ENCRYPTION_KEY)));
    let mut server = old.serve(&[]);
    let (admin, client) = (admin_token(&server), server.client("mintage:read", &[]));

    let re_encrypt = ["key", "re-encrypt", "--from-file", "old.key"];
    let done = new.run(&re_encrypt);
    assert_eq!(done.done().matches("re-encrypted ").count(), 5, "{done:?}");
    assert!(new.run(&re_encrypt).done().starts_with("Nothing to do"));
    let event = r#""action":"key.re_encrypt""#;
    assert_eq!(new.run(&["audit"]).done().matches(event).count(), 1);
    let decrypts = |key: &KeyEncryptionKey, (kid, private): &(String, Vec<u8>)| key.decrypt(kid, private).is_ok();
    let encryption_key = KeyEncryptionKey::new(&ENCRYPTION_KEY);
    let stored = private_keys(&old.database_path());
    assert!(!stored.iter().any(|key| decrypts(&encryption_key, key)));

    // A server with the old key keeps the keys it has, and publishes none.
    server.wait_for_log("signing keys not reloaded error=");
    assert!(
        server
            .log()
            .contains("keys.encryption_key is not the one that the stored keys were encrypted with")
    );
    assert_eq!((clients(&server, &admin), status(&server, &admin)), (200, 500));
    let issued = issue(&server, &client, "mintage:read");
    assert_eq!(clients(&server, &issued), 200);
    let rotate = Request::post("/admin/keys/rotate").bearer(&admin);
    assert_eq!(server.send(&rotate).status, 500);
    assert!(
        old.run(&["key", "rotate"])
            .failed(1)
            .contains("keys.encryption_key is not the one")
    );
    let mut too_early = old.spawn(&[], &[]);
    assert_ne!(too_early.exit_code(), Some(0));
    assert!(too_early.log().contains("keys.encryption_key is not the one"));

    let restarted = new.serve(&[]);
    for token in [&admin, &issued] {
        assert_eq!((clients(&restarted, token), status(&restarted, token)), (200, 200));
    }
    assert_eq!(states(&listed(&restarted, &admin)), [("active".to_owned(), 5)]);
    let issued = issue(&restarted, &client, "mintage:read");
    assert_eq!((clients(&server, &issued), clients(&restarted, &issued)), (200, 200));
    server.stop();
}

#[test]
fn a_re_encryption_without_the_right_keys_fails_and_changes_nothing() {
    let old = program();
    let server = old.serve(&[]);
    let admin = admin_token(&server);
    let new = old.clone().without(VARIABLE).with(VARIABLE, ENCRYPTION_KEYS[1]);
    old.write("old.key", &STANDARD.encode(ENCRYPTION_KEY));
    old.write("wrong.key", ENCRYPTION_KEYS[0]);
    old.write("no.key", "hunter2");
    let plain = old.clone().without(VARIABLE);
    for (program, file, expected) in [
        (&plain, "old.key", "set keys.encryption_key to the new key"),
        (&new, "wrong.key", "the stored keys were not encrypted with the old key"),
        (&new, "no.key", "the file of --from-file must hold 32 bytes in base64"),
        (&new, "missing.key", "--from-file: cannot read the file that it names"),
    ] {
        let outcome = program.run(&["key", "re-encrypt", "--from-file", file]);
        let line = outcome.failed(1);
        assert!(line.contains(expected) && !line.contains("hunter2"), "{line}");
    }
    assert_eq!(new.run(&["key", "re-encrypt"]).code, Some(2));
    assert_eq!(status(&server, &admin), 200);
    assert!(!server.log().contains("signing keys not reloaded"));
}
