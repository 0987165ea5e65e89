//! The databases of the benchmark: SQLite in a folder of its own, PostgreSQL as the tests start it, except that it waits
//! for the disk.

use tempfile::TempDir;

use crate::load::cell::{Cell, Program};
use crate::load::fill;
use crate::load::server::{make_client, make_operator};
use crate::load::traffic::Traffic;
use crate::postgres;

/// A database with an operator's client in it.
pub struct Store {
    /// `SQLite` or `PostgreSQL`.
    pub name: &'static str,
    /// How to reach it.
    pub url: String,
    operator: (String, String),
    _folder: Option<TempDir>,
}

/// Settings of a server, as environment.
pub type Settings = Vec<(&'static str, String)>;

impl Store {
    /// A new one of this kind; `None` when this machine has no PostgreSQL.
    pub fn new(backend: &str) -> Option<Self> {
        match backend {
            "postgres" => Self::postgres(),
            _ => Some(Self::sqlite()),
        }
    }

    /// A new SQLite database.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("mintage.db").display());
        Self::made("SQLite", url, Some(folder))
    }

    fn postgres() -> Option<Self> {
        // The tests do without the wait for the disk; here it is part of what is measured.
        postgres::SETTINGS.get_or_init(|| "-c shared_buffers=256MB");
        match std::panic::catch_unwind(postgres::empty) {
            Ok(settings) => Some(Self::made("PostgreSQL", settings.url, None)),
            Err(_) => {
                eprintln!("left out: what needs PostgreSQL");
                None
            }
        }
    }

    fn made(name: &'static str, url: String, folder: Option<TempDir>) -> Self {
        fill::migrate(&url);
        Self {
            name,
            operator: make_operator(&url),
            url,
            _folder: folder,
        }
    }

    /// A client whose tokens are signed so.
    pub fn client(&self, alg: &str) -> (String, String) {
        make_client(&self.url, "orders:read orders:write", &["--alg", alg])
    }

    /// The true server on this database.
    pub fn program(&self, settings: Settings) -> Program {
        Program::Mintage {
            url: self.url.clone(),
            settings,
            operator: self.operator.clone(),
        }
    }

    /// A cell of it.
    pub fn cell(
        &self,
        name: impl Into<String>,
        settings: Settings,
        connections: usize,
        traffic: impl Fn() -> Traffic + 'static,
    ) -> Cell {
        Cell {
            name: name.into(),
            program: self.program(settings),
            traffic: Box::new(traffic),
            connections,
            warm_up: 0,
        }
    }
}

/// Settings from pairs of texts.
pub fn settings(pairs: &[(&'static str, &str)]) -> Settings {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}
