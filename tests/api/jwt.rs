//! Access tokens (P27 to P30; RFC 9068), verified as a resource server does: with the published
//! keys only.

use std::collections::HashSet;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode_header};
use mintage::oauth::alg::Alg;
use mintage::random::random_text;
use serde_json::{Value, json};
use testkit::TestApp;
use testkit::app::{ISSUER, ORDERS, Setup};
use testkit::http::Request;
use testkit::sqlite::private_keys;
use testkit::token::{claims, jti, part};

const PUBLISHED: [Alg; 4] = [Alg::Es256, Alg::EdDsa, Alg::Rs256, Alg::Ps256];

fn jwks(app: &TestApp) -> Value {
    app.send(Request::get("/.well-known/jwks.json")).json()
}

/// Verifies a token as a resource server does, which knows only the issuer and its own audience.
fn verify(app: &TestApp, token: &str, audience: &str) -> TokenData<Value> {
    let header = decode_header(token).unwrap();
    let keys: JwkSet = serde_json::from_value(jwks(app)).unwrap();
    let jwk = keys
        .find(header.kid.as_deref().unwrap())
        .expect("the kid is in the JWKS");
    let mut validation = Validation::new(header.alg);
    validation.leeway = 0;
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    jsonwebtoken::decode(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation).unwrap()
}

fn issue_with(app: &TestApp, alg: Alg) -> String {
    app.issue(&app.client(|client| client.alg = Some(alg)), &[("resource", ORDERS)])
}

/// RFC 7638 §3: SHA-256 of the required members in the order of their names, without white space.
fn thumbprint(jwk: &Value) -> String {
    let required: &[&str] = match jwk["kty"].as_str().unwrap() {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        other => panic!("not a public key type: {other}"),
    };
    let members: Vec<String> = required
        .iter()
        .map(|name| format!("\"{name}\":{}", jwk[name]))
        .collect();
    let text = format!("{{{}}}", members.join(","));
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
}

#[test]
fn p27_the_header_has_only_typ_alg_and_a_published_kid() {
    let app = TestApp::shared();
    for alg in PUBLISHED {
        let header = part(&issue_with(&app, alg), 0);
        let keys = jwks(&app);
        let key = keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["kid"] == header["kid"])
            .unwrap();
        assert_eq!(header, json!({"typ": "at+jwt", "alg": alg.name(), "kid": key["kid"]}));
        assert_eq!(key["kid"], thumbprint(key));
        assert_eq!(key["alg"], alg.name());
    }
}

#[test]
fn p28_the_claims_are_exactly_those_of_the_jwt_profile() {
    let app = TestApp::shared();
    let client = app.client(|_| {});
    let token = app.issue(&client, &[("scope", "orders:read"), ("resource", ORDERS)]);
    let claims = verify(&app, &token, ORDERS).claims;
    let (iat, id) = (claims["iat"].as_i64().unwrap(), claims["jti"].as_str().unwrap());
    assert_eq!(
        claims,
        json!({"iss": ISSUER, "sub": client.id, "client_id": client.id, "aud": ORDERS, "scope": "orders:read",
            "iat": iat, "exp": iat + 3600, "jti": id})
    );
    let now = jsonwebtoken::get_current_timestamp() as i64;
    assert!((now - 60..=now).contains(&iat));
}

#[test]
fn p28_a_client_id_with_json_special_characters_is_preserved() {
    let app = TestApp::shared();
    let id = format!("a\"b\\c</script> {}", random_text(8));
    let client = app.client(|client| client.id = mintage::oauth::client::ClientId::parse(&id).unwrap());
    let token = app.issue(&client, &[]);
    assert_eq!(verify(&app, &token, ISSUER).claims["sub"], id);
}

#[test]
fn p29_a_resource_server_can_verify_every_published_algorithm() {
    let app = TestApp::shared();
    for alg in PUBLISHED {
        let verified = verify(&app, &issue_with(&app, alg), ORDERS);
        assert_eq!(verified.claims["aud"], ORDERS);
        assert_eq!(
            format!("{:?}", verified.header.alg).to_uppercase(),
            alg.name().to_uppercase()
        );
    }
}

#[test]
fn p29_the_default_algorithm_is_es256_and_can_be_configured() {
    let app = TestApp::shared();
    assert_eq!(part(&app.issue(&app.client(|_| {}), &[]), 0)["alg"], "ES256");
    let configured = Setup::new()
        .configured(|config| config.token.alg = "EdDSA".into())
        .start();
    let of_server = configured.issue(&configured.client(|_| {}), &[]);
    assert_eq!(verify(&configured, &of_server, ISSUER).header.alg, Algorithm::EdDSA);
    let of_client = issue_with(&configured, Alg::Ps256);
    assert_eq!(verify(&configured, &of_client, ORDERS).header.alg, Algorithm::PS256);
}

