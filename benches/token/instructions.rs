//! The guard: instructions of one warm request, compared with the stored figures of
//! `benches/instructions.toml`.
//!
//! Instruction counts are reproducible to 0.15 % under any load, so an increase of a few per cent
//! comes from a change of the code. The instructions of an elliptic-curve signature are counted in
//! the same run and subtracted: they depend on the CPU that valgrind reports, not on this
//! repository.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use loadtest::server;
use testkit::http::Connection;
use testkit::{Program, TestClient};

use crate::callgrind::{Counted, ask, inside};
use crate::steps;
use crate::warm::BODY;

/// A figure may increase by 3 %.
const TOLERANCE: f64 = 0.03;

/// Requests in the shorter of the two windows.
const REQUESTS: u64 = 500;

const HEAD: &str = "\
# Instructions of one warm request in the worker's thread, counted by callgrind and guarded by scripts/perf-check.
# docs/benchmarks.md describes the method; `scripts/perf-check --update` writes this file.
";

type Figures = BTreeMap<String, f64>;

/// Counts and compares, or with `update` stores the counts.
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
        std::fs::write(figures_file(), to_text(&counted)).map_err(|error| error.to_string())?;
        println!("{}", to_text(&counted));
        return Ok(true);
    }
    let stored =
        std::fs::read_to_string(figures_file()).map_err(|error| format!("benches/instructions.toml: {error}"))?;
    let stored: Figures = toml::from_str(&stored).map_err(|error| format!("benches/instructions.toml: {error}"))?;
    let mut good = stored.len() == counted.len();
    for (name, figure) in &counted {
        let Some(expected) = stored.get(name) else {
            println!("{name:<18} {figure:>8.0}  is not in benches/instructions.toml");
            good = false;
            continue;
        };
        let change = figure / expected - 1.0;
        let verdict = match change {
            change if change > TOLERANCE => "REGRESSION: find the cause, or run scripts/perf-check --update",
            change if change < -TOLERANCE => "improvement: store it with scripts/perf-check --update",
            _ => "",
        };
        good &= change <= TOLERANCE;
        let percent = change * 100.0;
        println!("{name:<18} {figure:>8.0} instructions, stored {expected:>8.0}, {percent:>+6.2} %  {verdict}");
    }
    Ok(good)
}

fn figures_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml")
}

fn to_text(figures: &Figures) -> String {
    figures.iter().fold(HEAD.to_owned(), |mut text, (name, figure)| {
        writeln!(text, "{name:?} = {figure:.1}").expect("writing to a String cannot fail");
        text
    })
}

fn count() -> Result<Figures, String> {
    let mut figures = Figures::new();
    let server = Server::start();
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

/// The instructions of each step of a token, with those of the whole request and of the floor.
fn print_steps() -> Result<bool, String> {
    let server = Server::start();
    let (_, token) = server.requests().swap_remove(0);
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let floor = Counted::start(&Program::at(own), &["--floor=1"], "server listening");
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

/// The server under callgrind, with clients that request tokens.
struct Server {
    counted: Counted,
    hs256: TestClient,
    es256: TestClient,
}

impl Server {
    fn start() -> Self {
        let binary = env!("CARGO_BIN_EXE_mintage").as_ref();
        let program = server::program(binary, "sqlite:mintage.db");
        let [hs256, es256] = ["HS256", "ES256"].map(|alg| server::create_client(&program, alg));
        let route = ["route", "add", "--path", "/orders/{id}", "--scope", "orders:read"];
        program.run_json(&route);
        // The keys are generated here: under callgrind, that would take minutes.
        drop(program.serve(&[]));
        Self {
            counted: Counted::start(&program, &[], "ready "),
            hs256,
            es256,
        }
    }

    fn requests(&self) -> Vec<(&'static str, Vec<u8>)> {
        let body = std::str::from_utf8(BODY).expect("a form is text");
        let (token, token_es256) = (form(&self.hs256, "/token", body), form(&self.es256, "/token", body));
        let response = ask(&mut Connection::open(self.counted.server.address), &token);
        let issued = response.split('"').nth(3).expect("a token");
        let introspection = form(&self.hs256, "/introspect", &format!("token={issued}"));
        let validation = format!(
            "GET /validate HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {issued}\r\nX-Forwarded-Method: GET\r\n\
             X-Forwarded-Host: shop.example\r\nX-Forwarded-Uri: /orders/17\r\n\r\n"
        );
        vec![
            ("token HS256", token),
            ("token ES256", token_es256),
            ("introspect HS256", introspection),
            ("validate HS256", validation.into_bytes()),
        ]
    }
}

/// The exact bytes with which the stored figures were counted: another header changes the count.
fn form(client: &TestClient, path: &str, body: &str) -> Vec<u8> {
    let credentials = STANDARD.encode(format!("{}:{}", client.id, client.secret));
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
