//! Signals: what the operating system asks of a running server.

use tokio::sync::mpsc;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Stop in order (SIGTERM, SIGINT). Asked twice: stop at once.
    Stop,
    /// Read the configuration again (SIGHUP).
    Reload,
}

/// Where signals come from.
pub struct Signals(mpsc::UnboundedReceiver<Signal>);

/// Sends signals by hand: for tests, which run several servers in one process.
#[derive(Clone)]
pub struct SignalSender(mpsc::UnboundedSender<Signal>);

impl SignalSender {
    /// Asks for something; a server that has stopped is not asked any more.
    pub fn send(&self, signal: Signal) {
        let _ = self.0.send(signal);
    }
}

impl Signals {
    /// Signals sent by hand.
    pub fn by_hand() -> (SignalSender, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (SignalSender(sender), Self(receiver))
    }

    /// The signals of this process; from now on they do not end it by themselves.
    ///
    /// # Errors
    /// When the operating system does not let us listen.
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

    /// The next signal; never, when there can be no more.
    pub async fn next(&mut self) -> Signal {
        match self.0.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }
}
