//! What became of each client of a file, as text or JSON. No secret is in it.

use serde::Serialize;

use super::entry::{Candidate, ImportReport, Rejected};
use super::source::Format;
use crate::cli::{print, print_json};

/// Characters of an id that are shown: ids that are rejected may be of any length.
const SHOWN: usize = 128;

/// The report.
#[derive(Serialize)]
pub struct Report {
    format: &'static str,
    dry_run: bool,
    /// Whether the accepted are clients now.
    written: bool,
    accepted: Vec<Accepted>,
    skipped: Vec<NotAccepted>,
    rejected: Vec<NotAccepted>,
}

#[derive(Serialize)]
struct Accepted {
    at: String,
    client_id: String,
    warnings: Vec<&'static str>,
}

#[derive(Serialize)]
struct NotAccepted {
    at: String,
    client_id: String,
    reason: String,
}

impl Report {
    /// Of what was found.
    pub fn new(format: Format, dry_run: bool, written: bool, verdicts: &ImportReport) -> Self {
        let accepted = |candidate: &Candidate| Accepted {
            at: candidate.place.to_string(),
            client_id: candidate.client.id.to_string(),
            warnings: candidate.warnings(),
        };
        let not_accepted = |rejected: &Rejected| NotAccepted {
            at: rejected.place.to_string(),
            client_id: rejected.id.chars().take(SHOWN).collect(),
            reason: rejected.reason.clone(),
        };
        Self {
            format: format.name(),
            dry_run,
            written,
            accepted: verdicts.accepted.iter().map(accepted).collect(),
            skipped: verdicts.skipped.iter().map(not_accepted).collect(),
            rejected: verdicts.rejected.iter().map(not_accepted).collect(),
        }
    }

    /// Prints it to standard output.
    pub fn print(&self, json: bool) {
        match json {
            true => print_json(self),
            false => print(&self.text()),
        }
    }

    fn text(&self) -> String {
        let mut lines = Vec::new();
        for (title, list) in [("skipped", &self.skipped), ("rejected", &self.rejected)] {
            for NotAccepted { at, client_id, reason } in list {
                // Quoted, so that whatever stands there does nothing to the terminal.
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
            (true, _) => format!("{} clients imported.", self.accepted.len()),
            (false, true) => "Nothing imported: this was a dry run.".to_owned(),
            (false, false) => "Nothing imported.".to_owned(),
        });
        lines.join("\n")
    }
}
