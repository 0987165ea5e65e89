//! Signals of the operating system to a running server.

use tokio::sync::mpsc;

/// What a signal requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop in order (SIGTERM, SIGINT). A second signal stops at once.
    Stop,
    /// Reload the configuration (SIGHUP).
    Reload,
}

/// A source of signals.
pub struct Signals(mpsc::UnboundedReceiver<Signal>);

/// Sends signals from code, for tests that run several servers in one process.
#[derive(Clone)]
pub struct SignalSender(mpsc::UnboundedSender<Signal>);

impl SignalSender {
    /// Sends a signal; no effect once the server has stopped.
    pub fn send(&self, signal: Signal) {
        let _ = self.0.send(signal);
    }
}

impl Signals {
    /// Signals that are sent from code.
    pub fn by_hand() -> (SignalSender, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (SignalSender(sender), Self(receiver))
    }

    /// The signals of this process. From now on they no longer terminate it.
    ///
    /// # Errors
    /// When a signal handler cannot be installed.
    pub fn of_process() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (sender, signals) = Self::by_hand();
        let kinds = [
            (SignalKind::terminate(), Signal::Stop),
            (SignalKind::interrupt(), Signal::Stop),
            (SignalKind::hangup(), Signal::Reload),
        ];
        for (kind, meaning) in kinds {
            let mut stream = signal(kind)?;
            let sender = sender.clone();
            actix_web::rt::spawn(async move {
                while stream.recv().await.is_some() {
                    sender.send(meaning);
                }
            });
        }
        Ok(signals)
    }

    /// Waits for the next signal; forever if there can be none.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}
