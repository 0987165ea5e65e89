//! [`Upstream`]: the service behind a gateway. It records each request and returns its head.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

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

/// Responds to every request on a connection with the request's own head.
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
