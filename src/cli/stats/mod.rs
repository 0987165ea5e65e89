//! `mintage stats`: shows the figures of a running server from its `/metrics`. A terminal is
//! redrawn, a pipe gets one line per interval.
//!
//! The figures cover the time between two scrapes. Where `/metrics` needs a token, the command gets
//! one with the credentials of a client.

mod credentials;
mod fetch;
mod figures;

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::Instant;

use super::{Context, Failure};
use crate::config;
use crate::metrics::{Sample, read};
use figures::Figures;

pub use fetch::{Target, reachable};

/// The accepted intervals. With a shorter one, the scrapes would be most of the load; a longer one
/// is not useful.
const INTERVALS: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// Clears the terminal and moves the cursor to its first line.
const REDRAW: &str = "\x1b[H\x1b[2J";

#[derive(clap::Args)]
pub struct Arguments {
    /// URL of the server, or of server.admin_listen if set
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    url: String,
    #[command(flatten)]
    client: credentials::Options,
    /// Show one interval and exit
    #[arg(long)]
    once: bool,
    /// Print JSON, one object per line
    #[arg(long)]
    json: bool,
    /// Interval between two scrapes, 100ms to 1h
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    interval: String,
    /// Route whose latency is shown
    #[arg(long, value_name = "PATTERN", default_value = "/token")]
    route: String,
}

/// A scrape, and when it was taken.
struct Scrape {
    samples: Vec<Sample>,
    at: Instant,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let target = Target::parse(&arguments.url)?;
    let interval = arguments.interval()?;
    let target = target.with_credentials(arguments.client.credentials()?);
    if let Some(host) = target.host_in_clear() {
        eprintln!(
            "mintage: warning: --url: over http, others on the way to {host} can read the secret of the client: use https"
        );
    }
    let redraw = !arguments.json && !arguments.once && io::stdout().is_terminal();
    // A server that cannot be reached at first is an error. One that becomes unreachable later may
    // come back.
    let mut before = Some(scrape(&target)?);
    loop {
        std::thread::sleep(interval);
        let now = scrape(&target);
        let shown = match (&before, &now) {
            (Some(before), Ok(now)) => {
                let seconds = now.at.duration_since(before.at).as_secs_f64();
                let figures = Figures::between(&before.samples, &now.samples, seconds, &arguments.route);
                Some(match (arguments.json, redraw) {
                    (true, _) => figures.as_json(context.clock.now()),
                    (false, true) => format!("{REDRAW}{}", figures.as_screen(&target.to_string())),
                    (false, false) => figures.as_line(context.clock.now()),
                })
            }
            (_, Err(failure)) if arguments.once => return Err(failure.clone()),
            (_, Err(failure)) if redraw => Some(format!("{REDRAW}{target}: {failure}")),
            (_, Err(failure)) => {
                eprintln!("mintage: {failure}");
                None
            }
            // The server is back; the next scrape has a predecessor.
            (None, Ok(_)) => None,
        };
        if let Some(shown) = shown
            && writeln!(io::stdout(), "{shown}").is_err()
        {
            // The reader has closed the pipe (`| head`).
            return Ok(());
        }
        if arguments.once {
            return Ok(());
        }
        before = now.ok();
    }
}

impl Arguments {
    fn interval(&self) -> Result<Duration, Failure> {
        let wrong = |what: &str| Failure::Usage(format!("--interval: {what}"));
        let interval: config::Duration = self.interval.parse().map_err(|what: String| wrong(&what))?;
        match INTERVALS.contains(&interval.0) {
            true => Ok(interval.0),
            false => Err(wrong("must be from 100ms to 1h")),
        }
    }
}

fn scrape(target: &Target) -> Result<Scrape, Failure> {
    let text = target.get().map_err(Failure::Failed)?;
    let samples = read(&text).filter(|samples| figures::is_mintage(samples));
    let samples =
        samples.ok_or_else(|| Failure::Failed(format!("{target} does not answer with metrics of Mintage")))?;
    Ok(Scrape {
        samples,
        at: Instant::now(),
    })
}
