//! The steps of one warm token, each alone in a loop, to be counted by callgrind.
//!
//! Each step is a function that is never inlined: callgrind counts the instructions inside it and
//! not its preparation. [`NAMES`] lists these functions.

use std::hint::black_box;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use aws_lc_rs::{digest, hmac};
use loadtest::floor::MESSAGE;
use mintage::actors::client_cache::{ClientCache, Remembered};
use mintage::oauth::alg::Alg;
use mintage::oauth::claims::AccessTokenClaims;
use mintage::oauth::client::ClientId;
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::request::TokenRequest;
use mintage::oauth::stored_secret;
use mintage::oauth::{basic, grant};

use crate::warm::{self, BODY, NOW, Warm};

/// The function of each step, and its description.
pub const NAMES: [(&str, &str); 10] = [
    ("step_basic", "Basic credentials parsed"),
    ("step_form", "form parsed"),
    (
        "step_cache",
        "client found (the cache alone, without the message to the actor)",
    ),
    ("step_secret", "secret hashed and compared"),
    ("step_digest", "of which SHA-256"),
    ("step_grant", "grant decided, token id generated"),
    ("step_sign", "response written: claims, encoding and signature (HS256)"),
    ("step_hmac", "of which HMAC-SHA-256"),
    ("step_record", "record queued"),
    ("step_ecdsa", "one P-256 signature, for comparison"),
];

/// How often a step is repeated in its loop.
pub const TIMES: u64 = 2000;

/// Runs one step [`TIMES`] times.
pub fn run(name: &str) {
    Warm::with(Alg::Hs256, |mut warm| match name {
        "step_basic" => step_basic(&warm),
        "step_form" => step_form(),
        "step_cache" => step_cache(&mut full_cache(), &ids()),
        "step_secret" => step_secret(&warm, &ClientSecret::generate()),
        "step_digest" => step_digest(),
        "step_grant" => step_grant(&mut warm, &TokenRequest::from_form(BODY).expect("a form")),
        "step_sign" => step_sign(&warm, &warm::claims()),
        "step_hmac" => step_hmac(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), &token(&warm)),
        "step_record" => step_record(&warm, &warm::claims()),
        "step_ecdsa" => step_ecdsa(&EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key")),
        other => panic!("there is no step {other}"),
    });
}

#[inline(never)]
fn step_basic(warm: &Warm) {
    for _ in 0..TIMES {
        black_box(basic::parse(black_box(&warm.header)).expect("credentials"));
    }
}

#[inline(never)]
fn step_form() {
    for _ in 0..TIMES {
        black_box(TokenRequest::from_form(black_box(BODY)).expect("a form"));
    }
}

/// Ids that are the same in every run, so that hash collisions are too.
fn ids() -> Vec<String> {
    (0..1000).map(|number| format!("client{number:014}")).collect()
}

fn token(warm: &Warm) -> String {
    warm.signer.sign(&warm::claims()).expect("a token")
}

fn full_cache() -> ClientCache {
    let mut cache = warm::empty_cache();
    let secret = ClientSecret::new("secret".into());
    for id in ids() {
        let client = warm::client(ClientId::parse(&id).expect("an id"), &secret);
        cache.remember(client.into(), NOW);
    }
    cache
}

#[inline(never)]
fn step_cache(cache: &mut ClientCache, ids: &[String]) {
    for id in ids.iter().cycle().take(TIMES as usize) {
        let found = black_box(cache.remembered(black_box(id), NOW));
        assert!(matches!(found, Remembered::Known(_)));
    }
}

#[inline(never)]
fn step_secret(warm: &Warm, secret: &ClientSecret) {
    for _ in 0..TIMES {
        black_box(stored_secret::verify(black_box(secret), &warm.client.secrets, NOW));
    }
}

#[inline(never)]
fn step_digest() {
    for _ in 0..TIMES {
        black_box(digest::digest(&digest::SHA256, black_box(&[7; 43])));
    }
}

#[inline(never)]
fn step_grant(warm: &mut Warm, request: &TokenRequest) {
    for _ in 0..TIMES {
        let id = warm.ids.next(NOW);
        black_box(grant::client_credentials(
            &warm.client,
            black_box(request),
            &warm.policy,
            NOW,
            id,
        ))
        .expect("a grant");
    }
}

#[inline(never)]
fn step_sign(warm: &Warm, claims: &AccessTokenClaims) {
    for _ in 0..TIMES {
        black_box(warm.answer(black_box(claims)));
    }
}

#[inline(never)]
fn step_hmac(key: &hmac::Key, token: &str) {
    let (message, _) = token.rsplit_once('.').expect("a token has three parts");
    for _ in 0..TIMES {
        black_box(hmac::sign(key, black_box(message.as_bytes())));
    }
}

#[inline(never)]
fn step_record(warm: &Warm, claims: &AccessTokenClaims) {
    for _ in 0..TIMES {
        warm.record(black_box(claims));
    }
}

#[inline(never)]
fn step_ecdsa(key: &EcdsaKeyPair) {
    let random = SystemRandom::new();
    for _ in 0..TIMES {
        black_box(key.sign(&random, black_box(&MESSAGE)).expect("a signature"));
    }
}
