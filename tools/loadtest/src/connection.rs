//! One persistent connection: sends a request and reads the whole response.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to the server.
pub struct Connection {
    address: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            address,
            stream,
            buffer: vec![0; 16 << 10],
        })
    }

    /// Opens `count` connections, spread over the servers in turn.
    pub async fn open_all(addresses: &[SocketAddr], count: usize) -> Vec<Self> {
        let mut open = Vec::with_capacity(count);
        for address in addresses.iter().cycle().take(count) {
            open.push(Self::open(*address).await.expect("the server accepts"));
        }
        open
    }

    /// Whether the status is 200. A connection that the server closed is replaced, and its request
    /// counts as failed.
    pub async fn succeeds(&mut self, request: &[u8]) -> bool {
        match self.exchange(request).await {
            Ok(status) => status == 200,
            Err(_) => {
                if let Ok(fresh) = Self::open(self.address).await {
                    *self = fresh;
                }
                false
            }
        }
    }

    /// Sends a request, reads its response and returns the status.
    async fn exchange(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if let Some((status, length)) = head(&self.buffer[..filled])?
                && filled >= length
            {
                return Ok(status);
            }
        }
    }
}

/// The status and the total length of a response, once the head has arrived.
fn head(response: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let malformed = || Error::from(ErrorKind::InvalidData);
    let text = std::str::from_utf8(&response[..end]).map_err(|_| malformed())?;
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.get(9..12)?.parse().ok());
    let body = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.parse::<usize>().ok());
    match (status, body) {
        (Some(status), Some(body)) => Ok(Some((status, end + 4 + body))),
        _ => Err(malformed()),
    }
}
