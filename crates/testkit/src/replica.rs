//! A real PostgreSQL with a streaming replica, for the tests of one binary; stopped and removed like the other one.

use std::process::Child;

use mintage::config;

use crate::postgres;

/// A primary and its replica.
pub struct Pair {
    primary: u16,
    replica: u16,
    /// Its standard input is the pipe.
    _keeper: Child,
}

impl Pair {
    /// The primary's own database, reached in both places.
    pub fn settings(&self) -> config::Database {
        config::Database {
            url: url(self.primary),
            replica_urls: vec![url(self.replica)],
            ..Default::default()
        }
    }
}

fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}

/// Its arguments: the folder of the programs and the two ports.
const KEEPER: &str = r#"
trap '' PIPE  # or the shell would end at `echo` when nobody listens any more, and leave the servers behind
bin=$1 primary=$2 replica=$3
folder=$(mktemp -d /tmp/mintage-replica.XXXXXX) || exit
start() {
    "$bin/pg_ctl" start --pgdata="$folder/$1" --log="$folder/log" --wait --options="-h 127.0.0.1 -p $2 \
        -k $folder -c fsync=off -c shared_buffers=16MB -c max_connections=40 -c hot_standby_feedback=on"
}
if {
    "$bin/initdb" --pgdata="$folder/primary" --username=postgres --auth=trust --no-sync --encoding=UTF8 &&
    start primary "$primary" &&
    "$bin/pg_basebackup" --pgdata="$folder/replica" --host=127.0.0.1 --port="$primary" --username=postgres \
        --write-recovery-conf --wal-method=stream --checkpoint=fast --no-sync &&
    start replica "$replica"
} >"$folder/output" 2>&1
then
    echo ready
    cat >/dev/null
else
    cat "$folder/output" "$folder/log"
fi
for member in replica primary; do
    "$bin/pg_ctl" stop --pgdata="$folder/$member" --mode=immediate >/dev/null 2>&1
done
rm -rf "$folder"
"#;

/// Starts a pair.
pub fn pair() -> Pair {
    let programs = postgres::programs().expect("PostgreSQL is missing: apt-get install postgresql");
    let (primary, replica) = (postgres::free_port(), postgres::free_port());
    let mut command = postgres::unprivileged_shell();
    command
        .args(["-c", KEEPER, "keeper"])
        .arg(programs)
        .args([primary.to_string(), replica.to_string()]);
    let keeper = postgres::until_ready(&mut command).unwrap_or_else(|log| panic!("no replica: {log}"));
    Pair {
        primary,
        replica,
        _keeper: keeper,
    }
}
