//! A running server: waits for the end of its start, for signals and for the writer's exit signal,
//! and stops in order.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use tokio::time::{Instant, timeout_at};

use super::drain_filter::DrainFilter;
use super::reload;
use super::signals::{Signal, Signals};
use super::startup::FatalStartupError;
use crate::actors::batch_writer::ExitSignal;
use crate::config::{Config, Sources};
use crate::db::Db;
use crate::http::Shared;
use crate::systemd::Notifier;

/// The server cannot start, or did not stop cleanly. The text is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError(pub String);

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServerError {}

/// The last part of `server.drain_delay`, in which new connections are dropped. Established ones
/// pass through the acceptor to a worker, with their first request.
const DRAIN_FILTER_DURATION: Duration = Duration::from_millis(100);

/// How often the counts of denials without a line are looked at.
const DENIALS_INTERVAL: Duration = Duration::from_secs(1);

/// What is needed while the server runs.
pub(super) struct Running {
    pub config: Config,
    pub sources: Sources,
    pub db: Db,
    pub shared: Arc<Shared>,
    pub servers: Vec<ServerHandle>,
    pub notifier: Notifier,
}

impl Running {
    /// Serves until a stop signal arrives, the start fails or the writer exits; then stops in
    /// order.
    ///
    /// # Errors
    /// See [`super::Server::run`].
    pub async fn run(
        mut self,
        startup: impl Future<Output = Result<(), FatalStartupError>>,
        mut writer_exit: ExitSignal,
        drain_filter: DrainFilter,
        mut signals: Signals,
        when_ready: impl FnOnce(),
    ) -> Result<(), ServerError> {
        let mut startup = pin!(startup);
        let mut when_ready = Some(when_ready);
        let notifier = std::mem::take(&mut self.notifier);
        let mut alive = pin!(notifier.keep_alive());
        let mut denials = tokio::time::interval(DENIALS_INTERVAL);
        let failure = loop {
            tokio::select! {
                started = &mut startup, if when_ready.is_some() => match started {
                    Ok(()) => {
                        self.shared.readiness.started();
                        notifier.ready();
                        if let Some(when_ready) = when_ready.take() {
                            when_ready();
                        }
                    }
                    Err(fatal) => break Some(ServerError(fatal.to_string())),
                },
                signal = signals.next() => match signal {
                    Signal::Stop => break None,
                    Signal::Reload => {
                        // A server that has not started yet must not report the end of a reload as
                        // "ready".
                        let started = when_ready.is_none();
                        if started {
                            notifier.reloading();
                        }
                        reload::reload(&mut self.config, &self.sources, &self.shared).await;
                        if started {
                            notifier.ready();
                        }
                    }
                },
                never = &mut alive => match never {},
                _ = denials.tick() => self.shared.denials.report(self.shared.clock.now()),
                Ok(()) = &mut writer_exit => break Some(ServerError("the writer of token records died".into())),
            }
        };
        if let Some(error) = &failure {
            log::error!(error:%; "server failed");
        }
        notifier.stopping();
        let stopped = tokio::select! {
            stopped = self.stop(drain_filter) => stopped,
            Signal::Stop = signals.next() => Err(lost(&self.shared, "asked twice to stop")),
            never = &mut alive => match never {},
        };
        failure.map_or(stopped, Err)
    }

    /// Stops in order, within `server.shutdown_timeout`: becomes not ready, closes connections,
    /// drains HTTP, flushes the records.
    ///
    /// When actix stops, it closes idle keep-alive connections, even those on which a request has
    /// just been sent. So during `server.drain_delay` every response announces that its connection
    /// closes, and clients send no further request on it. Idle connections have the same delay to
    /// be closed by their clients.
    async fn stop(&self, drain_filter: DrainFilter) -> Result<(), ServerError> {
        let deadline = Instant::now() + self.config.server.shutdown_timeout.0;
        self.shared.readiness.drain();
        log::info!(pending = self.shared.writer.pending(); "server stopping");
        tokio::time::sleep(self.config.server.drain_delay.0.saturating_sub(DRAIN_FILTER_DURATION)).await;
        drain_filter.attach();
        tokio::time::sleep(DRAIN_FILTER_DURATION).await;
        drop(drain_filter);
        for server in &self.servers {
            // Also bounded by actix's own shutdown timeout. Requests not finished by then are cut
            // off.
            let _ = timeout_at(deadline, server.stop(true)).await;
        }
        self.shared.denials.report_all();
        // If draining took the whole timeout, the flush still gets a second.
        let flush_deadline = deadline.max(Instant::now() + Duration::from_secs(1));
        let flushed = timeout_at(flush_deadline, self.shared.writer.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) || self.shared.writer.pending() > 0 {
            return Err(lost(&self.shared, "server.shutdown_timeout is over"));
        }
        if let Err(error) = self.shared.secret_usage.write(&self.db).await {
            log::warn!(error:%; "secret usage not written");
        }
        self.shared.audit_notes.finish(&self.db, self.shared.clock.now()).await;
        if let Err(error) = self.db.checkpoint().await {
            log::warn!(error:%; "wal checkpoint failed");
        }
        log::info!("server stopped");
        Ok(())
    }
}

/// The stop was cut short: logs how many records and audit events are lost, and reports the
/// records.
fn lost(shared: &Shared, why: &str) -> ServerError {
    shared.audit_notes.give_up();
    let count = shared.writer.pending();
    if count > 0 {
        log::error!(count; "token records lost");
    }
    ServerError(format!("stopped early, {why}: {count} token records lost"))
}
