//! The state of a worker that has cached its client, and the steps of issuing a token.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use actix::Arbiter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mintage::actors::batch_writer::{BatchWriterHandle, Recorder};
use mintage::actors::client_cache::{ClientCache, Remembered};
use mintage::clock::Clock;
use mintage::config::{Cache, Database, Writer};
use mintage::db::Db;
use mintage::keys::{Signer, SigningKey};
use mintage::oauth::alg::Alg;
use mintage::oauth::basic::{self, Pair};
use mintage::oauth::claims::{AccessTokenClaims, Audience};
use mintage::oauth::client::{AuthMethod, Client, ClientId};
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::grant::{self, TokenPolicy};
use mintage::oauth::origin::Origin;
use mintage::oauth::request::TokenRequest;
use mintage::oauth::response;
use mintage::oauth::scope::Scope;
use mintage::oauth::secret_hash::SecretHash;
use mintage::oauth::stored_secret::{self, StoredSecret};
use mintage::oauth::token_id::TokenIdSource;
use mintage::records::flush::Sink;
use mintage::time::UnixMillis;

pub const NOW: UnixMillis = UnixMillis(1_700_000_000_000);
pub const BODY: &[u8] = b"grant_type=client_credentials&scope=orders%3Aread";
const ID: &str = "AbCdEfGhIjKlMnOpQrSt";
const ISSUER: &str = "http://127.0.0.1:8080";

/// One worker's part of a server that has cached its client. Records are discarded.
pub struct Warm {
    pub header: Vec<u8>,
    pub cache: ClientCache,
    pub client: Arc<Client>,
    pub policy: TokenPolicy,
    pub ids: TokenIdSource,
    pub signer: Signer,
    pub recorder: Recorder,
}

impl Warm {
    /// Runs `work` on a runtime, which the batch writer needs.
    pub fn with(alg: Alg, work: impl FnOnce(Self)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let db = Db::open(&Database {
            url: format!("sqlite:{}", folder.path().join("bench.db").display()),
            ..Database::default()
        });
        actix::System::new().block_on(async {
            let arbiter = Arbiter::new();
            let settings = Writer {
                max_pending: 100_000_000,
                ..Writer::default()
            };
            let nowhere = || -> Sink { Rc::new(|_, _| Box::pin(async { Ok(()) })) };
            let (writer, _death) = BatchWriterHandle::start(&arbiter.handle(), &settings, Clock::System, 1, nowhere);
            work(Self::new(alg, writer.recorder(db)));
            writer.stop().await;
            arbiter.stop();
        });
    }

    fn new(alg: Alg, recorder: Recorder) -> Self {
        let secret = ClientSecret::generate();
        let client = Arc::new(client(ClientId::parse(ID).expect("an id"), &secret));
        let mut cache = empty_cache();
        cache.remember(client.clone(), NOW);
        Self {
            header: format!("Basic {}", STANDARD.encode(format!("{ID}:{}", secret.reveal()))).into_bytes(),
            cache,
            client,
            policy: TokenPolicy {
                issuer: ISSUER.into(),
                audience: ISSUER.into(),
                admin_audience: format!("{ISSUER}/admin").into(),
                ttl_seconds: 3600,
                one_time_ttl_seconds: 120,
                alg,
                scope_claim: Default::default(),
                typ: Default::default(),
            },
            ids: TokenIdSource::new(),
            signer: signer(alg),
            recorder,
        }
    }

    /// One token, from the bytes of the request to those of the response.
    pub fn issue(&mut self) -> Vec<u8> {
        let Pair { id, secret } = basic::parse(&self.header).expect("credentials").pair;
        let request = TokenRequest::from_form(BODY).expect("a form");
        let Remembered::Known(client) = self.cache.remembered(&id, NOW) else {
            panic!("the client is in the cache");
        };
        assert!(stored_secret::verify(&secret, &client.secrets, NOW).is_some());
        let id = self.ids.next(NOW);
        let claims = grant::client_credentials(&client, &request, &self.policy, NOW, id).expect("a grant");
        let answer = self.answer(&claims);
        self.record(&claims);
        answer
    }

    /// Signs claims and writes the response around the token.
    pub fn answer(&self, claims: &AccessTokenClaims) -> Vec<u8> {
        let sign = |answer: &mut Vec<u8>| self.signer.sign_into(claims, answer);
        response::token(claims.exp - claims.iat, claims.scope.as_str(), sign).expect("a token")
    }

    /// Queues a record. With asynchronous durability, recording never waits, so it is ready at the
    /// first poll.
    pub fn record(&self, claims: &AccessTokenClaims) {
        let recording = pin!(self.recorder.record(claims, origin(), NOW));
        assert!(recording.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}

/// Where the token is issued to.
pub fn origin() -> Origin {
    static SECRET_ID: OnceLock<Arc<str>> = OnceLock::new();
    Origin {
        // Shared with the client, as in the server.
        secret_id: SECRET_ID.get_or_init(|| "AbCdEfGhIjKlMnOp".into()).clone(),
        client_ip: Some(std::net::Ipv4Addr::LOCALHOST.into()),
    }
}

/// A cache that never loads.
pub fn empty_cache() -> ClientCache {
    let no_client = Rc::new(|_| -> futures_util::future::LocalBoxFuture<'static, _> { Box::pin(async { Ok(None) }) });
    ClientCache::new(&Cache::default(), no_client, Rc::new(|| false))
}

pub fn client(id: ClientId, secret: &ClientSecret) -> Client {
    Client {
        id,
        name: "bench".into(),
        enabled: true,
        scope: Scope::parse("orders:read orders:write").expect("a scope"),
        default_scope: Scope::parse("orders:read orders:write").expect("a scope"),
        audiences: vec![],
        introspection_audiences: vec![],
        auth_methods: AuthMethod::ALL.to_vec(),
        ttl_seconds: None,
        alg: None,
        token: Default::default(),
        labels: Default::default(),
        secrets: vec![StoredSecret {
            id: "secret".into(),
            hash: SecretHash::of(secret),
            created_at: NOW,
            expires_at: None,
            last_used: Default::default(),
        }],
        created_at: NOW,
        updated_at: NOW,
    }
}

pub fn claims() -> AccessTokenClaims {
    AccessTokenClaims {
        iss: ISSUER.into(),
        sub: ID.into(),
        aud: Audience::One(ISSUER.into()),
        client_id: ID.into(),
        scope: Scope::parse("orders:read").expect("a scope"),
        iat: NOW.seconds(),
        exp: NOW.seconds() + 3600,
        jti: TokenIdSource::new().next(NOW),
        one_time: false,
        secret_id: None,
        form: Default::default(),
    }
}

pub fn signer(alg: Alg) -> Signer {
    let stored = SigningKey::generate(alg, NOW, None).expect("a key");
    Signer::new(&SigningKey::from_stored(&stored, None).expect("the key")).expect("a signer")
}
