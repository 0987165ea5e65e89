//! `mintage key`: lists the signing keys, without private parts, publishes new ones ahead of
//! schedule, and encrypts them with another encryption key.

use std::path::PathBuf;

use serde_json::json;

use super::{Context, Failure, confirm, print, print_json, print_table};
use crate::api::key::KeyDocument;
use crate::config::{self, Config};
use crate::db::signing_keys::{self, Rotated};
use crate::db::{Conn, key_reencryption};
use crate::keys::rotation::{self, Activation, Schedule};
use crate::keys::{KeyEncryptionKey, KeyError, KeyRecord, KeyRing, SigningKey};
use crate::oauth::alg::Alg;
use crate::time::UnixMillis;

#[derive(clap::Subcommand)]
pub enum Command {
    /// List signing keys
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Publish new signing keys; they sign once every verifier has had time to fetch them
    #[command(after_help = "Examples:\n  mintage key rotate\n  mintage key rotate --alg ES256 --immediately")]
    Rotate(Rotate),
    /// Encrypt the stored signing keys with a new keys.encryption_key; tokens stay valid. Restart
    /// all servers with the new one afterwards
    #[command(after_help = "Example:\n  mintage key re-encrypt --from-file old.key")]
    ReEncrypt(ReEncrypt),
}

#[derive(clap::Args)]
pub struct Rotate {
    /// Algorithm of the new key: ES256, EdDSA, RS256, PS256 or HS256 [default: all]
    #[arg(long)]
    alg: Option<String>,
    /// For a compromised key: the new key signs at once; the old keys are removed and their tokens
    /// become invalid. Verifiers that cache the JWKS reject new tokens and accept old ones for up
    /// to keys.jwks_max_age
    #[arg(long)]
    immediately: bool,
    /// With --immediately, do not ask; only a person at a terminal is asked
    #[arg(long, requires = "immediately")]
    yes: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct ReEncrypt {
    /// File with the old key, in base64; the configuration has the new one
    #[arg(long, value_name = "FILE")]
    from_file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List { json } => list(context, json),
        Command::Rotate(arguments) => rotate(context, &arguments),
        Command::ReEncrypt(arguments) => re_encrypt(context, &arguments),
    }
}

fn list(context: &Context, json: bool) -> Result<(), Failure> {
    let config = context.config()?;
    let key_encryption_key = key_encryption_key(&config)?;
    let keys = context.with_database(|conn| signing_keys::records(conn, key_encryption_key.as_ref()))?;
    let now = context.clock.now();
    if json {
        print_json(&KeyDocument::page_of_all(&keys, now));
    } else if keys.believed.is_empty() {
        print("No signing keys yet: `mintage serve` creates them on its first start.");
    } else {
        let schedule = schedule(&config);
        let due = |key: &KeyRecord| {
            let is_newest = rotation::newest(&keys.believed, key.alg).is_some_and(|newest| newest.kid == key.kid);
            is_newest.then(|| schedule.successor_due(key).to_string())
        };
        let mut rows: Vec<_> = keys
            .believed
            .iter()
            .map(|key| {
                [
                    key.alg.name().to_owned(),
                    rotation::state(key, &keys.believed, now).name().to_owned(),
                    key.kid.clone(),
                    key.activates_at.to_string(),
                    key.retires_at.map(|at| at.to_string()).unwrap_or_default(),
                    due(key).unwrap_or_default(),
                ]
            })
            .collect();
        rows.extend(keys.rejected.iter().map(|row| {
            let (alg, kid) = (row.alg.escape_debug().to_string(), row.kid.escape_debug().to_string());
            [alg, "rejected".into(), kid, String::new(), String::new(), String::new()]
        }));
        print_table(
            ["Alg", "Status", "Key id", "Activates", "Retires", "Next key due"],
            &rows,
        );
    }
    Ok(())
}

fn schedule(config: &Config) -> Schedule {
    let keys = &config.keys;
    Schedule::new(keys.rotate_every.0, keys.publish_before.0, keys.jwks_max_age.0)
}

fn key_encryption_key(config: &Config) -> Result<Option<KeyEncryptionKey>, Failure> {
    Ok(config.encryption_key()?.map(|key| KeyEncryptionKey::new(&key)))
}

