//! `mintage serve`: runs the server until a stop signal.

use super::{Context, Failure, dev};
use crate::config::{Config, Found, Sources, Weakness, listeners_beyond_loopback, shown, weaknesses};
use crate::logging;
use crate::server::Server;
use crate::server::signals::Signals;
use crate::systemd::Notifier;

#[derive(clap::Args)]
pub struct Arguments {
    /// Create two demo clients and print curl commands to try; opens /metrics
    #[arg(long)]
    dev: bool,
    /// With --dev, allow addresses that other machines can reach
    #[arg(long, requires = "dev")]
    beyond_loopback: bool,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let sources = Sources {
        open_metrics: arguments.dev,
        ..context.sources.clone()
    };
    let config = sources.load()?;
    let weak = weak_settings(&sources, &config, arguments)?;
    logging::start(config.log.format, context.clock.clone());
    for Found { key, weakness, detail } in &weak {
        let (reason, hint) = (weakness.name(), weakness.text());
        log::warn!(key, reason, detail = detail.as_deref(), hint; "weak setting");
    }
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let notifier = Notifier::of_process().map_err(|error| Failure::Failed(format!("NOTIFY_SOCKET: {error}")))?;
    let app = Server::bind(config.clone(), sources, context.clock.clone())
        .map_err(|error| failed(&error))?
        .with_notifier(notifier);
    let system = actix_web::rt::System::new();
    // Before it says that it listens: from then on, a signal must stop it in order.
    let signals = system.block_on(async { Signals::of_process() });
    let signals = signals.map_err(|error| failed(&error))?;
    let (public, admin) = (app.address(), app.admin_address().unwrap_or(app.address()));
    log::info!(
        url:% = format_args!("http://{public}"),
        issuer:% = config.server.issuer,
        database:% = shown(&config.database.url),
        admin_url = app.admin_address().map(|admin| format!("http://{admin}")).as_deref();
        "server listening"
    );
    // Before the server starts, so that it loads the clients and need not be notified of them.
    let clients = arguments.dev.then(|| dev::create_clients(context)).transpose()?;
    let when_ready = move || {
        if let Some(clients) = clients {
            super::print(&clients.instructions(public, admin));
        }
    };
    let ended = system.block_on(app.run(signals, when_ready));
    ended.map_err(|error| failed(&error))
}

/// The weak settings of this server.
fn weak_settings(sources: &Sources, config: &Config, arguments: &Arguments) -> Result<Vec<Found>, Failure> {
    let mut weak = weaknesses(config, sources)?;
    if arguments.dev && !listeners_beyond_loopback(config).is_empty() {
        if !arguments.beyond_loopback {
            return Err(Failure::Usage(
                "serve --dev creates clients for trying Mintage, and prints their secrets: listen on 127.0.0.1, or add --beyond-loopback".into(),
            ));
        }
        weak.push(Found::new("--dev", Weakness::DevBeyondLoopback));
    }
    Ok(weak)
}
