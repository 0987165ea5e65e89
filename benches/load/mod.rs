//! The load of the HTTP benchmarks: a server in a process of its own, and a closed loop of kept-alive connections
//! that drives it. What is measured is the server's CPU time, read from the kernel before and after.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server under test; killed when dropped.
pub struct Server {
    process: Child,
    /// Where it listens.
    pub address: String,
    /// From its start to its being ready.
    pub ready_after: Duration,
}

impl Server {
    /// Starts `command` and waits until a line of its standard error holds `http://ADDRESS` and `/readyz` (if it has
    /// one) answers 200.
    #[allow(clippy::disallowed_methods, reason = "a benchmark measures time")]
    pub fn start(command: &mut Command, has_readyz: bool) -> Self {
        let began = Instant::now();
        let mut process = command
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut lines = BufReader::new(process.stderr.take().expect("standard error is piped")).lines();
        let address = loop {
            let line = lines
                .next()
                .expect("the server says where it listens")
                .expect("its lines are text");
            if let Some((_, rest)) = line.split_once("http://") {
                break rest.split_whitespace().next().expect("an address follows").to_owned();
            }
        };
        // Read on, or the server would block once the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        let mut server = Self {
            process,
            address,
            ready_after: Duration::ZERO,
        };
        if has_readyz {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(server.wait_until_ready());
        }
        server.ready_after = began.elapsed();
        server
    }

    async fn wait_until_ready(&self) {
        let request = format!(
            "GET /readyz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.address
        );
        for _ in 0..5000 {
            if let Ok(mut stream) = TcpStream::connect(&self.address).await {
                let mut answer = Vec::new();
                stream.write_all(request.as_bytes()).await.expect("the request is sent");
                let _ = stream.read_to_end(&mut answer).await;
                if answer.starts_with(b"HTTP/1.1 200") {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("the server did not become ready");
    }

    /// CPU time that all its threads have used, in nanoseconds.
    pub fn cpu_nanos(&self) -> u64 {
        cpu_nanos_of(self.process.id())
    }

    /// Its resident memory, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("Linux tells the resident set");
        let kilobytes: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok())
            .expect("a number");
        kilobytes * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// CPU time that the threads of a process have used, in nanoseconds.
pub fn cpu_nanos_of(process: u32) -> u64 {
    let mut total = 0;
    for task in std::fs::read_dir(format!("/proc/{process}/task"))
        .expect("the process runs")
        .flatten()
    {
        if let Ok(text) = std::fs::read_to_string(task.path().join("schedstat")) {
            total += text
                .split_whitespace()
                .next()
                .and_then(|first| first.parse::<u64>().ok())
                .unwrap_or(0);
        }
    }
    total
}

/// A token request as bytes, with HTTP Basic credentials.
pub fn token_request(id: &str, secret: &str, body: &str) -> Vec<u8> {
    form_request("/token", id, secret, body)
}

/// A form as bytes, with HTTP Basic credentials.
pub fn form_request(path: &str, id: &str, secret: &str, body: &str) -> Vec<u8> {
    use base64::Engine;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends `total` requests over `connections` kept-alive connections, each the next of `requests` in turn, and panics
/// at the first answer that is not 200.
pub fn drive(address: &str, requests: &[Vec<u8>], connections: usize, total: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let requests = std::rc::Rc::new(requests.to_vec());
        let mut loops = Vec::new();
        for connection in 0..connections {
            let (address, requests) = (address.to_owned(), requests.clone());
            let share = total / connections + usize::from(connection < total % connections);
            loops.push(tokio::task::spawn_local(async move {
                let mut stream = TcpStream::connect(&address).await.expect("the server accepts");
                stream.set_nodelay(true).expect("a TCP socket");
                let mut buffer = vec![0; 16 << 10];
                for number in 0..share {
                    let request = &requests[(connection + number * connections) % requests.len()];
                    stream.write_all(request).await.expect("the request is sent");
                    read_answer(&mut stream, &mut buffer).await;
                }
            }));
        }
        for each in loops {
            each.await.expect("no loop fails");
        }
    });
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await.expect("the answer is read");
        assert!(read > 0, "the server closed the connection");
        filled += read;
        let answer = &buffer[..filled];
        let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&answer[..head]).expect("a head is text");
        let length = text
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")
                    .map(str::to_owned)
            })
            .and_then(|length| length.parse::<usize>().ok())
            .expect("answers have a length");
        if filled == head + 4 + length {
            assert!(text.starts_with("HTTP/1.1 200"), "{}", String::from_utf8_lossy(answer));
            return;
        }
    }
}

/// Makes a client with the command line; answers its id and secret.
pub fn make_client(binary: &Path, database: &str, more: &[&str]) -> (String, String) {
    let output = Command::new(binary)
        .args([
            "--database-url",
            database,
            "client",
            "create",
            "--json",
            "--name",
            "bench",
        ])
        .args(["--scope", "orders:read orders:write"])
        .args(more)
        .output()
        .expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = |member: &str| made[member].as_str().expect("a string").to_owned();
    (text("client_id"), text("client_secret"))
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
