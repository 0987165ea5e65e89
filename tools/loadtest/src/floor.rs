//! The HTTP floor: a bare actix-web handler that parses the form of a token request and responds
//! with a fixed JSON of 700 bytes. No token server on actix-web can cost less. It runs in its own
//! process, as the server does.

use std::rc::Rc;

use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};

/// As long as the signed part of a token.
pub const MESSAGE: [u8; 420] = [b'x'; 420];

/// The form that the floor parses and ignores.
#[derive(serde::Deserialize)]
pub struct TokenForm {
    pub grant_type: Option<String>,
    pub scope: Option<String>,
    pub client_id: Option<String>,
    pub client_secret: Option<String>,
}

/// Serves the floor if this process was started with `--floor=WORKERS`; returns whether it was.
pub fn serve_if_asked() -> bool {
    let workers = std::env::args_os()
        .filter_map(|argument| argument.into_string().ok())
        .find_map(|argument| argument.strip_prefix("--floor=")?.parse().ok());
    workers.map(serve).is_some()
}

/// Serves `/token`, and `/sign` and `/verify`, each of which does that operation in addition.
fn serve(workers: usize) {
    // As long as the response with an ES256 token.
    let json: &'static str = Box::leak(format!("{{\"access_token\":\"{}\"}}", "x".repeat(681)).into_boxed_str());
    assert_eq!(json.len(), 700);
    actix_web::rt::System::new().block_on(async move {
        let server = HttpServer::new(move || {
            let ok = move || HttpResponse::Ok().content_type("application/json").body(json);
            let key = Rc::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"));
            let signature = key.sign(&SystemRandom::new(), &MESSAGE).expect("a signature");
            let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref()).expect("a key");
            let public = Rc::new((public, signature));
            let sign = move |_: web::Form<TokenForm>| {
                std::hint::black_box(key.sign(&SystemRandom::new(), &MESSAGE).expect("a signature"));
                async move { ok() }
            };
            let verify = move |_: web::Form<TokenForm>| {
                public
                    .0
                    .verify_sig(&MESSAGE, public.1.as_ref())
                    .expect("the signature is valid");
                async move { ok() }
            };
            let token = move |_: web::Form<TokenForm>| async move { ok() };
            App::new()
                .route("/token", web::post().to(token))
                .route("/sign", web::post().to(sign))
                .route("/verify", web::post().to(verify))
        });
        let server = server.workers(workers).bind("127.0.0.1:0").expect("a free port");
        eprintln!("server listening url=http://{} (floor)", server.addrs()[0]);
        server.run().await.expect("the floor serves");
    });
}
