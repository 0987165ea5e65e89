//! What a true Redis takes to tell many subscribers something: the cost of "poll now".

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::measure::cpu_nanos;
use crate::postgres::free_port;
use crate::report::table::{figure, whole};

/// As many as there are instances.
const SUBSCRIBERS: usize = 100;
const MESSAGES: usize = 2000;

/// Measures it and prints it.
pub fn run() {
    let port = free_port().to_string();
    let server = Command::new("redis-server")
        .args([
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let Ok(server) = server else {
        return println!("Redis is missing: apt-get install redis-server");
    };
    let server = Server(server);
    let address = format!("127.0.0.1:{port}");
    let mut subscribers: Vec<BufReader<TcpStream>> = (0..SUBSCRIBERS).map(|_| connected(&address)).collect();
    for subscriber in &mut subscribers {
        send(subscriber, "SUBSCRIBE poll\r\n");
        // An array of three: six lines.
        lines(subscriber, 6);
    }
    let mut publisher = connected(&address);
    let process = server.0.id() as i32;
    let (cpu, began) = (cpu_nanos(process), Instant::now());
    for _ in 0..MESSAGES {
        send(&mut publisher, "PUBLISH poll 1\r\n");
        lines(&mut publisher, 1);
        // Like the instances, they take it when it comes.
        for subscriber in &mut subscribers {
            lines(subscriber, 7);
        }
    }
    let (cpu, took) = (cpu_nanos(process) - cpu, began.elapsed().as_secs_f64());
    println!(
        "a message to {SUBSCRIBERS} subscribers takes Redis {} µs of CPU, {} for each of them; {} messages a second, one after the other",
        figure(cpu as f64 / 1e3 / MESSAGES as f64),
        figure(cpu as f64 / 1e3 / (MESSAGES * SUBSCRIBERS) as f64),
        whole(MESSAGES as f64 / took)
    );
}

/// Ends with the benchmark.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn connected(address: &str) -> BufReader<TcpStream> {
    let began = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true).expect("an option that TCP has");
                return BufReader::new(stream);
            }
            Err(error) if began.elapsed() > Duration::from_secs(10) => panic!("Redis does not answer: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn send(to: &mut BufReader<TcpStream>, command: &str) {
    to.get_mut().write_all(command.as_bytes()).expect("Redis listens");
}

fn lines(from: &mut BufReader<TcpStream>, count: usize) {
    let mut line = String::new();
    for _ in 0..count {
        from.read_line(&mut line).expect("Redis answers");
    }
}
