//! [`TestApp`]: the true server on a port of its own, with a database of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use diesel::prelude::*;
use mintage::api::client_fields::ClientFields;
use mintage::clock::Clock;
use mintage::config::{self, Config, Sources};
use mintage::db::clients::{self, Changed};
use mintage::db::{self, Conn, Db, DbError, migrations};
use mintage::keys::SigningKey;
use mintage::oauth::client::{AuthMethod, Client, ClientId};
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::scope::Scope;
use mintage::oauth::secret_hash::SecretHash;
use mintage::oauth::stored_secret::StoredSecret;
use mintage::random::random_text;
use mintage::server::{Server, ServerError};
use mintage::time::UnixMillis;
use serde_json::Value;
use tempfile::TempDir;

use mintage::server::signals::{Signal, SignalSender, Signals};

use crate::http::{Request, Response};

/// The issuer of every test server; nothing ever connects to it.
pub const ISSUER: &str = "http://127.0.0.1:8080";

/// The audience that a test client may name.
pub const ORDERS: &str = "https://orders.example";

/// How long a server may take to become ready or to stop.
const PATIENCE: Duration = Duration::from_secs(15);

/// A server to be started.
pub struct Setup {
    config: Config,
    clock: Clock,
    directory: TempDir,
}

impl Setup {
    /// With a database that is migrated and has its keys, because making RSA keys takes long.
    pub fn new() -> Self {
        let setup = Self::on_empty_database();
        std::fs::write(setup.database_path(), template()).unwrap();
        setup
    }

    /// With a database that is still to be made.
    pub fn on_empty_database() -> Self {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".into();
        config.server.workers = 2;
        config.server.shutdown_timeout = config::Duration::seconds(5);
        config.database.url = format!("sqlite:{}", directory.path().join("mintage.db").display());
        config.database.pool.min_idle = 1;
        // Tests that are refused on purpose, or poll until they are not, must not be told that it was too often.
        config.limits.auth_failures_per_minute = 0;
        Self {
            config,
            clock: Clock::System,
            directory,
        }
    }

    pub fn configured(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// With a clock that stands until the test moves it.
    pub fn with_mock_clock(mut self) -> Self {
        self.clock = Clock::mock(Clock::System.now());
        self
    }

    /// What its clock says.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    pub fn database_path(&self) -> PathBuf {
        self.directory.path().join("mintage.db")
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> TestApp {
        let app = self.start_unready();
        app.wait_until_ready();
        app
    }

    /// Starts it; it listens, but may not be ready.
    pub fn start_unready(self) -> TestApp {
        let app = Server::bind(self.config.clone(), Sources::default(), self.clock.clone()).unwrap();
        let (address, admin_address) = (app.address(), app.admin_address());
        let (signals, received) = Signals::by_hand();
        let (ready, becomes_ready) = mpsc::channel();
        let run = move || {
            actix_web::rt::System::new().block_on(app.run(received, move || {
                // Nobody waits for a server that a test starts unready.
                let _ = ready.send(());
            }))
        };
        TestApp {
            address,
            admin_address: admin_address.unwrap_or(address),
            db: Db::open(&pool_of_one(&self.config.database)),
            thread: Some(std::thread::spawn(run)),
            becomes_ready: Mutex::new(becomes_ready),
            signals,
            setup: self,
        }
    }
}

fn pool_of_one(database: &config::Database) -> config::Database {
    let mut database = database.clone();
    database.pool.max_size = 1;
    database.pool.min_idle = 0;
    database.query_timeout = config::Duration::seconds(10);
    database
}

/// The database that every test begins with, made once: migrated, with a key for each algorithm.
pub fn template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (working, finished) = (
            directory.path().join("working.db"),
            directory.path().join("finished.db"),
        );
        let database = config::Database {
            url: format!("sqlite:{}", working.display()),
            ..Default::default()
        };
        Db::open(&pool_of_one(&database))
            .run_here(|conn| {
                migrations::up(conn)?;
                // Older than the test, but not so old that it is time for others.
                let made_at = UnixMillis(Clock::System.now().0 - 3_600_000);
                db::signing_keys::complete(conn, made_at, |alg| {
                    Ok(SigningKey::generate(alg, made_at, None).unwrap())
                })?;
                // One file without a log beside it.
                Ok(diesel::sql_query(format!("VACUUM INTO '{}'", finished.display())).execute(conn)?)
            })
            .unwrap();
        std::fs::read(finished).unwrap()
    })
}

