//! The import report, as text or JSON. It contains no secrets.

use serde::Serialize;

use super::entry::{Candidate, ImportReport, Rejected};
use super::source::Format;
use crate::cli::{counted, print, print_json};

/// The number of characters of an id that are shown. The ids of rejected entries may have any
/// length.
const MAX_ID_SHOWN: usize = 128;

/// The import report.
#[derive(Serialize)]
pub struct Report {
    format: &'static str,
    dry_run: bool,
    /// Whether the accepted clients were written.
    written: bool,
    accepted: Vec<Accepted>,
    skipped: Vec<NotAccepted>,
    rejected: Vec<NotAccepted>,
}

#[derive(Serialize)]
struct Accepted {
    at: String,
    client_id: String,
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
    pub fn new(format: Format, dry_run: bool, written: bool, report: &ImportReport) -> Self {
        let accepted = |candidate: &Candidate| Accepted {
            at: candidate.place.to_string(),
            client_id: candidate.client.id.to_string(),
            warnings: candidate.warnings(),
        };
        let not_accepted = |rejected: &Rejected| NotAccepted {
            at: rejected.place.to_string(),
            client_id: rejected.id.chars().take(MAX_ID_SHOWN).collect(),
            reason: rejected.reason.clone(),
        };
        Self {
            format: format.name(),
            dry_run,
            written,
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
        } in &self.accepted
        {
            for warning in warnings {
                lines.push(format!("{:12} {at} {client_id:?}: {warning}", "warning"));
            }
        }
        let counts = [
            ("accepted", self.accepted.len()),
            ("skipped", self.skipped.len()),
            ("rejected", self.rejected.len()),
        ];
        lines.extend(counts.map(|(title, count)| format!("{title:12} {count}")));
        lines.push(match (self.written, self.dry_run) {
            (true, _) => format!("{} imported.", counted(self.accepted.len(), "client")),
            (false, true) => "Nothing imported: this was a dry run.".to_owned(),
            (false, false) => "Nothing imported.".to_owned(),
        });
        lines.join("\n")
    }
}