#[test]
fn p29_an_hs256_key_has_at_least_256_bits_and_is_never_published() {
    let app = TestApp::shared();
    let token = issue_with(&app, Alg::Hs256);
    let header = part(&token, 0);
    assert_eq!(header["alg"], "HS256");
    let published = jwks(&app);
    let keys = published["keys"].as_array().unwrap();
    assert!(
        keys.iter()
            .all(|key| key["kid"] != header["kid"] && key["kty"] != "oct" && key["alg"] != "HS256")
    );
    let (kid, key) = private_keys(&app.database_path())
        .into_iter()
        .find(|(kid, _)| header["kid"] == kid.as_str())
        .unwrap();
    assert!(key.len() >= 32, "{kid}");
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&[ORDERS]);
    jsonwebtoken::decode::<Value>(&token, &DecodingKey::from_secret(&key), &validation).unwrap();
    let text = published.to_string();
    assert!(!text.contains(&URL_SAFE_NO_PAD.encode(&key)) && !text.contains(&STANDARD.encode(&key)));
}

#[test]
fn p29_every_algorithm_works_from_the_first_start() {
    let app = Setup::on_empty_database().start();
    assert_eq!(jwks(&app)["keys"].as_array().unwrap().len(), 4);
    for alg in PUBLISHED {
        verify(&app, &issue_with(&app, alg), ORDERS);
    }
    assert_eq!(part(&issue_with(&app, Alg::Hs256), 0)["alg"], "HS256");
}

#[test]
fn p29_keys_survive_a_restart() {
    let app = TestApp::start();
    let token = issue_with(&app, Alg::Es256);
    let before = jwks(&app);
    let app = app.restart();
    assert_eq!(jwks(&app), before);
    verify(&app, &token, ORDERS);
}

#[test]
fn p30_token_ids_are_unique_across_restarts() {
    let mut seen = HashSet::new();
    let mut app = TestApp::start();
    let client = app.client(|_| {});
    for _ in 0..2 {
        for _ in 0..200 {
            assert!(seen.insert(jti(&app.issue(&client, &[]))));
        }
        app = app.restart();
    }
    assert_eq!(app.recorded(&client).len(), 400);
}

#[test]
fn p30_a_token_id_cannot_be_predicted_from_the_previous_one() {
    let app = Setup::new()
        .with_mock_clock()
        .configured(|config| config.server.workers = 1)
        .start();
    let client = app.client(|_| {});
    // The clock stands still, so only the random bits differ.
    let ids: Vec<u128> = (0..64).map(|_| number(&jti(&app.issue(&client, &[])))).collect();
    let mut ever_differed = 0;
    for pair in ids.windows(2) {
        let differing = (pair[0] ^ pair[1]).count_ones();
        assert!(differing >= 12, "only {differing} of 74 random bits differ");
        ever_differed |= pair[0] ^ pair[1];
    }
    assert_eq!(ever_differed.count_ones(), 74);
}

#[test]
fn p30_a_token_id_is_a_version_7_uuid_of_the_issue_time() {
    let app = TestApp::shared();
    let token = app.issue(&app.client(|_| {}), &[]);
    let id = number(&jti(&token));
    assert_eq!(((id >> 76) & 0xf, (id >> 62) & 0b11), (7, 0b10));
    assert_eq!((id >> 80) as i64 / 1000, claims(&token)["iat"].as_i64().unwrap());
}

fn number(uuid: &str) -> u128 {
    assert_eq!(uuid.len(), 36);
    u128::from_str_radix(&uuid.replace('-', ""), 16).unwrap()
}

#[test]
fn private_keys_are_encrypted_if_an_encryption_key_is_configured() {
    let encryption_key = testkit::sample::ENCRYPTION_KEYS[0];
    let app = Setup::on_empty_database()
        .configured(|config| config.keys.encryption_key = encryption_key.to_owned().into())
        .start();
    verify(&app, &issue_with(&app, Alg::Rs256), ORDERS);
    for (kid, private) in private_keys(&app.database_path()) {
        for algorithm in [Alg::Es256, Alg::EdDsa, Alg::Rs256] {
            let identifier = pkcs8_identifier(algorithm);
            assert!(
                !private.windows(identifier.len()).any(|window| window == identifier),
                "{kid}"
            );
        }
    }
    let without_key = app
        .stop()
        .unwrap()
        .0
        .configured(|config| config.keys.encryption_key = String::new().into());
    let reason = without_key.start_unready().why_it_ends().to_string();
    assert!(reason.contains("keys.encryption_key"), "{reason}");
}

/// The object identifier of the key type, which every unencrypted PKCS#8 document contains.
fn pkcs8_identifier(alg: Alg) -> &'static [u8] {
    match alg {
        Alg::Es256 => &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01],
        Alg::EdDsa => &[0x06, 0x03, 0x2b, 0x65, 0x70],
        _ => &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01],
    }
}
