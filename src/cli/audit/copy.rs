//! A copy of the audit log: the lines that `mintage audit` printed earlier, read beside the table.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::api::audit::AuditDocument;
use crate::cli::Failure;
use crate::db::audit_chain::LineHash;

/// A copied line: the members that every version prints, and the hash.
#[derive(Debug, Deserialize, PartialEq)]
pub struct CopiedLine {
    pub id: i64,
    at: String,
    actor: String,
    source: String,
    action: String,
    subject: String,
    detail: Value,
    #[serde(default)]
    hash: Option<String>,
}

impl CopiedLine {
    /// Whether the line in the table is still the copied one.
    pub fn is(&self, line: &AuditDocument) -> bool {
        // The hash covers the other members.
        (&self.at, &self.actor, &self.source) == (&line.at, &line.actor, &line.source)
            && (&self.action, &self.subject, &self.detail) == (&line.action, &line.subject, &line.detail)
            && self.hash == line.hash
    }

    pub fn hash(&self) -> Option<LineHash> {
        LineHash::from_hex(self.hash.as_deref()?)
    }
}

/// The lines of a copy, in order.
pub struct Copy {
    path: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
    /// The number of the line in the file.
    number: usize,
    last_id: Option<i64>,
    next: Option<CopiedLine>,
}

impl Copy {
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
        let mut copy = Self {
            path: path.to_owned(),
            lines: BufReader::new(file).lines(),
            number: 0,
            last_id: None,
            next: None,
        };
        copy.advance()?;
        Ok(copy)
    }

    /// Whether the file has no line.
    pub fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// The next line.
    pub fn peek(&self) -> Option<&CopiedLine> {
        self.next.as_ref()
    }

    /// Takes the next line.
    pub fn take(&mut self) -> Result<Option<CopiedLine>, Failure> {
        let taken = self.next.take();
        self.advance()?;
        Ok(taken)
    }

    fn advance(&mut self) -> Result<(), Failure> {
        let Some(line) = self.lines.next() else {
            return Ok(());
        };
        self.number += 1;
        let at = format!("line {} of {}", self.number, self.path.display());
        let line = line.map_err(|error| Failure::Failed(format!("{at}: {error}")))?;
        let line: CopiedLine = serde_json::from_str(&line)
            .map_err(|_| Failure::Failed(format!("{at} is not a line that `mintage audit` prints")))?;
        if self.last_id.is_some_and(|last| line.id <= last) {
            return Err(Failure::Failed(format!(
                "{at} is out of order: sort the copy by id, without duplicates"
            )));
        }
        self.last_id = Some(line.id);
        self.next = Some(line);
        Ok(())
    }
}
