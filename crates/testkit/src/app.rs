//! [`TestApp`]: a server in this process, with its own port and database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use diesel::SqliteConnection;
use diesel::connection::SimpleConnection;
use mintage::clock::Clock;
use mintage::config::{self, Config, Sources};
use mintage::db::{Conn, Db, DbError, clients, signing_keys};
use mintage::keys::{Signer, SigningKey};
use mintage::mutex::lock;
use mintage::oauth::alg::Alg;
use mintage::oauth::claims::AccessTokenClaims;
use mintage::oauth::client::{AuthMethod, Client, ClientId};
use mintage::oauth::client_secret::ClientSecret;
use mintage::oauth::scope::Scope;
use mintage::oauth::secret_hash::SecretHash;
use mintage::oauth::stored_secret::StoredSecret;
use mintage::random::random_text;
use mintage::server::signals::{Signal, SignalSender, Signals};
use mintage::server::{Server, ServerError};
use mintage::time::UnixMillis;
use tempfile::TempDir;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::client::TestClient;
use crate::http::{Request, Response};
use crate::program::SERVER_TIMEOUT;
use crate::scrape::wait_for_change_feed;
use crate::sqlite::{TokenRow, recorded, template};
use crate::token::{claims, token_request};
use crate::{folder, poll, sqlite};

/// The issuer of every test server; nothing ever connects to it.
pub const ISSUER: &str = "http://127.0.0.1:8080";

/// The audience of `/admin` at every test server.
pub const ADMIN: &str = "http://127.0.0.1:8080/admin";

/// The audience that a test client may name.
pub const ORDERS: &str = "https://orders.example";

/// A server to be started.
pub struct Setup {
    config: Config,
    clock: Clock,
    directory: TempDir,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// With a database that is migrated and has its keys, because generating RSA keys is slow.
    pub fn new() -> Self {
        let setup = Self::on_empty_database();
        folder::write_private(&setup.database_path(), template());
        setup
    }

    /// With a database that does not exist yet.
    pub fn on_empty_database() -> Self {
        let directory = folder::temporary();
        let mut config = Config::default();
        config.server.listen = "127.0.0.1:0".into();
        config.server.workers = 2;
        // Tests read what was counted, and most have no client that may.
        config.server.open_metrics = true;
        config.server.shutdown_timeout = config::Duration::seconds(5);
        config.database.url = format!("sqlite:{}", directory.path().join("mintage.db").display());
        config.database.pool.min_idle = 1;
        // Tests that fail authentication on purpose, or poll until it succeeds, must not run into
        // the limit.
        config.limits.auth_failures_per_minute = 0;
        Self {
            config,
            clock: Clock::System,
            directory,
        }
    }

    /// With the SQLite database of another server, as a second instance.
    pub fn on_database_of(app: &TestApp) -> Self {
        let url = format!("sqlite:{}", app.database_path().display());
        Self::on_empty_database().configured(|config| config.database.url = url)
    }

    pub fn configured(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// With a clock that stands still until the test advances it.
    pub fn with_mock_clock(mut self) -> Self {
        self.clock = Clock::mock(Clock::System.now());
        self
    }

    /// The time of its clock.
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }

    pub fn database_path(&self) -> PathBuf {
        self.directory.path().join("mintage.db")
    }

    /// Starts the server and waits until it is ready.
    pub fn start(self) -> TestApp {
        let app = self.start_unready();
        app.wait_until_ready();
        app
    }

