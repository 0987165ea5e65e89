//! [`Cluster`]: a dedicated PostgreSQL server that a test may stop, restart and suspend.
//!
//! A supervising shell executes commands that it reads from a pipe whose other end only this
//! process holds. However the tests end, even by SIGKILL, the pipe closes; then the shell stops the
//! server and removes the folder.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, OnceLock};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use mintage::clock::Clock;
use mintage::config;
use mintage::db::{Db, migrations, signing_keys};
use mintage::keys::SigningKey;
use mintage::mutex::lock;

use crate::port;
use crate::postgres::{programs, unprivileged_shell};

/// A PostgreSQL server with two databases: `mintage`, which has its schema and its keys, and
/// `empty`.
pub struct Cluster {
    port: AtomicU16,
    supervisor: Mutex<Supervisor>,
}

/// The supervising shell. Arguments: the folder of the PostgreSQL programs, the port, and the data
/// folder to copy, or "".
///
/// `fsync = off`: a commit still reaches the operating system before it is acknowledged, and no
/// test crashes the machine.
const SUPERVISOR: &str = r#"
trap '' PIPE  # otherwise `echo` to a closed pipe would end the shell and leave the server running
bin=$1 port=$2 template=$3
folder=$(mktemp -d /tmp/mintage-cluster.XXXXXX) || exit
data=$folder/data

children() { sed -n "/^PPid:\t$1\$/F" /proc/[0-9]*/status 2>/dev/null | cut -d / -f 3; }
signal() { # the postmaster before its children are listed, so that it cannot fork one that is in no list
    first=$(head -n 1 "$data/postmaster.pid") && kill -"$1" "$first" 2>/dev/null
    for process in $(children "$first"); do kill -"$1" "$process" 2>/dev/null; done
    true
}
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

struct Supervisor {
    _shell: Child,
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Supervisor {
    /// Starts a server. Returns its supervising shell and its data folder.
    fn start(port: u16, template: &str) -> (Self, String) {
        let programs = programs().expect("PostgreSQL is missing: apt-get install postgresql");
        let mut shell = unprivileged_shell()
            .args(["-c", SUPERVISOR, "supervisor"])
            .arg(programs)
            .args([&port.to_string(), template])
            .current_dir("/")
            // Otherwise Ctrl-C would end the shell before it has cleaned up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut supervisor = Self {
            commands: shell.stdin.take().unwrap(),
            replies: BufReader::new(shell.stdout.take().unwrap()),
            _shell: shell,
        };
        let folder = supervisor.reply();
        assert!(folder.starts_with("/tmp/"), "PostgreSQL did not start: {folder}");
        (supervisor, folder)
    }

    fn command(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
        assert_eq!(self.reply(), "done", "{command}");
    }

    fn reply(&mut self) -> String {
        let mut line = String::new();
        self.replies.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Cluster {
    pub fn start() -> Self {
        let template = template();
        let port = port::free();
        let (supervisor, _) = Supervisor::start(port, template);
        Self {
            port: AtomicU16::new(port),
            supervisor: Mutex::new(supervisor),
        }
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port.load(Ordering::SeqCst)).into()
    }

    /// The URL of a database, at the address of the server or of a proxy in front of it.
    pub fn url(&self, at: SocketAddr, database: &str) -> String {
        url(at, database)
    }

    /// A separate connection to the database `mintage`.
    pub fn connect(&self) -> PgConnection {
        PgConnection::establish(&url(self.address(), "mintage")).unwrap()
    }

    /// Runs SQL statements on the database `mintage`, bypassing Mintage and the change log.
    pub fn sql(&self, statements: &str) {
        self.connect().batch_execute(statements).unwrap();
    }

    /// The ids of all recorded tokens, in order; read without the code under test.
    pub fn recorded(&self) -> Vec<String> {
        tokens::table
            .select(tokens::jti)
            .order(tokens::jti)
            .load(&mut self.connect())
            .unwrap()
    }

    /// The single number that a query returns.
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

    /// Stops the server immediately, without completing running work. Connections are refused from
    /// now on.
    pub fn stop(&self) {
        self.command("stop");
    }

    /// Restarts the server.
    pub fn start_again(&self) {
        self.command("start");
    }

    /// Restarts the server on another port, as if a standby with all committed data took over.
    pub fn start_elsewhere(&self, port: u16) {
        self.command(&format!("elsewhere {port}"));
        self.port.store(port, Ordering::SeqCst);
    }

    /// Suspends all its processes (SIGSTOP): connections are accepted but get no response.
    pub fn hang(&self) {
        self.command("hang");
    }

    /// Resumes all processes (SIGCONT).
    pub fn resume(&self) {
        self.command("resume");
    }

    /// Terminates every connection to the database.
    pub fn end_all_connections(&self) {
        // Each is waited for: one that is still ending could answer another request.
        self.sql(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND datname = 'mintage'",
        );
    }

    fn command(&self, command: &str) {
        lock(&self.supervisor).command(command);
    }
}

fn url(at: SocketAddr, database: &str) -> String {
    format!("postgres://postgres@{at}/{database}")
}

/// The data folder that every cluster is a copy of. Created once, because `initdb` and generating
/// RSA keys are slow.
fn template() -> &'static str {
    static TEMPLATE: OnceLock<(Mutex<Supervisor>, String)> = OnceLock::new();
    let (_, folder) = TEMPLATE.get_or_init(|| {
        let port = port::free();
        let (mut supervisor, folder) = Supervisor::start(port, "");
        let at = ([127, 0, 0, 1], port).into();
        let mut server = PgConnection::establish(&url(at, "postgres")).unwrap();
        for database in ["mintage", "empty"] {
            server.batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
        }
        prepare(url(at, "mintage"));
        supervisor.command("close");
        (Mutex::new(supervisor), folder)
    });
    folder
}

/// Migrates a database and creates its signing keys.
fn prepare(url: String) {
    let database = config::Database {
        url,
        ..Default::default()
    };
    let now = Clock::System.now();
    Db::open(&database)
        .run_here(|conn| {
            migrations::up(conn)?;
            signing_keys::complete(conn, now, None, |alg| Ok(SigningKey::generate(alg, now, None).unwrap()))
        })
        .unwrap();
}
