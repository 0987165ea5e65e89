//! A real Redis server for a test: in a new folder, on a free port, removed when it is dropped or
//! the test process ends.
//!
//! A supervising shell reads a pipe whose other end only this process holds. However the tests end,
//! even by SIGKILL, the pipe closes; then the shell stops the server and removes the folder.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crate::poll::until;
use crate::port;

use mintage::mutex::lock;

/// The timeout for a reply; a healthy server never takes this long.
const REDIS_TIMEOUT: Duration = Duration::from_secs(10);

/// The supervising shell. Arguments: the port, and options of the server.
const SUPERVISOR: &str = r#"
trap '' PIPE
port=$1
shift
folder=$(mktemp -d /tmp/mintage-redis.XXXXXX) || exit
cd "$folder" || exit
redis-server --port "$port" --bind 127.0.0.1 --save "" --appendonly no "$@" >log 2>&1 </dev/null &
echo $!
cat >/dev/null
kill -CONT $! 2>/dev/null
kill -KILL $! 2>/dev/null
cd / && rm -rf "$folder"
"#;

pub struct Redis {
    port: u16,
    arguments: Vec<String>,
    /// `None` while it is stopped.
    running: Mutex<Option<Running>>,
}

struct Running {
    supervisor: Child,
    pid: u32,
}

impl Redis {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts the server with these options.
    pub fn with(arguments: &[&str]) -> Self {
        let redis = Self {
            port: port::free(),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            running: Mutex::new(None),
        };
        redis.start_again();
        redis
    }

    pub fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// Restarts the server after [`Redis::stop`], empty, on the same port.
    pub fn start_again(&self) {
        let mut supervisor = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor", &self.port.to_string()])
            .args(&self.arguments)
            // Otherwise Ctrl-C would end the shell before it has cleaned up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut pid = String::new();
        let mut output = BufReader::new(supervisor.stdout.take().expect("it is piped"));
        output.read_line(&mut pid).unwrap();
        let pid = pid
            .trim()
            .parse()
            .expect("redis-server is missing: apt-get install redis-server");
        *self.running() = Some(Running { supervisor, pid });
        until("redis-server starts; is it installed?", REDIS_TIMEOUT, || {
            TcpStream::connect(self.address()).is_ok()
        });
    }

    /// Kills the server: connections are refused from now on.
    pub fn stop(&self) {
        self.running().take();
    }

    /// Suspends the server (SIGSTOP): connections are accepted but get no reply.
    pub fn hang(&self) {
        self.signal("STOP");
    }

    /// Resumes the server (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Sends a command. Returns the reply, as RESP.
    pub fn ask(&self, words: &[&[u8]]) -> Vec<u8> {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(REDIS_TIMEOUT)).unwrap();
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(&command(words)).unwrap();
        read_reply(&mut stream)
    }

    /// Like [`Redis::ask`], for commands and replies that are text.
    pub fn say(&self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        String::from_utf8_lossy(&self.ask(&words)).into_owned()
    }

    /// The names of all keys.
    pub fn keys(&self) -> Vec<String> {
        let reply = self.say(&["KEYS", "*"]);
        let mut lines: Vec<String> = reply.lines().skip(1).map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with('$'));
        lines.sort();
        lines
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        let reply = self.ask(&[b"GET", key.as_bytes()]);
        let head = reply.windows(2).position(|pair| pair == b"\r\n")? + 2;
        reply.starts_with(b"$").then_some(())?;
        (!reply.starts_with(b"$-1")).then(|| reply[head..reply.len() - 2].to_vec())
    }

    fn signal(&self, name: &str) {
        let running = self.running();
        let pid = running.as_ref().expect("it runs").pid.to_string();
        let sent = Command::new("kill").args([format!("-{name}"), pid]).status();
        assert!(sent.unwrap().success());
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        lock(&self.running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// A command as RESP.
pub fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Reads one reply, including nested ones.
fn read_reply(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut reply = Vec::new();
    stream.read_until(b'\n', &mut reply).unwrap();
    let head = String::from_utf8_lossy(&reply).into_owned();
    let number = |head: &str| head[1..].trim().parse::<i64>().unwrap();
    match head.as_bytes().first() {
        Some(b'$') if number(&head) >= 0 => {
            let mut text = vec![0; number(&head) as usize + 2];
            stream.read_exact(&mut text).unwrap();
            reply.append(&mut text);
        }
        Some(b'*') => (0..number(&head)).for_each(|_| reply.append(&mut read_reply(stream))),
        _ => {}
    }
    reply
}
