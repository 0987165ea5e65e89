//! [`Site`]: a SQLite database on which servers run one after another, with its client and
//! operator.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::gateway::forwarded;
use testkit::http::{Request, Response};
use testkit::load::{Receipt, received};
use testkit::token::{about_token, beginnings, token_request};
use testkit::{Program, Server, TestClient, eventually};

/// A token response waits until its record is written.
pub const GROUP: (&str, &str) = ("MINTAGE_WRITER__DURABILITY", "group");

/// A folder with a database, a client and an operator.
pub struct Site {
    program: Program,
    database: PathBuf,
    /// Has the scope `orders:read`, which the route `/orders` requires.
    pub client: TestClient,
    operator: TestClient,
    memory: Option<TempDir>,
}

struct Template {
    database: Vec<u8>,
    client: TestClient,
    operator: TestClient,
}

diesel::table! {
    tokens (jti) {
        jti -> Text,
        client_id -> Text,
    }
}

diesel::table! {
    clients (client_id) {
        client_id -> Text,
    }
}

diesel::table! {
    signing_keys (kid) {
        kid -> Text,
        private_key -> Binary,
    }
}

impl Site {
    /// With the given environment variables. Servers log at every level, so that a secret in any
    /// log line is found (G8).
    pub fn new(environment: &[(&str, &str)]) -> Self {
        let site = Self::without_database("sqlite:mintage.db", environment);
        testkit::folder::write_private(&site.database, &template().database);
        site
    }

    /// With its database in memory, which survives the processes as a disk does.
    pub fn in_memory(environment: &[(&str, &str)]) -> Self {
        let memory = TempDir::new_in("/dev/shm").unwrap();
        let mut site = Self::in_folder(memory.path(), environment);
        site.memory = Some(memory);
        site
    }

    /// With its database in another folder.
    pub fn in_folder(folder: &Path, environment: &[(&str, &str)]) -> Self {
        let url = format!("sqlite:{}", folder.join("mintage.db").display());
        let site = Self::without_database(&url, environment);
        testkit::folder::write_private(&site.database, &template().database);
        site
    }

    /// Without a database, and so without client and operator.
    pub fn without_schema(environment: &[(&str, &str)]) -> Self {
        Self::without_database("sqlite:mintage.db", environment)
    }

    fn without_database(url: &str, environment: &[(&str, &str)]) -> Self {
        let program = testkit::program!().on(url, &[environment, &[("RUST_LOG", "trace")]].concat());
        Self {
            database: program.path(url.strip_prefix("sqlite:").unwrap()),
            program,
            client: template().client.clone(),
            operator: template().operator.clone(),
            memory: None,
        }
    }

    /// Starts a server and waits until it is ready.
    pub fn start(&self) -> Server {
        self.program.serve(&[])
    }

    /// Spawns a server, under another program if one is named.
    pub fn spawn(&self, under: &[&str]) -> Server {
        self.program.spawn(under, &[])
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.program.path(name)
    }

    /// Creates another client.
    #[track_caller]
    pub fn new_client(&self) -> TestClient {
        self.program.client("orders:read", &[])
    }

    /// A connection for the test itself.
    pub fn connect(&self) -> SqliteConnection {
        let mut conn = SqliteConnection::establish(self.database.to_str().unwrap()).unwrap();
        conn.batch_execute("PRAGMA busy_timeout = 10000").unwrap();
        conn
    }

    pub fn sql(&self, statements: &str) {
        self.connect().batch_execute(statements).unwrap();
    }

    /// Holds the write lock, as another process may.
    pub fn lock(&self) -> Lock {
        let mut conn = self.connect();
        conn.batch_execute("BEGIN EXCLUSIVE").unwrap();
        Lock { connection: conn }
    }

    /// The ids of the recorded tokens, read without the server's own code.
    pub fn recorded(&self) -> HashSet<String> {
        let ids: Vec<String> = tokens::table.select(tokens::jti).load(&mut self.connect()).unwrap();
        ids.into_iter().collect()
    }

