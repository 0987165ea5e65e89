//! The databases under the server: SQLite in its own folder; PostgreSQL as the tests start it,
//! except that it waits for the disk, as SQLite does.

use std::path::Path;

use loadtest::server::{self, Operator};
use tempfile::TempDir;
use testkit::{Program, Server, TestClient, folder, postgres};

/// Which database.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Backend {
    Sqlite,
    Postgres,
}

/// Settings of a server, as environment variables.
pub type Settings<'a> = &'a [(&'a str, &'a str)];

/// A new database with a schema and one operator.
pub struct Database {
    /// `SQLite` or `PostgreSQL`.
    pub name: &'static str,
    /// The URL of the database.
    pub url: String,
    /// An operator that may read statistics.
    pub operator: Operator,
    program: Program,
    _folder: Option<TempDir>,
}

impl Database {
    /// A new database; `None`, with a message, if this machine has no PostgreSQL.
    pub fn new(binary: &Path, backend: Backend) -> Option<Self> {
        let (name, url, folder) = match backend {
            Backend::Sqlite => {
                let folder = folder::temporary();
                let url = format!("sqlite:{}", folder.path().join("mintage.db").display());
                ("SQLite", url, Some(folder))
            }
            Backend::Postgres if postgres::programs().is_none() => {
                eprintln!("skipped: PostgreSQL, which is not installed");
                return None;
            }
            Backend::Postgres => {
                postgres::SETTINGS.get_or_init(|| "-c shared_buffers=256MB");
                ("PostgreSQL", postgres::empty().url, None)
            }
        };
        let program = server::program(binary, &url);
        // The first start generates the keys, and the partitions of PostgreSQL.
        drop(program.serve(&[]));
        Some(Self {
            name,
            url,
            operator: Operator::create(&program),
            program,
            _folder: folder,
        })
    }

    /// A client whose tokens are signed with this algorithm.
    pub fn client(&self, alg: &str) -> TestClient {
        server::create_client(&self.program, alg)
    }

    /// A server on this database.
    pub fn serve(&self, settings: Settings) -> Server {
        self.program.clone().with_all(settings).serve(&[])
    }
}
