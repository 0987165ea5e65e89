//! The drain filter: keeps new connections away just before a listener closes, so that no
//! connection is reset.
//!
//! Closing a listening socket resets the connections in its backlog: they are established and may
//! carry a request, but are not accepted yet. A proxy may not repeat such a request elsewhere,
//! because it cannot know whether the request was processed. So before the socket is closed, new
//! connections are dropped, and established ones are still accepted.

use std::net::TcpListener;

use socket2::Socket;

/// Second handles to the listeners of a server, for the moment before they are closed.
pub struct DrainFilter(Vec<Socket>);

impl DrainFilter {
    /// Creates a filter for these listeners.
    ///
    /// # Errors
    /// When the process has no free file descriptor.
    pub fn of<'a>(listeners: impl IntoIterator<Item = &'a TcpListener>) -> std::io::Result<Self> {
        let handle = |listener: &TcpListener| listener.try_clone().map(Socket::from);
        listeners.into_iter().map(handle).collect::<Result<_, _>>().map(Self)
    }

    /// Drops the first packet of every new connection, as if it were lost on the network. The
    /// client sends it again after a second. By then the socket is closed and the connection is
    /// refused, and only a refused connection allows a proxy to try another server for any request.
    pub fn attach(&self) {
        for socket in &self.0 {
            if let Err(error) = drop_new_connections(socket) {
                // Connections that arrive in the last moment may be cut off.
                log::debug!(error:%; "drain filter not installed");
            }
        }
    }
}

/// A BPF program that drops the packets with the SYN flag that arrive at this socket.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn drop_new_connections(socket: &Socket) -> std::io::Result<()> {
    use socket2::SockFilter;
    const LOAD_BYTE: u16 = 0x30;
    const SKIP_UNLESS_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const TCP_FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const WHOLE_PACKET: u32 = u32::MAX;
    socket.attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, TCP_FLAGS_OFFSET),
        SockFilter::new(SKIP_UNLESS_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, WHOLE_PACKET),
    ])
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn drop_new_connections(_: &Socket) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::server::listener::listen;

    #[test]
    fn with_the_filter_only_established_connections_get_through() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = TcpStream::connect(address).unwrap();
        let drain_filter = DrainFilter::of([&listener]).unwrap();
        drain_filter.attach();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(100));
        assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
        waiting.write_all(b"a").unwrap();
        let (mut accepted, _) = listener.accept().unwrap();
        drop((listener, drain_filter));
        let mut byte = [0];
        accepted.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"a");
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}
