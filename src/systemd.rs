//! systemd: notifies the service manager when the server is ready, reloads or stops, and that it is
//! alive (`Type=notify`, sd_notify(3)).
//!
//! The states and the watchdog's interval are sd-notify's. The socket is our own: sd-notify 0.5
//! treats a name in Linux's abstract namespace as a path, and blocks when the service manager does
//! not read.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// The service manager, if there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// How long the service manager waits for a watchdog notification before it kills the server.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The service manager that started this process, if `$NOTIFY_SOCKET` names one.
    ///
    /// # Errors
    /// When `$NOTIFY_SOCKET` is not the address of a socket: the service manager would wait for
    /// ever.
    pub fn of_process() -> io::Result<Self> {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(Self::default());
        };
        Ok(Self {
            watchdog: sd_notify::watchdog_enabled().filter(|time| !time.is_zero()),
            ..Self::to(&name)?
        })
    }

    /// A service manager that listens on a socket: a path, or with a leading `@` a name in Linux's
    /// abstract namespace.
    ///
    /// # Errors
    /// As [`Notifier::of_process`].
    pub fn to(name: &OsStr) -> io::Result<Self> {
        let address = match name.as_bytes() {
            [b'@', name @ ..] => abstract_address(name)?,
            [b'/', ..] => SocketAddr::from_pathname(name)?,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor @name")),
        };
        let socket = UnixDatagram::unbound()?;
        // A service manager that does not read must not block the server.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket: Some((socket, address)),
            watchdog: None,
        })
    }

    /// The server has started, or has reloaded its configuration.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// The server begins to reload its configuration; [`Notifier::ready`] ends that.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => log::warn!(state = "RELOADING=1", error:%; "service manager notification failed"),
        }
    }

    /// The server begins to stop.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    /// Sends a watchdog notification at half of the interval, for as long as this is polled. Never
    /// ends.
    pub async fn keep_alive(&self) -> Infallible {
        let Some(watchdog) = self.watchdog else {
            return std::future::pending().await;
        };
        loop {
            self.tell(&[NotifyState::Watchdog]);
            tokio::time::sleep(watchdog / 2).await;
        }
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some((socket, address)) = &self.socket else {
            return;
        };
        let states: Vec<String> = states.iter().map(ToString::to_string).collect();
        if let Err(error) = socket.send_to_addr(states.join("\n").as_bytes(), address) {
            log::warn!(state = states[0].as_str(), error:%; "service manager notification failed");
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "only Linux has abstract names",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_another_form_is_refused() {
        for name in ["notify", "vsock:2:1234", ""] {
            assert!(Notifier::to(OsStr::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_manager_that_is_gone_is_no_failure() {
        let notifier = Notifier::to(OsStr::new("/nonexistent/notify")).unwrap();
        notifier.ready();
        notifier.reloading();
        Notifier::default().stopping();
    }

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_is_told_at_half_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        manager.set_nonblocking(true).unwrap();
        let told = || std::iter::from_fn(|| manager.recv(&mut [0; 64]).ok()).count();
        let notifier = Notifier {
            watchdog: Some(Duration::from_secs(10)),
            ..Notifier::to(folder.path().join("notify").as_os_str()).unwrap()
        };
        let mut alive = std::pin::pin!(notifier.keep_alive());
        for _ in 0..3 {
            let _ = tokio::time::timeout(Duration::from_millis(4_990), &mut alive).await;
            assert_eq!(told(), 1);
            tokio::time::advance(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watchdog_there_are_no_signs_of_life() {
        let notifier = Notifier::default();
        let silent = tokio::time::timeout(Duration::from_secs(3600), notifier.keep_alive());
        assert!(silent.await.is_err());
    }
}