/// A running server. Dropped, it must stop in order.
pub struct TestApp {
    pub address: SocketAddr,
    /// Where `/admin` is: the same address unless the configuration says otherwise.
    pub admin_address: SocketAddr,
    db: Db,
    signals: SignalSender,
    becomes_ready: Mutex<mpsc::Receiver<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
    setup: Setup,
}

impl TestApp {
    /// One with the default configuration, for this test alone.
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// One with the default configuration, shared by all tests that only ask and answer.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<TestApp>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let app = Arc::new(Self::start());
            *shared = Arc::downgrade(&app);
            app
        })
    }

    pub fn wait_until_ready(&self) {
        let ready = self.becomes_ready.lock().unwrap().recv_timeout(PATIENCE);
        ready.expect("the server becomes ready");
    }

    pub fn database_path(&self) -> PathBuf {
        self.setup.database_path()
    }

    /// Moves the mock clock.
    pub fn advance(&self, time: Duration) {
        self.setup.clock.advance(time.as_millis() as i64);
    }

    /// Works on the database, as another process would.
    pub fn database<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> T {
        self.db.run_here(work).unwrap()
    }

    /// Runs statements on the database, behind everybody's back.
    pub fn sql(&self, statements: &str) {
        use diesel::connection::SimpleConnection;
        self.sqlite().batch_execute(statements).unwrap();
    }

    /// A connection of the test's own.
    pub fn sqlite(&self) -> SqliteConnection {
        connect(&self.database_path())
    }

    /// Makes a client.
    pub fn client(&self, shape: impl FnOnce(&mut Client)) -> TestClient {
        self.client_with_secret(ClientSecret::generate().reveal(), shape)
    }

    /// Makes a client whose secret is this.
    pub fn client_with_secret(&self, secret: &str, shape: impl FnOnce(&mut Client)) -> TestClient {
        let mut client = new_client(secret);
        shape(&mut client);
        self.database(|conn| clients::insert(conn, &client));
        TestClient {
            id: client.id.to_string(),
            secret: secret.to_owned(),
        }
    }

    /// A client that may have `scope`.
    pub fn client_with_scope(&self, scope: &str) -> TestClient {
        self.client(|client| {
            client.scope = Scope::parse(scope).unwrap();
            client.default_scope = client.scope.without_prefix("mintage:");
        })
    }

    pub fn send(&self, request: Request) -> Response {
        request.send(self.address)
    }

    /// Asks for a token with Basic credentials; `grant_type` is added.
    pub fn ask(&self, client: &TestClient, parameters: &[(&str, &str)]) -> Response {
        self.send(token_request(client, parameters))
    }

    /// Gets a token.
    #[track_caller]
    pub fn issue(&self, client: &TestClient, parameters: &[(&str, &str)]) -> String {
        self.ask(client, parameters).access_token()
    }

    /// Gets a token with this scope, from a client made for it.
    #[track_caller]
    pub fn issue_with_scope(&self, scope: &str) -> String {
        self.issue(&self.client_with_scope(scope), &[("scope", scope)])
    }

    /// The tokens that the database has recorded for a client by now.
    pub fn recorded(&self, client: &TestClient) -> Vec<TokenRow> {
        recorded(&self.database_path(), &client.id)
    }

    /// Asks it to stop; what is left of it, or why it did not stop in order.
    pub fn stop(mut self) -> Result<Stopped, ServerError> {
        self.signals.send(Signal::Stop);
        let ended = self.ended().expect("the server stops when it is asked to");
        ended.map(|()| Stopped(self.take_setup()))
    }

    /// Waits for it to end by itself; why it did.
    pub fn why_it_ends(mut self) -> ServerError {
        let ended = self.ended().expect("the server ends by itself");
        ended.expect_err("the server ends with a reason")
    }

    fn ended(&mut self) -> Option<Result<(), ServerError>> {
        let thread = self.thread.take()?;
        eventually(PATIENCE, || thread.is_finished().then_some(()))?;
        Some(thread.join().unwrap())
    }

    fn take_setup(&mut self) -> Setup {
        std::mem::replace(&mut self.setup, Setup::on_empty_database())
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if self.thread.is_none() {
            return;
        }
        self.signals.send(Signal::Stop);
        let ended = self.ended();
        if !std::thread::panicking() {
            assert_eq!(ended, Some(Ok(())), "the server stops in order");
        }
    }
}

/// A server that has stopped: its database is still there, and it can be started again.
pub struct Stopped(pub Setup);