    /// How many tokens of a client are recorded.
    pub fn recorded_of(&self, client: &TestClient) -> i64 {
        let of_client = tokens::table.filter(tokens::client_id.eq(&client.id));
        of_client.count().get_result(&mut self.connect()).unwrap()
    }

    /// The received tokens that are not recorded.
    pub fn unrecorded<'a>(&self, receipts: &'a [Receipt]) -> Vec<&'a Receipt> {
        let recorded = self.recorded();
        let lost = |receipt: &&Receipt| receipt.jti.as_ref().is_some_and(|jti| !recorded.contains(jti));
        receipts.iter().filter(lost).collect()
    }

    /// Asserts that every received token is recorded.
    #[track_caller]
    pub fn assert_all_recorded(&self, receipts: &[Receipt]) {
        let lost = self.unrecorded(receipts).len();
        assert_eq!(lost, 0, "of {} tokens received", received(receipts).len());
    }

    /// Asserts that SQLite finds its file intact.
    #[track_caller]
    pub fn assert_intact(&self) {
        #[derive(QueryableByName)]
        struct Finding {
            #[diesel(sql_type = diesel::sql_types::Text)]
            integrity_check: String,
        }
        let findings: Vec<Finding> = diesel::sql_query("PRAGMA integrity_check")
            .load(&mut self.connect())
            .unwrap();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].integrity_check, "ok");
    }

    /// Asserts that the hashes of the audit log agree, and that it names exactly the clients that
    /// exist, none of which was deleted.
    #[track_caller]
    pub fn assert_audit_log_agrees_with_clients(&self, acknowledged: &[String]) {
        let verified = self.program.run(&["audit", "verify"]);
        assert!(verified.done().contains(" audit lines verified"), "{verified:?}");
        let printed = self.program.run(&["audit"]).stdout;
        let created: HashSet<String> = printed
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .filter(|line| line["action"] == "client.create")
            .map(|line| line["subject"].as_str().unwrap().to_owned())
            .collect();
        let ids: Vec<String> = clients::table
            .select(clients::client_id)
            .load(&mut self.connect())
            .unwrap();
        assert_eq!(created, ids.into_iter().collect());
        assert!(acknowledged.iter().all(|id| created.contains(id)));
    }

    /// Everything that the servers have logged here.
    pub fn logs(&self) -> String {
        self.program.logs()
    }

    /// Asserts that no log contains a token, a client secret or a private key (G8).
    #[track_caller]
    pub fn assert_no_secret_in_logs(&self, receipts: &[Receipt]) {
        use base64::Engine;
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        let logs = self.logs();
        assert!(logs.contains(" server ready clients_warmed="), "there is a log");
        let [header, payload] = beginnings();
        for token in receipts.iter().filter_map(|receipt| receipt.token.as_ref()) {
            assert!(token.starts_with(&header) && token.contains(&format!(".{payload}")));
        }
        // Signatures are added below.
        let mut secrets = vec![
            header,
            payload,
            self.client.secret.clone(),
            self.operator.secret.clone(),
        ];
        let signature = |receipt: &Receipt| Some(receipt.token.as_ref()?.rsplit_once('.')?.1.to_owned());
        secrets.extend(receipts.iter().filter_map(signature).take(100));
        for client in [&self.client, &self.operator] {
            secrets.push(STANDARD.encode(format!("{}:{}", client.id, client.secret)));
        }
        let keys = signing_keys::table.select(signing_keys::private_key);
        for key in keys.load::<Vec<u8>>(&mut self.connect()).unwrap() {
            // A piece from the middle, which is the key itself and not its encoding.
            let piece = &key[key.len() / 2 / 3 * 3..][..12];
            secrets.push(STANDARD.encode(piece));
            secrets.push(URL_SAFE_NO_PAD.encode(piece));
            secrets.push(piece.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        for secret in &secrets {
            assert!(!logs.contains(secret.as_str()), "in a log: {secret}");
        }
    }

    /// A request for a token.
    pub fn token_request(&self, parameters: &[(&str, &str)]) -> Request {
        token_request(&self.client, parameters)
    }

    /// Gets a token.
    #[track_caller]
    pub fn token(&self, server: &Server) -> String {
        server.send(&self.token_request(&[])).access_token()
    }

    #[track_caller]
    pub fn one_time_token(&self, server: &Server) -> String {
        server.send(&self.token_request(&[("one_time", "true")])).access_token()
    }

    pub fn revoke(&self, server: &Server, token: &str) -> Response {
        server.send(&about_token("/revoke", &self.client, token))
    }

    /// Asserts that neither `/introspect` nor `/validate` accepts the token.
    #[track_caller]
    pub fn assert_inactive(&self, server: &Server, token: &str) {
        let introspection = server.send(&about_token("/introspect", &self.client, token));
        assert_eq!(
            (introspection.status, introspection.json()),
            (200, json!({"active": false}))
        );
        assert_eq!(server.send(&forwarded("GET", "/orders").bearer(token)).status, 401);
    }

    #[track_caller]
    pub fn assert_active(&self, server: &Server, token: &str) {
        let introspection = server.send(&about_token("/introspect", &self.client, token));
        assert_eq!(introspection.json()["active"], true, "{}", introspection.text());
        assert_eq!(server.send(&forwarded("GET", "/orders").bearer(token)).status, 200);
    }

    /// An operator whose token stays valid whatever happens to the database.
    pub fn operator<'a>(&self, server: &'a Server) -> Operator<'a> {
        let scope = [("scope", "mintage:admin")];
        let token = server.send(&token_request(&self.operator, &scope)).access_token();
        Operator { server, token }
    }
}

