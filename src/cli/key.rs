//! `mintage key`: the signing keys, without anything private.

use serde::Serialize;

use super::{Context, Failure, print, print_json};
use crate::db::signing_keys;
use crate::keys::StoredKey;
use crate::oauth::alg::Alg;
use crate::oauth::client_document::Page;
use crate::oauth::time::UnixMillis;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the signing keys
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct KeyDocument {
    kid: String,
    alg: &'static str,
    state: &'static str,
    encrypted: bool,
    created_at: String,
    activates_at: String,
    retires_at: Option<String>,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command::List { json } = command;
    let keys = context.with_database(signing_keys::list)?;
    let now = context.clock.now();
    let documents: Vec<KeyDocument> = keys.iter().map(|key| document(key, &keys, now)).collect();
    if json {
        print_json(&Page {
            items: documents,
            next_cursor: None,
        });
    } else if documents.is_empty() {
        print("There are no signing keys yet: `mintage serve` makes them when it first starts.");
    } else {
        for key in documents {
            print(&format!("{:5} {:7} {} {}", key.alg, key.state, key.created_at, key.kid));
        }
    }
    Ok(())
}

fn document(key: &StoredKey, all: &[StoredKey], now: UnixMillis) -> KeyDocument {
    KeyDocument {
        kid: key.kid.clone(),
        alg: key.alg.name(),
        state: state(key, all, now),
        encrypted: key.sealed,
        created_at: key.created_at.to_string(),
        activates_at: key.activates_at.to_string(),
        retires_at: key.retires_at.map(|at| at.to_string()),
    }
}

/// `next` will sign, `active` signs, `retired` only verifies.
fn state(key: &StoredKey, all: &[StoredKey], now: UnixMillis) -> &'static str {
    let signs = |alg: Alg| {
        let active = all.iter().filter(|other| other.alg == alg && other.activates_at <= now);
        active
            .max_by(|a, b| (a.activates_at, &a.kid).cmp(&(b.activates_at, &b.kid)))
            .map(|other| &other.kid)
    };
    match () {
        () if key.activates_at > now => "next",
        () if signs(key.alg) == Some(&key.kid) => "active",
        () => "retired",
    }
}
