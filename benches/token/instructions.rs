//! The guard: instructions of one warm request, compared with the figures that are kept in `benches/instructions.toml`.
//!
//! Instructions repeat to a thousandth, whatever else the machine does, so a few per cent more are somebody's doing. What
//! an elliptic-curve signature takes is counted in the same run and taken off: it depends on what valgrind shows of the
//! CPU, and is not ours to guard.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::callgrind::{Connection, Counted, inside, run_until};
use crate::steps;
use crate::warm::BODY;

/// A figure may rise by this much: 3 %.
const TOLERANCE: f64 = 0.03;

/// Requests in the shorter of the two windows.
const REQUESTS: u64 = 500;

const HEAD: &str = "\
# Instructions of one warm request in the worker's thread, counted by callgrind and guarded by scripts/perf-check.
# docs/benchmarks.md says how; `scripts/perf-check --update` writes this file anew.
";

type Figures = BTreeMap<String, f64>;

/// Counts and compares; or writes the counts down.
pub fn run(update: bool, steps: bool) -> ExitCode {
    let outcome = if steps { print_steps() } else { guard(update) };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("perf-check: {error}");
            ExitCode::FAILURE
        }
    }
}

fn guard(update: bool) -> Result<bool, String> {
    let counted = count()?;
    if update {
        std::fs::write(kept_in(), to_text(&counted)).map_err(|error| error.to_string())?;
        println!("{}", to_text(&counted));
        return Ok(true);
    }
    let kept = std::fs::read_to_string(kept_in()).map_err(|error| format!("benches/instructions.toml: {error}"))?;
    let kept: Figures = toml::from_str(&kept).map_err(|error| format!("benches/instructions.toml: {error}"))?;
    let mut good = kept.len() == counted.len();
    for (name, figure) in &counted {
        let Some(known) = kept.get(name) else {
            println!("{name:<18} {figure:>8.0}  is not in benches/instructions.toml");
            good = false;
            continue;
        };
        let change = figure / known - 1.0;
        let verdict = match change {
            change if change > TOLERANCE => "MORE THAN IT WAS: find out why, or run scripts/perf-check --update",
            change if change < -TOLERANCE => "less than it was: keep it so with scripts/perf-check --update",
            _ => "",
        };
        good &= change <= TOLERANCE;
        let percent = change * 100.0;
        println!("{name:<18} {figure:>8.0} instructions, kept {known:>8.0}, {percent:>+6.2} %  {verdict}");
    }
    Ok(good)
}

fn kept_in() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml")
}

fn to_text(figures: &Figures) -> String {
    figures.iter().fold(HEAD.to_owned(), |mut text, (name, figure)| {
        writeln!(text, "{name:?} = {figure:.1}").expect("a String takes every text");
        text
    })
}

fn count() -> Result<Figures, String> {
    let mut figures = Figures::new();
    let server = Server::start()?;
    for (name, request) in server.requests() {
        figures.insert(name.into(), server.counted.each(&request, REQUESTS)?);
    }
    let signature = step("step_ecdsa")?;
    if let Some(token) = figures.get_mut("token ES256") {
        *token -= signature;
    }
    figures.insert("client cache hit".into(), step("step_cache")?);
    Ok(figures)
}

/// The table of docs/benchmarks.md: what each step of a token takes, beside the whole and the floor.
fn print_steps() -> Result<bool, String> {
    let server = Server::start()?;
    let (_, token) = server.requests().swap_remove(0);
    let mut floor = Command::new(std::env::current_exe().expect("this program"));
    let floor = Counted::start(floor.arg("--floor"), "server listening")?;
    println!("| instructions | |");
    println!("| --- | --- |");
    println!(
        "| one warm `POST /token`, HS256 | {:.0} |",
        server.counted.each(&token, REQUESTS)?
    );
    println!(
        "| the same request to the floor | {:.0} |",
        floor.each(&token, REQUESTS)?
    );
    for (name, what) in steps::NAMES {
        println!("| {what} | {:.0} |", step(name)?);
    }
    Ok(true)
}

fn step(name: &str) -> Result<f64, String> {
    let instructions = inside(name, &format!("--step={name}"))?;
    Ok(instructions / steps::TIMES as f64)
}

/// The true server under callgrind, with clients to ask for tokens.
struct Server {
    counted: Counted,
    _folder: tempfile::TempDir,
    hs256: Client,
    es256: Client,
}

struct Client {
    credentials: String,
}

impl Server {
    fn start() -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite:{}", folder.path().join("mintage.db").display());
        let (hs256, es256) = (Client::make(&url, "HS256")?, Client::make(&url, "ES256")?);
        let route = ["route", "add", "--path", "/orders/{id}", "--scope", "orders:read"];
        command_line(&url, &route)?;
        let mut serve = Command::new(env!("CARGO_BIN_EXE_mintage"));
        serve
            .args(["--database-url", &url, "serve"])
            .env("MINTAGE_SERVER__LISTEN", "127.0.0.1:0")
            .env("MINTAGE_SERVER__WORKERS", "1")
            .env_remove("RUST_LOG");
        // The keys are made here: under callgrind that would take minutes.
        run_until(&mut serve, "ready ")?;
        Ok(Self {
            counted: Counted::start(&serve, "ready ")?,
            _folder: folder,
            hs256,
            es256,
        })
    }

    fn requests(&self) -> Vec<(&'static str, Vec<u8>)> {
        let body = std::str::from_utf8(BODY).expect("a form is text");
        let (token, token_es256) = (self.hs256.form("/token", body), self.es256.form("/token", body));
        let answer = Connection::open(&self.counted.address).ask(&token);
        let issued = answer.split('"').nth(3).expect("a token");
        let introspection = self.hs256.form("/introspect", &format!("token={issued}"));
        let question = format!(
            "GET /validate HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {issued}\r\nX-Forwarded-Method: GET\r\n\
             X-Forwarded-Host: shop.example\r\nX-Forwarded-Uri: /orders/17\r\n\r\n"
        );
        vec![
            ("token HS256", token),
            ("token ES256", token_es256),
            ("introspect HS256", introspection),
            ("validate HS256", question.into_bytes()),
        ]
    }
}

impl Client {
    fn make(url: &str, alg: &str) -> Result<Self, String> {
        let scope = ["--scope", "orders:read orders:write", "--alg", alg];
        let made = command_line(
            url,
            &[&["client", "create", "--json", "--name", "bench"], &scope[..]].concat(),
        )?;
        let made: serde_json::Value = serde_json::from_str(&made).map_err(|error| error.to_string())?;
        let text = |member: &str| made[member].as_str().expect("a string").to_owned();
        Ok(Self {
            credentials: STANDARD.encode(format!("{}:{}", text("client_id"), text("client_secret"))),
        })
    }

    fn form(&self, path: &str, body: &str) -> Vec<u8> {
        format!(
            "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            self.credentials,
            body.len()
        )
        .into_bytes()
    }
}

fn command_line(url: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_mintage"))
        .args(["--database-url", url])
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
