//! [`Upstream`]: the service behind a gateway. It remembers what it saw, and says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What reached it: the head of each request.
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

    /// The heads of what has come since the last call.
    pub fn take_seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// Answers every request on a connection with its own head.
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
        skip_body(&mut reader, &head)?;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{head}", head.len());
        (&stream).write_all(answer.as_bytes()).ok()?;
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
