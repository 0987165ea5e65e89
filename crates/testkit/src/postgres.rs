//! A real PostgreSQL server for the tests of one binary: started once, in a new folder, removed
//! when the binary ends.
//!
//! A supervising shell reads a pipe whose other end only this process holds. However the tests end,
//! even by SIGKILL, the pipe closes; then the shell stops the server and removes the folder.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::{Connection, PgConnection, RunQueryDsl};
use mintage::config;

use crate::port;

/// Creates an empty database. Returns the settings to connect to it.
pub fn empty() -> config::Database {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let server = server();
    let mut admin = PgConnection::establish(&server.url("postgres")).unwrap();
    diesel::sql_query(format!("CREATE DATABASE {name}"))
        .execute(&mut admin)
        .unwrap();
    let mut settings = config::Database {
        url: server.url(&name),
        ..Default::default()
    };
    (settings.pool.max_size, settings.pool.min_idle) = (4, 1);
    settings
}

struct Server {
    port: u16,
    /// The supervising shell. Its standard input is the pipe.
    _supervisor: Child,
}

impl Server {
    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    match SERVER.get_or_init(start) {
        Ok(server) => server,
        Err(reason) => panic!("{reason}"),
    }
}

/// Options of the server. A benchmark that needs others than the tests sets them before it creates
/// the first database.
pub static SETTINGS: OnceLock<&str> = OnceLock::new();

/// The supervising shell. Arguments: the folder of the PostgreSQL programs and the port. The locale
/// is ICU en-US because the sort order must not depend on the locale of the server; with locale C,
/// a missing `COLLATE` would go unnoticed.
const SUPERVISOR: &str = r#"
trap '' PIPE  # otherwise `echo` to a closed pipe would end the shell and leave the server running
bin=$1 port=$2
folder=$(mktemp -d /tmp/mintage-postgres.XXXXXX) || exit
if "$bin/initdb" --pgdata="$folder/data" --username=postgres --auth=trust --no-sync \
        --encoding=UTF8 --locale=C --locale-provider=icu --icu-locale=en-US >"$folder/log" 2>&1 &&
    "$bin/pg_ctl" start --pgdata="$folder/data" --log="$folder/log" --wait --options="-h 127.0.0.1 -p $port \
        -k $folder -c max_connections=80 $SETTINGS" >"$folder/start" 2>&1
then
    echo ready
    cat >/dev/null
    "$bin/pg_ctl" stop --pgdata="$folder/data" --mode=immediate >/dev/null 2>&1
else
    cat "$folder/log"
fi
rm -rf "$folder"
"#;

fn start() -> Result<Server, String> {
    const ATTEMPTS: usize = 5;
    let programs = programs().ok_or("PostgreSQL is missing: apt-get install postgresql")?;
    // Another process may take a port before the server binds it.
    let taken = |outcome: &Result<_, String>| {
        outcome
            .as_ref()
            .is_err_and(|log| log.contains("Address already in use"))
    };
    (1..ATTEMPTS)
        .map(|_| start_on(port::free(), &programs))
        .find(|outcome| !taken(outcome))
        .unwrap_or_else(|| start_on(port::free(), &programs))
}

fn start_on(port: u16, programs: &Path) -> Result<Server, String> {
    let mut command = unprivileged_shell();
    command
        .args(["-c", SUPERVISOR, "supervisor"])
        .arg(programs)
        .arg(port.to_string());
    let supervisor = until_ready(&mut command)?;
    Ok(Server {
        port,
        _supervisor: supervisor,
    })
}

/// Starts a supervising shell and waits for its `ready`. The error is its output.
pub(crate) fn until_ready(command: &mut Command) -> Result<Child, String> {
    let mut supervisor = command
        .current_dir("/")
        // Otherwise Ctrl-C would end the shell before it has cleaned up.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("PostgreSQL cannot be started: {error}"))?;
    let mut output = BufReader::new(supervisor.stdout.take().expect("it is piped"));
    let mut first = String::new();
    output.read_line(&mut first).map_err(|error| error.to_string())?;
    if first == "ready\n" {
        return Ok(supervisor);
    }
    output.read_to_string(&mut first).map_err(|error| error.to_string())?;
    let _ = supervisor.wait();
    Err(format!("PostgreSQL did not start: {first}"))
}

/// PostgreSQL refuses to run as root.
pub fn unprivileged_shell() -> Command {
    let mut shell = shell();
    shell.env(
        "SETTINGS",
        SETTINGS.get_or_init(|| "-c fsync=off -c shared_buffers=16MB"),
    );
    shell
}

fn shell() -> Command {
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        let mut shell = Command::new("runuser");
        shell.args(["-u", "postgres", "--", "sh"]);
        shell
    } else {
        Command::new("sh")
    }
}

/// The folder of the PostgreSQL programs. Debian has one folder per version; this is the newest.
pub fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|version| {
            let folder = version.ok()?;
            let number: u32 = folder.file_name().to_str()?.parse().ok()?;
            let bin = folder.path().join("bin");
            bin.join("initdb").exists().then_some((number, bin))
        })
        .max()
        .map(|(_, bin)| bin)
}
