//! systemd: tells the service manager when the server is ready and when it stops (`Type=notify`, sd_notify(3)).
//!
//! The protocol is a datagram to the socket that `$NOTIFY_SOCKET` names, so no library is needed for it. Without that
//! variable nobody wants to know.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Who is told; nobody by default.
#[derive(Debug, Default)]
pub struct Notifier(Option<(UnixDatagram, SocketAddr)>);

impl Notifier {
    /// The service manager that this process was started by, if it wants to be told.
    ///
    /// # Errors
    /// When `$NOTIFY_SOCKET` names what is no socket address here; the service manager would wait for ever.
    pub fn of_process() -> io::Result<Self> {
        match std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) {
            Some(name) => Self::to(&name),
            None => Ok(Self::default()),
        }
    }

    /// Whoever listens on a socket: a path, or with a leading `@` a name in Linux's abstract namespace.
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
        // A service manager that does not read must not hold the server up.
        socket.set_nonblocking(true)?;
        Ok(Self(Some((socket, address))))
    }

    /// The server does what it is for.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// The server begins to stop.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.0
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            log::warn!(state, error:%; "service manager notification failed");
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
        Notifier::default().stopping();
    }
}
