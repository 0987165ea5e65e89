//! [`Cluster`]: a PostgreSQL of a test's own, which it may stop, start again, and make hang.
//!
//! A shell stays with it and does what it reads from a pipe whose other end only this process holds. However the tests
//! end, killed included, the pipe closes; then the shell stops the server and removes the folder.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use mintage::clock::Clock;
use mintage::config;
use mintage::db::{Db, migrations, signing_keys};
use mintage::keys::SigningKey;

use crate::postgres::{free_port, programs, unprivileged_shell};

/// A PostgreSQL server with two databases: `mintage`, which has its schema and its keys, and `empty`.
pub struct Cluster {
    port: AtomicU16,
    keeper: Mutex<Keeper>,
}

/// Its arguments: the folder of the programs, the port, and the folder to copy if there is one.
///
/// A commit is written to the operating system before it is answered, as always; only the disk is not waited for
/// (`fsync = off`), because the machine does not crash here.
const KEEPER: &str = r#"
trap '' PIPE  # or the shell would end at `echo` when nobody listens any more, and leave the server behind
bin=$1 port=$2 template=$3
folder=$(mktemp -d /tmp/mintage-cluster.XXXXXX) || exit
data=$folder/data

processes() { # the first process first, so that it cannot make more of them while they are stopped one by one
    first=$(head -n 1 "$data/postmaster.pid") && echo "$first" &&
        sed -n "/^PPid:\t$first\$/F" /proc/[0-9]*/status 2>/dev/null | cut -d / -f 3
}
signal() { for process in $(processes); do kill -"$1" "$process" 2>/dev/null; done; true; }
start() {
    "$bin/pg_ctl" start --pgdata="$data" --log="$folder/log" --wait --options="-h 127.0.0.1 -p $port \
        -k $folder -c fsync=off -c shared_buffers=16MB -c max_connections=100" >"$folder/start" 2>&1
}
stop() { "$bin/pg_ctl" stop --pgdata="$data" --mode="$1" >/dev/null 2>&1; }

if [ -n "$template" ]; then
    cp -r "$template" "$data"
else
    "$bin/initdb" --pgdata="$data" --username=postgres --auth=trust --no-sync --encoding=UTF8 --locale=C >"$folder/log" 2>&1
fi && start && echo "$data" || { cat "$folder/log" | tr '\n' ' '; echo; }
while read -r command argument; do
    case $command in
        start) start ;;
        elsewhere) port=$argument && start ;;
        stop) stop immediate ;;
        close) stop fast ;;
        hang) signal STOP ;;
        resume) signal CONT ;;
    esac && echo done || { cat "$folder/start" "$folder/log" | tail -n 20 | tr '\n' ' '; echo; }
done
if [ -e "$data/postmaster.pid" ]; then
    signal CONT
    stop immediate
fi
rm -rf "$folder"
"#;

diesel::table! {
    tokens (jti) {
        jti -> Text,
    }
}

struct Keeper {
    _shell: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Keeper {
    /// Starts a server; its keeper and its folder.
    fn start(port: u16, template: &str) -> (Self, String) {
        let programs = programs().expect("PostgreSQL is missing: apt-get install postgresql");
        let mut shell = unprivileged_shell()
            .args(["-c", KEEPER, "keeper"])
            .arg(programs)
            .args([&port.to_string(), template])
            .current_dir("/")
            // Or Ctrl-C would end the keeper before its work is done.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut keeper = Self {
            orders: shell.stdin.take().unwrap(),
            answers: BufReader::new(shell.stdout.take().unwrap()),
            _shell: shell,
        };
        let folder = keeper.answer();
        assert!(folder.starts_with("/tmp/"), "PostgreSQL did not start: {folder}");
        (keeper, folder)
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
        assert_eq!(self.answer(), "done", "{order}");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Cluster {
    pub fn start() -> Self {
        let port = free_port();
        let (keeper, _) = Keeper::start(port, template());
        Self {
            port: AtomicU16::new(port),
            keeper: Mutex::new(keeper),
        }
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.load(Ordering::SeqCst)).into()
    }

    /// The URL of a database, at the address of the server or of a proxy in front of it.
    pub fn url(&self, at: SocketAddr, database: &str) -> String {
        url(at, database)
    }

    /// A connection of the test's own to the database `mintage`.
    pub fn connect(&self) -> PgConnection {
        PgConnection::establish(&url(self.address(), "mintage")).unwrap()
    }

    /// Runs statements on the database `mintage`, without the server's knowledge.
    pub fn sql(&self, statements: &str) {
        self.connect().batch_execute(statements).unwrap();
    }

    /// The ids of all recorded tokens, in order; read here, without the server's own code.
    pub fn recorded(&self) -> Vec<String> {
        tokens::table
            .select(tokens::jti)
            .order(tokens::jti)
            .load(&mut self.connect())
            .unwrap()
    }

    /// The one number that a query answers.
    pub fn number(&self, query: &str) -> i64 {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            number: i64,
        }
        let query = format!("SELECT ({query})::bigint AS number");
        diesel::sql_query(query)
            .get_result::<Row>(&mut self.connect())
            .unwrap()
            .number
    }

    /// Ends it in the middle of whatever it does; connections are refused from now on.
    pub fn stop(&self) {
        self.order("stop");
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.order("start");
    }

    /// Starts it again on another port, as a standby that has all that was committed.
    pub fn start_elsewhere(&self, port: u16) {
        self.order(&format!("elsewhere {port}"));
        self.port.store(port, Ordering::SeqCst);
    }

    /// Stops all its processes where they are: connections are accepted and never answered.
    pub fn hang(&self) {
        self.order("hang");
    }

    /// Lets them go on.
    pub fn resume(&self) {
        self.order("resume");
    }

    /// Ends every connection but this one.
    pub fn end_all_connections(&self) {
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'mintage'");
    }

    fn order(&self, order: &str) {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner).order(order);
    }
}

fn url(at: SocketAddr, database: &str) -> String {
    format!("postgres://postgres@{at}/{database}")
}

/// The folder that every cluster is a copy of, made once: making a cluster and RSA keys takes long.
fn template() -> &'static str {
    static TEMPLATE: OnceLock<(Mutex<Keeper>, String)> = OnceLock::new();
    let (_, folder) = TEMPLATE.get_or_init(|| {
        let port = free_port();
        let (mut keeper, folder) = Keeper::start(port, "");
        let at = ([127, 0, 0, 1], port).into();
        let mut server = PgConnection::establish(&url(at, "postgres")).unwrap();
        for database in ["mintage", "empty"] {
            server.batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
        }
        prepare(url(at, "mintage"));
        keeper.order("close");
        (Mutex::new(keeper), folder)
    });
    folder
}

/// Gives a database its schema and its keys.
fn prepare(url: String) {
    let database = config::Database {
        url,
        ..Default::default()
    };
    let now = Clock::System.now();
    Db::open(&database)
        .run_here(|conn| {
            migrations::up(conn)?;
            signing_keys::complete(conn, now, |alg| Ok(SigningKey::generate(alg, now, None).unwrap()))
        })
        .unwrap();
}