/// The write lock until it is dropped: the connection rolls back when it is closed.
pub struct Lock {
    connection: SqliteConnection,
}

impl Lock {
    /// Runs statements while no one else can write, commits them and releases the lock.
    pub fn commit(mut self, statements: &str) {
        self.connection.batch_execute(statements).unwrap();
        self.connection.batch_execute("COMMIT").unwrap();
    }
}

/// An operator of a running server.
pub struct Operator<'a> {
    server: &'a Server,
    pub token: String,
}

impl Operator<'_> {
    pub fn ask(&self, request: Request) -> Response {
        self.server.send(&request.bearer(&self.token))
    }

    /// The document of `/admin/…/stats`; the request must succeed.
    #[track_caller]
    pub fn statistics(&self, of: &str) -> Value {
        let answer = self.ask(Request::get(&format!("/admin/{of}/stats")));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// A figure of the batch writer.
    #[track_caller]
    pub fn writer(&self, member: &str) -> u64 {
        self.statistics("writer")[member].as_u64().unwrap()
    }

    #[track_caller]
    pub fn wait_until_all_is_written(&self, within: Duration) {
        eventually("everything is written", within, || {
            // While the change log is behind, the operator's token cannot be validated.
            let answer = self.ask(Request::get("/admin/writer/stats"));
            (answer.status == 200 && answer.json()["pending"] == 0).then_some(())
        });
    }
}

/// The initial state of every site, created once, because generating RSA keys takes long.
fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let program = testkit::program!().on("sqlite:mintage.db", &[]);
        program.serve(&[]).stop();
        program.run_json(&["route", "add", "--path", "/orders", "--scope", "orders:read"]);
        let (client, operator) = (program.client("orders:read", &[]), program.client("mintage:admin", &[]));
        let mut conn = SqliteConnection::establish(program.database_path().to_str().unwrap()).unwrap();
        // The keys are older than any clock offset of a test.
        conn.batch_execute("UPDATE signing_keys SET activates_at_ms = created_at_ms - 86400000")
            .unwrap();
        let copy = program.path("template.db");
        // One file without a WAL.
        conn.batch_execute(&format!("VACUUM INTO '{}'", copy.display()))
            .unwrap();
        Template {
            database: std::fs::read(copy).unwrap(),
            client,
            operator,
        }
    })
}
