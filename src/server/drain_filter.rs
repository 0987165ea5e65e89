//! The drain filter: stops new connections just before a listener closes, without cutting anybody off.
//!
//! A listening socket that is closed resets what waits in its queue: connections that are made, perhaps with a request on
//! them, and that nobody has accepted yet. A proxy may not send that request again, because it cannot know whether it was
//! done. So before the socket is closed, nobody may begin to connect any more, and whoever has begun gets through.

use std::net::TcpListener;

use socket2::Socket;

/// The other end of listeners that somebody else accepts from, for the moment before they are closed.
pub struct DrainFilter(Vec<Socket>);

impl DrainFilter {
    /// For these listeners.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn of<'a>(listeners: impl IntoIterator<Item = &'a TcpListener>) -> std::io::Result<Self> {
        let handle = |listener: &TcpListener| listener.try_clone().map(Socket::from);
        listeners.into_iter().map(handle).collect::<Result<_, _>>().map(Self)
    }

    /// From now on the first packet of a connection is not heard, as if it were lost on its way. Who has sent it sends it
    /// again after a second, and is refused then, because the socket is closed by that time: only a refusal tells a
    /// proxy that it may ask another server whatever the request is.
    pub fn attach(&self) {
        for socket in &self.0 {
            if let Err(error) = drop_new_connections(socket) {
                // Connections that arrive in the last moment may be cut off.
                log::debug!(error:%; "drain filter not installed");
            }
        }
    }
}

/// A program for the kernel: of the packets that come to this socket, drop those with the flag SYN.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn drop_new_connections(socket: &Socket) -> std::io::Result<()> {
    use socket2::SockFilter;
    const LOAD_BYTE: u16 = 0x30;
    const SKIP_UNLESS_SET: u16 = 0x45;
    const ANSWER: u16 = 0x06;
    const FLAGS_OF_TCP_HEADER: u32 = 13;
    const SYN: u32 = 0x02;
    const WHOLE: u32 = u32::MAX;
    socket.attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OF_TCP_HEADER),
        SockFilter::new(SKIP_UNLESS_SET, 0, 1, SYN),
        SockFilter::new(ANSWER, 0, 0, 0),
        SockFilter::new(ANSWER, 0, 0, WHOLE),
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
    fn behind_the_filter_who_waits_gets_through_and_nobody_else() {
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
