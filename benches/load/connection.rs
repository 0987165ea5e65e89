//! One kept-alive connection: sends a request, reads the whole answer.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection to the server.
pub struct Connection {
    address: String,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            address: address.to_owned(),
            stream,
            buffer: vec![0; 16 << 10],
        })
    }

    /// Whether the answer is a 200. A connection that the server closed is replaced, and that request has failed.
    pub async fn succeeds(&mut self, request: &[u8]) -> bool {
        match self.exchange(request).await {
            Ok(status) => status == 200,
            Err(_) => {
                if let Ok(fresh) = Self::open(&self.address).await {
                    *self = fresh;
                }
                false
            }
        }
    }

    /// Sends a request and reads its answer; what it gives is the status.
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

/// The status of an answer and its whole length, once its head is there.
fn head(answer: &[u8]) -> Result<Option<(u16, usize)>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let malformed = || Error::from(ErrorKind::InvalidData);
    let text = std::str::from_utf8(&answer[..end]).map_err(|_| malformed())?;
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
