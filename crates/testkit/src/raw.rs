//! [`RawConnection`]: a connection that never waits, so that one thread drives hundreds of them, and
//! that reads only when it is told to.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::http::{RESPONSE_TIMEOUT, Response};

/// The smallest buffers that Linux allows are below this.
const SMALL_BUFFER: usize = 4096;

/// A connection that never waits.
pub struct RawConnection {
    stream: TcpStream,
    /// What the server sent, as far as it was read and is kept.
    pub received: Vec<u8>,
    end: Option<End>,
    /// Whether sending has failed: the other end is gone. What it sent before may still be readable.
    broken: bool,
}

/// How the server ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It closed its side: everything it sent has arrived.
    Closed,
    /// It aborted the connection.
    Reset,
}

impl RawConnection {
    #[track_caller]
    pub fn open(to: SocketAddr) -> Self {
        Self::try_open(None, None, to).expect("the server accepts connections")
    }

    /// From another address of this machine, such as 127.0.0.2.
    #[track_caller]
    pub fn open_from(from: IpAddr, to: SocketAddr) -> Self {
        Self::try_open(Some(from), None, to).expect("the server accepts connections")
    }

    /// With buffers so small that the server notices early that no one reads, and that what it does
    /// not read is not taken.
    #[track_caller]
    pub fn open_narrow(to: SocketAddr) -> Self {
        Self::try_open(None, Some(SMALL_BUFFER), to).expect("the server accepts connections")
    }

    /// # Errors
    /// When the connection is not established within [`RESPONSE_TIMEOUT`].
    pub fn try_open(from: Option<IpAddr>, buffers: Option<usize>, to: SocketAddr) -> std::io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        if let Some(bytes) = buffers {
            socket.set_recv_buffer_size(bytes)?;
            socket.set_send_buffer_size(bytes)?;
        }
        socket.connect_timeout(&to.into(), RESPONSE_TIMEOUT)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            received: Vec::new(),
            end: None,
            broken: false,
        })
    }

    /// Sends as much as the connection takes now. Returns the number of bytes; 0 when the
    /// connection has ended.
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.broken = true;
                    break;
                }
            }
        }
        sent
    }

    /// Reads all that has arrived. Returns the number of bytes.
    pub fn receive(&mut self) -> usize {
        let before = self.received.len();
        let mut piece = [0; 16 << 10];
        while self.end.is_none() {
            match self.stream.read(&mut piece) {
                Ok(0) => self.end = Some(End::Closed),
                Ok(length) => self.received.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.end = Some(End::Reset),
            }
        }
        self.received.len() - before
    }

    /// Whether the server aborted the connection, without reading what it sent before.
    pub fn is_reset(&mut self) -> bool {
        // An error is reported once: to `send`, or here.
        self.broken |= !matches!(self.stream.take_error(), Ok(None));
        self.broken || self.end == Some(End::Reset)
    }

    /// Says that nothing more is sent, while the server may still answer.
    pub fn finish_sending(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    /// How the server ended the connection, if it did; known after [`RawConnection::receive`].
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The address of this end.
    pub fn local_address(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// The responses among what was received; the last one may be truncated.
    pub fn responses(&self) -> Vec<Response> {
        Response::parse_all(&mut self.received.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;
    use crate::poll::until;

    /// The time for something that happens at once.
    const SOON: Duration = Duration::from_secs(10);

    fn pair() -> (RawConnection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = RawConnection::open_narrow(listener.local_addr().unwrap());
        (connection, listener.accept().unwrap().0)
    }

    #[test]
    fn a_closed_connection_is_told_from_an_aborted_one() {
        let (mut connection, mut server) = pair();
        server
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .unwrap();
        drop(server);
        until("the end", SOON, || {
            connection.receive();
            connection.end().is_some()
        });
        assert_eq!(connection.end(), Some(End::Closed));
        assert_eq!(connection.responses()[0].text(), "ok");

        let (mut connection, mut server) = pair();
        server.write_all(b"unread").unwrap();
        assert!(!connection.is_reset());
        socket2::SockRef::from(&server)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(server);
        until("the abort", SOON, || connection.is_reset());
    }

    #[test]
    fn sending_stops_when_the_other_end_does_not_read() {
        let (mut connection, _server) = pair();
        let bytes = vec![0; 64 << 20];
        assert!(connection.send(&bytes) < bytes.len());
    }
}
