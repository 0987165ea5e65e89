//! An SQLite database in a folder of its own, gone when it is dropped.

use mintage::config;

/// The database.
pub struct Sqlite {
    folder: tempfile::TempDir,
}

impl Sqlite {
    /// An empty file-to-be, without a schema.
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        Self { folder }
    }

    /// How to reach it.
    pub fn settings(&self) -> config::Database {
        let mut settings = config::Database {
            url: format!("sqlite:{}", self.folder.path().join("mintage.db").display()),
            ..Default::default()
        };
        (settings.pool.max_size, settings.pool.min_idle) = (4, 1);
        settings
    }
}
