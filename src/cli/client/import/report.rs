//! The import report, as text or JSON. It contains no secrets.

use serde::Serialize;

use super::entry::{Candidate, ImportReport, Rejected};
use super::source::Format;
use super::update::Change;
use crate::cli::{counted, print, print_json};

/// The number of characters of an id that are shown. The ids of rejected entries may have any
/// length.
const MAX_ID_SHOWN: usize = 128;

/// How clients are imported.
#[derive(Clone, Copy, Default)]
pub struct Mode {
    /// Whether clients that exist are updated.
    pub update: bool,
    /// Whether nothing is written.
    pub dry_run: bool,
}

/// The import report.
#[derive(Serialize)]
pub struct Report {
    format: &'static str,
    dry_run: bool,
    /// Whether the accepted clients were written.
    written: bool,
    /// What an update does; absent in any other import.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    changes: Option<Changes>,
    accepted: Vec<Accepted>,
    skipped: Vec<NotAccepted>,
    rejected: Vec<NotAccepted>,
}

/// Counts of clients.
#[derive(Clone, Copy, Serialize)]
struct Changes {
    created: usize,
    updated: usize,
    unchanged: usize,
}

#[derive(Serialize)]
struct Accepted {
    at: String,
    client_id: String,
    /// What an update does with the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<&'static str>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct NotAccepted {
    at: String,
    client_id: String,
    reason: String,
}

impl Report {
    /// Creates a report of the results.
    pub fn new(format: Format, mode: Mode, written: bool, report: &ImportReport) -> Self {
        let Mode { update, dry_run } = mode;
        let accepted = |candidate: &Candidate| Accepted {
            at: candidate.place.to_string(),
            client_id: candidate.client.id.to_string(),
            change: update.then(|| candidate.change().name()),
            warnings: candidate.warnings(),
        };
        let not_accepted = |rejected: &Rejected| NotAccepted {
            at: rejected.place.to_string(),
            client_id: rejected.id.chars().take(MAX_ID_SHOWN).collect(),
            reason: rejected.reason.clone(),
        };
        let count = |change: Change| report.accepted.iter().filter(|one| one.change() == change).count();
        let changes = || Changes {
            created: count(Change::Created),
            updated: count(Change::Updated),
            unchanged: count(Change::Unchanged),
        };
        Self {
            format: format.name(),
            dry_run,
            written,
            changes: update.then(changes),
            accepted: report.accepted.iter().map(accepted).collect(),
            skipped: report.skipped.iter().map(not_accepted).collect(),
            rejected: report.rejected.iter().map(not_accepted).collect(),
        }
    }

    /// Prints the report to standard output.
    pub fn print(&self, json: bool) {
        match json {
            true => print_json(self),
            false => print(&self.text()),
        }
    }

    /// As lines.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        for (title, list) in [("skipped", &self.skipped), ("rejected", &self.rejected)] {
            for NotAccepted { at, client_id, reason } in list {
                // Quoted, so that control characters in an id have no effect on the terminal.
                lines.push(format!("{title:12} {at} {client_id:?}: {reason}"));
            }
        }
        for Accepted {
            at,
            client_id,
            warnings,
            ..
        } in &self.accepted
        {
            for warning in warnings {
                lines.push(format!("{:12} {at} {client_id:?}: {warning}", "warning"));
            }
        }
        let mut counts = vec![
            ("accepted", self.accepted.len()),
            ("skipped", self.skipped.len()),
            ("rejected", self.rejected.len()),
        ];
        if let Some(Changes {
            created,
            updated,
            unchanged,
        }) = self.changes
        {
            counts.extend([("created", created), ("updated", updated), ("unchanged", unchanged)]);
        }
        lines.extend(counts.into_iter().map(|(title, count)| format!("{title:12} {count}")));
        lines.push(match (self.written, self.dry_run, self.changes) {
            (true, _, None) => format!("{} imported.", counted(self.accepted.len(), "client")),
            (true, _, Some(changes)) => {
                let created = counted(changes.created, "client");
                format!("{created} created, {} updated.", changes.updated)
            }
            (false, true, _) => "Nothing imported: this was a dry run.".to_owned(),
            (false, false, Some(changes)) if changes.created + changes.updated + self.rejected.len() == 0 => {
                "Nothing to import: nothing has changed.".to_owned()
            }
            (false, false, _) => "Nothing imported.".to_owned(),
        });
        lines.join("\n")
    }
}
