//! A real PostgreSQL server with a streaming replica, for the tests of one binary. Stopped and
//! removed like [`crate::postgres`].

use std::process::Child;

use mintage::config;

use crate::{port, postgres};

/// A primary and its replica.
pub struct Pair {
    primary: u16,
    replica: u16,
    /// The supervising shell. Its standard input is the pipe.
    _supervisor: Child,
}

impl Pair {
    /// Settings with the primary and its replica.
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

/// The supervising shell. Arguments: the folder of the PostgreSQL programs and the two ports.
const SUPERVISOR: &str = r#"
trap '' PIPE  # otherwise `echo` to a closed pipe would end the shell and leave the servers running
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

/// Starts a primary and its replica.
pub fn pair() -> Pair {
    let programs = postgres::programs().expect("PostgreSQL is missing: apt-get install postgresql");
    let (primary, replica) = (port::free(), port::free());
    let mut command = postgres::unprivileged_shell();
    command
        .args(["-c", SUPERVISOR, "supervisor"])
        .arg(programs)
        .args([primary.to_string(), replica.to_string()]);
    let supervisor = postgres::until_ready(&mut command).unwrap_or_else(|log| panic!("no replica: {log}"));
    Pair {
        primary,
        replica,
        _supervisor: supervisor,
    }
}