impl Stopped {
    /// The tokens that the database has recorded for a client.
    pub fn recorded(&self, client: &TestClient) -> Vec<TokenRow> {
        recorded(&self.0.database_path(), &client.id)
    }

    /// Their ids, in order.
    pub fn ids_recorded(&self, client: &TestClient) -> Vec<String> {
        self.recorded(client).into_iter().map(|row| row.jti).collect()
    }
}

/// A client as whoever uses it knows it.
#[derive(Clone)]
pub struct TestClient {
    pub id: String,
    pub secret: String,
}

impl TestClient {
    pub fn id(&self) -> ClientId {
        ClientId::parse(&self.id).unwrap()
    }

    /// The same client with another secret.
    pub fn with_secret(&self, secret: &str) -> Self {
        Self {
            id: self.id.clone(),
            secret: secret.to_owned(),
        }
    }
}

/// A client with both scopes of the examples and an audience, to be shaped further.
pub fn new_client(secret: &str) -> Client {
    let now = Clock::System.now();
    let scope = Scope::parse("orders:read orders:write").unwrap();
    Client {
        id: ClientId::generate(),
        name: "Test".into(),
        enabled: true,
        default_scope: scope.clone(),
        scope,
        audiences: vec![ORDERS.into(), "urn:example:two".into()],
        introspection_audiences: Vec::new(),
        auth_methods: AuthMethod::ALL.to_vec(),
        ttl_seconds: None,
        alg: None,
        secrets: vec![stored(secret)],
        created_at: now,
        updated_at: now,
    }
}

/// A secret that never expires, as it is stored.
pub fn stored(secret: &str) -> StoredSecret {
    StoredSecret {
        id: random_text(16),
        hash: SecretHash::of(&ClientSecret::new(secret.to_owned())),
        created_at: Clock::System.now(),
        expires_at: None,
        last_used: Default::default(),
    }
}

/// A request for a token with Basic credentials.
pub fn token_request(client: &TestClient, parameters: &[(&str, &str)]) -> Request {
    let grant = ("grant_type", "client_credentials");
    Request::post("/token")
        .basic(client)
        .form(&[&[grant], parameters].concat())
}

/// Header (0) or claims (1) of a token, not verified.
pub fn part(token: &str, part: usize) -> Value {
    let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(part).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The claims of a token, not verified.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

/// The id of a token.
pub fn jti(token: &str) -> String {
    claims(token)["jti"].as_str().unwrap().to_owned()
}

diesel::table! {
    tokens (jti) {
        jti -> Text,
        client_id -> Text,
        scope -> Text,
        audience -> Text,
        issued_at -> BigInt,
        expires_at -> BigInt,
        one_time -> Bool,
    }
}

/// What the database says of a token; read here, without the server's own code.
#[derive(Debug, PartialEq, Queryable)]
pub struct TokenRow {
    pub jti: String,
    pub client_id: String,
    pub scope: String,
    pub audience: String,
    pub issued_at: i64,
    pub expires_at: i64,
    pub one_time: bool,
}

/// The recorded tokens of a client, oldest first.
pub fn recorded(database: &Path, client_id: &str) -> Vec<TokenRow> {
    tokens::table
        .filter(tokens::client_id.eq(client_id))
        .order(tokens::jti)
        .load(&mut connect(database))
        .unwrap()
}

diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        private_key -> Binary,
    }
}

/// Every signing key as the database has it: its name and its bytes.
pub fn private_keys(database: &Path) -> Vec<(String, Vec<u8>)> {
    let columns = (signing_keys::kid, signing_keys::private_key);
    signing_keys::table
        .select(columns)
        .load(&mut connect(database))
        .unwrap()
}

fn connect(database: &Path) -> SqliteConnection {
    use diesel::connection::SimpleConnection;
    let mut conn = SqliteConnection::establish(database.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000").unwrap();
    conn
}

/// What `probe` finds, as soon as it finds something; `None` when it does not within the time.
pub fn eventually<T>(within: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Enables or disables a client; `false` when there is none.
pub fn set_enabled(conn: &mut Conn, id: &ClientId, enabled: bool, now: UnixMillis) -> Result<bool, DbError> {
    let fields = ClientFields {
        enabled: Some(enabled),
        ..ClientFields::default()
    };
    let changed = clients::change(conn, id, now, |client| fields.applied_to(client, now))?;
    Ok(matches!(changed, Changed::Done { .. }))
}