fn rotate(context: &Context, arguments: &Rotate) -> Result<(), Failure> {
    let algs = match &arguments.alg {
        None => Alg::ALL.to_vec(),
        Some(name) => vec![name.parse().map_err(|error| Failure::Usage(format!("--alg {error}")))?],
    };
    let activation = match arguments.immediately {
        true => Activation::Immediate,
        false => Activation::Scheduled,
    };
    if arguments.immediately {
        confirm(
            "Remove the old keys, so that all their tokens become invalid at once?",
            arguments.yes,
        )?;
    }
    let config = context.config()?;
    let rotated = context.with_database(|conn| Ok(publish(conn, context, &config, &algs, activation)))??;
    let now = context.clock.now();
    let waiting = || algs.iter().filter_map(|alg| waiting(&rotated, *alg, now));
    if rotated.published.is_empty() {
        let waiting: Vec<String> = waiting().map(|key| format!("{} {}", key.alg, in_words(key))).collect();
        return Err(Failure::Failed(format!(
            "no key published: a new key is already scheduled: {}",
            waiting.join("; ")
        )));
    }
    if arguments.json {
        print_json(&KeyDocument::page(&rotated.published, &rotated.keys, now));
        return Ok(());
    }
    for key in &rotated.published {
        print(&format!("{:5} published: {}", key.alg.name(), in_words(key)));
    }
    for key in waiting() {
        print(&format!("{:5} already scheduled: {}", key.alg.name(), in_words(key)));
    }
    Ok(())
}

fn re_encrypt(context: &Context, arguments: &ReEncrypt) -> Result<(), Failure> {
    let new = key_encryption_key(&context.config()?)?
        .ok_or_else(|| Failure::Failed("set keys.encryption_key to the new key".into()))?;
    let old = config::encryption_key_in("--from-file", &arguments.from_file)?;
    let old = KeyEncryptionKey::new(&old);
    let (clock, by) = (&context.clock, context.principal());
    let done = context.with_database(|conn| key_reencryption::re_encrypt(conn, clock, &by, &old, &new))?;
    if arguments.json {
        print_json(&json!({ "re_encrypted": done.kids, "attested": done.attested, "rejected": done.rejected }));
        return Ok(());
    }
    if done.kids.is_empty() {
        print("Nothing to do: no key is stored, or all are encrypted with keys.encryption_key already.");
        return Ok(());
    }
    for kid in &done.kids {
        print(&format!("re-encrypted {kid}"));
    }
    for kid in &done.attested {
        print(&format!("attested {kid}"));
    }
    for kid in &done.rejected {
        print(&format!("rejected {}", kid.escape_debug()));
    }
    print("Restart all servers with the new keys.encryption_key now.");
    Ok(())
}

fn in_words(key: &KeyRecord) -> String {
    format!("{} activates at {}", key.kid, key.activates_at)
}

/// The scheduled key of this algorithm that was published earlier.
fn waiting(rotated: &Rotated, alg: Alg, now: UnixMillis) -> Option<&KeyRecord> {
    rotation::waiting(&rotated.keys, alg, now).filter(|key| !rotated.published.contains(key))
}

/// Rotates keys like a server does. Keys are generated before anything is locked.
fn publish(
    conn: &mut Conn,
    context: &Context,
    config: &Config,
    algs: &[Alg],
    activation: Activation,
) -> Result<Rotated, Failure> {
    let clock = &context.clock;
    let cannot = |error: KeyError| Failure::Failed(error.to_string());
    let schedule = schedule(config);
    let key_encryption_key = key_encryption_key(config)?;
    let stored = signing_keys::list(conn, key_encryption_key.as_ref())?.keys;
    // Checks that this is the encryption key of the server, which could not read the new keys
    // otherwise.
    KeyRing::new(&stored, key_encryption_key.as_ref(), clock.now()).map_err(cannot)?;
    let known: Vec<KeyRecord> = stored.iter().map(KeyRecord::from).collect();
    let wanted = rotation::requested(&known, algs, activation, &schedule, clock.now());
    let generated = wanted
        .iter()
        .map(|new| SigningKey::generate(new.alg, clock.now(), key_encryption_key.as_ref()));
    let generated = generated.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    let decide = |keys: &[KeyRecord], now| rotation::requested(keys, algs, activation, &schedule, now);
    Ok(signing_keys::rotate(
        conn,
        clock,
        &context.principal(),
        generated,
        key_encryption_key.as_ref(),
        decide,
    )?)
}
