//! A real PostgreSQL for the tests of one binary: started once, in a folder of its own, gone when the binary ends.
//!
//! A shell stays with it and reads a pipe whose other end only this process holds. However the tests end, killed
//! included, the pipe closes; then the shell stops the server and removes the folder.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use diesel::{Connection, PgConnection, RunQueryDsl};
use mintage::config;

/// How to reach a new, empty database.
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
    /// Its standard input is the pipe.
    _keeper: Child,
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

/// How it is set up. Whoever wants something else than tests do says so before the first database is made.
pub static SETTINGS: OnceLock<&str> = OnceLock::new();

/// Its arguments: the folder of the programs and the port. An ICU locale, because the order of texts must not depend
/// on where the server of a user was set up, and in the locale C it would come out right by itself.
const KEEPER: &str = r#"
trap '' PIPE  # or the shell would end at `echo` when nobody listens any more, and leave the server behind
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
    let programs = programs().ok_or("PostgreSQL is missing: apt-get install postgresql")?;
    loop {
        match start_on(free_port(), &programs) {
            // Somebody else took the port in between.
            Err(log) if log.contains("Address already in use") => continue,
            outcome => return outcome,
        }
    }
}

fn start_on(port: u16, programs: &Path) -> Result<Server, String> {
    let mut command = unprivileged_shell();
    command
        .args(["-c", KEEPER, "keeper"])
        .arg(programs)
        .arg(port.to_string());
    let keeper = until_ready(&mut command)?;
    Ok(Server { port, _keeper: keeper })
}

/// Starts a keeper and waits for its word; else it is what the keeper has to say.
pub(crate) fn until_ready(command: &mut Command) -> Result<Child, String> {
    let mut keeper = command
        .current_dir("/")
        // Or Ctrl-C would end the keeper before its work is done.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("PostgreSQL cannot be started: {error}"))?;
    let mut output = BufReader::new(keeper.stdout.take().expect("it is piped"));
    let mut first = String::new();
    output.read_line(&mut first).map_err(|error| error.to_string())?;
    if first == "ready\n" {
        return Ok(keeper);
    }
    output.read_to_string(&mut first).map_err(|error| error.to_string())?;
    let _ = keeper.wait();
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

/// Debian keeps each version in a folder of its own; the newest will do.
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

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    listener.local_addr().expect("it is bound").port()
}
