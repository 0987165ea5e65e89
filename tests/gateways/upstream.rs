//! [`Upstream`]: the service behind a gateway. It records each request and returns its head, or
//! opens a WebSocket (RFC 6455) that returns each message.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The key of the sample handshake in RFC 6455 §1.3, and the proof that the service has read it.
pub const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const WEBSOCKET_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The head of each request that reached the upstream.
type Seen = Arc<Mutex<Vec<String>>>;

/// A running service. Its thread ends with the process.
pub struct Upstream {
    pub address: SocketAddr,
    seen: Seen,
}

impl Upstream {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Self {
            address: listener.local_addr().unwrap(),
            seen: Seen::default(),
        };
        let seen = upstream.seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        upstream
    }

    /// The heads of the requests since the last call.
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// Responds to every request on a connection with the request's own head. A WebSocket is the last.
fn serve(stream: TcpStream, seen: &Seen) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        seen.lock().unwrap().push(head.clone());
        if head.to_ascii_lowercase().contains("\r\nupgrade: websocket\r\n") {
            return echo(&mut reader, &stream, &head);
        }
        skip_body(&mut reader, &head)?;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
        (&stream).write_all(answer.as_bytes()).ok()?;
    }
}

/// Accepts the sample handshake and returns each short message, without its mask (RFC 6455 §5).
fn echo(reader: &mut BufReader<TcpStream>, mut stream: &TcpStream, head: &str) -> Option<()> {
    let sample = format!("\r\nsec-websocket-key: {WEBSOCKET_KEY}\r\n").to_ascii_lowercase();
    if !head.to_ascii_lowercase().contains(&sample) {
        return None;
    }
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {WEBSOCKET_ACCEPT}\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).ok()?;
    loop {
        let mut start = [0; 6];
        reader.read_exact(&mut start).ok()?;
        let [kind, length, mask @ ..] = start;
        let length = length.checked_sub(0x80)?;
        let mut message = vec![0; length.into()];
        reader.read_exact(&mut message).ok()?;
        for (byte, mask) in message.iter_mut().zip(mask.into_iter().cycle()) {
            *byte ^= mask;
        }
        stream.write_all(&[&[kind, length], message.as_slice()].concat()).ok()?;
    }
}

fn skip_body(reader: &mut BufReader<TcpStream>, head: &str) -> Option<()> {
    let lower = head.to_ascii_lowercase();
    let value = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name));
    if let Some(length) = value("content-length:") {
        let length = length.trim().parse().ok()?;
        std::io::copy(&mut reader.take(length), &mut std::io::sink()).ok()?;
    } else if value("transfer-encoding:").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let length = u64::from_str_radix(line.trim(), 16).ok()?;
            std::io::copy(&mut reader.take(length + 2), &mut std::io::sink()).ok()?;
            if length == 0 {
                break;
            }
        }
    }
    Some(())
}