    /// Starts the server. It listens, but may not be ready.
    pub fn start_unready(self) -> TestApp {
        let app = Server::bind(self.config.clone(), Sources::default(), self.clock.clone()).unwrap();
        let (address, admin_address) = (app.address(), app.admin_address());
        let password_permits = app.password_permits();
        let (signals, received) = Signals::by_hand();
        let (ready, becomes_ready) = mpsc::channel();
        let run = move || {
            actix_web::rt::System::new().block_on(app.run(received, move || {
                // The receiver may be gone: a test that starts a server unready need not wait for
                // it.
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
            password_permits,
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

/// A running server. When dropped, it must stop in an orderly way.
pub struct TestApp {
    pub address: SocketAddr,
    /// Where `/admin` is served: the same address unless the test configures `server.admin_listen`.
    pub admin_address: SocketAddr,
    db: Db,
    signals: SignalSender,
    becomes_ready: Mutex<mpsc::Receiver<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
    password_permits: Arc<Semaphore>,
    setup: Setup,
}

impl TestApp {
    /// A server with the default configuration, for this test alone.
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// A server with the default configuration, shared by all tests that only send requests and
    /// read responses.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<TestApp>> = Mutex::new(Weak::new());
        let mut shared = lock(&SHARED);
        shared.upgrade().unwrap_or_else(|| {
            let app = Arc::new(Self::start());
            *shared = Arc::downgrade(&app);
            app
        })
    }

    pub fn wait_until_ready(&self) {
        let ready = self.becomes_ready.lock().unwrap().recv_timeout(SERVER_TIMEOUT);
        ready.expect("the server becomes ready");
    }

    pub fn database_path(&self) -> PathBuf {
        self.setup.database_path()
    }

    /// Advances the mock clock.
    pub fn advance(&self, time: Duration) {
        self.setup.clock.advance(time.as_millis() as i64);
    }

    /// Makes every verification of a password hash wait until the returned permit is dropped.
    pub fn hold_password_verifications(&self) -> OwnedSemaphorePermit {
        let permits = self.password_permits.clone();
        let all = permits.available_permits();
        permits
            .try_acquire_many_owned(all as u32)
            .expect("no verification runs")
    }

    /// Accesses the database, as another process would.
    pub fn database<T>(&self, work: impl FnOnce(&mut Conn) -> Result<T, DbError>) -> T {
        self.db.run_here(work).unwrap()
    }

    /// See [`wait_for_change_feed`].
    #[track_caller]
    pub fn wait_for_change_feed(&self) {
        wait_for_change_feed(self.admin_address);
    }

    /// Runs SQL statements on the database, bypassing the server and the change log.
    pub fn sql(&self, statements: &str) {
        self.sqlite().batch_execute(statements).unwrap();
    }

    /// A separate connection to the database.
    pub fn sqlite(&self) -> SqliteConnection {
        sqlite::connect(&self.database_path())
    }

    /// Creates a client.
    pub fn client(&self, shape: impl FnOnce(&mut Client)) -> TestClient {
        self.client_with_secret(ClientSecret::generate().reveal(), shape)
    }

    /// Creates a client with the given secret.
    pub fn client_with_secret(&self, secret: &str, shape: impl FnOnce(&mut Client)) -> TestClient {
        let mut client = new_client(secret);
        shape(&mut client);
        self.database(|conn| clients::insert(conn, &client));
        TestClient {
            id: client.id.to_string(),
            secret: secret.to_owned(),
        }
    }

    /// Creates a client that may request `scope`.
    pub fn client_with_scope(&self, scope: &str) -> TestClient {
        self.client(|client| {
            client.scope = Scope::parse(scope).unwrap();
            client.default_scope = client.scope.without_prefix("mintage:");
        })
    }

    pub fn send(&self, request: Request) -> Response {
        request.send(self.address)
    }

    /// Requests a token with Basic credentials; `grant_type` is added.
    pub fn ask(&self, client: &TestClient, parameters: &[(&str, &str)]) -> Response {
        self.send(token_request(client, parameters))
    }

    /// Issues a token.
    #[track_caller]
    pub fn issue(&self, client: &TestClient, parameters: &[(&str, &str)]) -> String {
        self.ask(client, parameters).access_token()
    }

    /// Issues a token with this scope to a client created for it.
    #[track_caller]
    pub fn issue_with_scope(&self, scope: &str) -> String {
        self.issue(&self.client_with_scope(scope), &[("scope", scope)])
    }

    /// The claims of a token that this server issued.
    pub fn claims(&self, token: &str) -> AccessTokenClaims {
        serde_json::from_value(claims(token)).unwrap()
    }

    /// A token with these claims, signed with a key of this server, as an earlier version or an
    /// attacker with the key could issue it.
    pub fn sign(&self, claims: &AccessTokenClaims) -> String {
        let stored = self
            .database(|conn| signing_keys::list(conn, None))
            .keys
            .into_iter()
            .find(|key| key.alg == Alg::Hs256);
        let key = SigningKey::from_stored(&stored.unwrap(), None).unwrap();
        Signer::new(&key).unwrap().sign(claims).unwrap()
    }

    /// The token records of a client that are in the database so far.
    pub fn recorded(&self, client: &TestClient) -> Vec<TokenRow> {
        recorded(&self.database_path(), &client.id)
    }

    /// Stops the server. Returns what is needed to restart it, or why it did not stop in an orderly
    /// way.
    pub fn stop(mut self) -> Result<Stopped, ServerError> {
        self.signals.send(Signal::Stop);
        let ended = self.ended().expect("the server stops when it receives the signal");
        ended.map(|()| Stopped(self.take_setup()))
    }

    /// Stops the server in an orderly way and starts it again on the same database.
    #[track_caller]
    pub fn restart(self) -> Self {
        self.stop().unwrap().0.start()
    }

    /// Waits until the server exits without a signal. Returns the error.
    pub fn why_it_ends(mut self) -> ServerError {
        let ended = self.ended().expect("the server exits without a signal");
        ended.expect_err("the server exits with an error")
    }

    fn ended(&mut self) -> Option<Result<(), ServerError>> {
        let thread = self.thread.take()?;
        poll::found(SERVER_TIMEOUT, || thread.is_finished().then_some(()))?;
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
            assert_eq!(ended, Some(Ok(())), "the server stops in an orderly way");
        }
    }
}

/// A stopped server: its database still exists, and it can be started again.
pub struct Stopped(pub Setup);

impl Stopped {
    /// The token records of a client in the database.
    pub fn recorded(&self, client: &TestClient) -> Vec<TokenRow> {
        recorded(&self.0.database_path(), &client.id)
    }

    /// The ids of these tokens, in order.
    pub fn ids_recorded(&self, client: &TestClient) -> Vec<String> {
        self.recorded(client).into_iter().map(|row| row.jti).collect()
    }
}

/// A client with both example scopes and two audiences, to be adapted by the test.
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
        token: Default::default(),
        labels: Default::default(),
        secrets: vec![stored(secret)],
        created_at: now,
        updated_at: now,
    }
}

/// A secret that never expires, as it is stored.
pub fn stored(secret: &str) -> StoredSecret {
    StoredSecret {
        id: random_text(16).into(),
        hash: SecretHash::of(&ClientSecret::new(secret.to_owned())),
        created_at: Clock::System.now(),
        expires_at: None,
        last_used: Default::default(),
    }
}
