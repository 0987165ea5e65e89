//! The floor: a bare actix-web handler that parses the form of a token request and answers a fixed JSON of 700 bytes.
//! No token server on actix-web can go below it. It runs as a process of its own, as the server does.

use std::rc::Rc;

use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};

/// As long as the part of a token that is signed.
pub const MESSAGE: [u8; 420] = [b'x'; 420];

#[derive(serde::Deserialize)]
#[allow(dead_code, reason = "the floor parses what a token request has and uses none of it")]
struct Form {
    grant_type: Option<String>,
    scope: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
}

/// Serves `/token`, and `/sign` and `/verify`, which do one such operation on top.
pub fn serve(workers: usize) {
    // As long as the answer with an ES256 token, to the byte of the plan: 700.
    let json: &'static str = Box::leak(format!("{{\"access_token\":\"{}\"}}", "x".repeat(681)).into_boxed_str());
    assert_eq!(json.len(), 700);
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            let ok = move || HttpResponse::Ok().content_type("application/json").body(json);
            let key = Rc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"));
            let signature = key.sign(&SystemRandom::new(), &MESSAGE).expect("a signature");
            let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref()).expect("a key");
            let public = Rc::new((public, signature));
            let sign = move |_: web::Form<Form>| {
                std::hint::black_box(key.sign(&SystemRandom::new(), &MESSAGE).expect("a signature"));
                async move { ok() }
            };
            let verify = move |_: web::Form<Form>| {
                public.0.verify_sig(&MESSAGE, public.1.as_ref()).expect("it verifies");
                async move { ok() }
            };
            App::new()
                .route("/token", web::post().to(move |_: web::Form<Form>| async move { ok() }))
                .route("/sign", web::post().to(sign))
                .route("/verify", web::post().to(verify))
        });
        let server = server.workers(workers).bind("127.0.0.1:0").expect("a free port");
        eprintln!("server listening url=http://{}", server.addrs()[0]);
        server.run().await.expect("it serves");
    });
}
