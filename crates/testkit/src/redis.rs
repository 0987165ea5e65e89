//! A real Redis for a test: in a folder of its own, on a free port, gone when it is dropped or its process ends.
//!
//! A shell stays with it and reads a pipe whose other end only this process holds. However the tests end, killed
//! included, the pipe closes; then the shell stops the server and removes the folder.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::poll::until;
use crate::postgres::free_port;

/// How long it may take to answer; a test that waits longer has found a fault.
const REDIS_TIMEOUT: Duration = Duration::from_secs(10);

/// Its arguments: the port, and more for the server.
const KEEPER: &str = r#"
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
    keeper: Child,
    pid: u32,
}

impl Redis {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these arguments for the server.
    pub fn with(arguments: &[&str]) -> Self {
        let redis = Self {
            port: free_port(),
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

    /// Empty, on the same port, after [`Redis::stop`].
    pub fn start_again(&self) {
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper", &self.port.to_string()])
            .args(&self.arguments)
            // Or Ctrl-C would end the keeper before its work is done.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let mut pid = String::new();
        let mut output = BufReader::new(keeper.stdout.take().expect("it is piped"));
        output.read_line(&mut pid).unwrap();
        let pid = pid
            .trim()
            .parse()
            .expect("redis-server is missing: apt-get install redis-server");
        *self.running() = Some(Running { keeper, pid });
        until("redis-server starts; is it installed?", REDIS_TIMEOUT, || {
            TcpStream::connect(self.address()).is_ok()
        });
    }

    /// As by kill −9: connections are refused from now on.
    pub fn stop(&self) {
        self.running().take();
    }

    /// SIGSTOP: connections are accepted and nothing is answered.
    pub fn hang(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// What it answers to a command, as RESP.
    pub fn ask(&self, words: &[&[u8]]) -> Vec<u8> {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(REDIS_TIMEOUT)).unwrap();
        let mut stream = BufReader::new(stream);
        stream.get_mut().write_all(&command(words)).unwrap();
        read_answer(&mut stream)
    }

    /// As [`Redis::ask`], for words and answers that are text.
    pub fn say(&self, words: &[&str]) -> String {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        String::from_utf8_lossy(&self.ask(&words)).into_owned()
    }

    /// The names of all keys.
    pub fn keys(&self) -> Vec<String> {
        let answer = self.say(&["KEYS", "*"]);
        let mut lines: Vec<String> = answer.lines().skip(1).map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with('$'));
        lines.sort();
        lines
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        let answer = self.ask(&[b"GET", key.as_bytes()]);
        let head = answer.windows(2).position(|pair| pair == b"\r\n")? + 2;
        answer.starts_with(b"$").then_some(())?;
        (!answer.starts_with(b"$-1")).then(|| answer[head..answer.len() - 2].to_vec())
    }

    fn signal(&self, name: &str) {
        let running = self.running();
        let pid = running.as_ref().expect("it runs").pid.to_string();
        let sent = Command::new("kill").args([format!("-{name}"), pid]).status();
        assert!(sent.unwrap().success());
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
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

/// Reads one answer, with what is in it.
fn read_answer(stream: &mut BufReader<TcpStream>) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.read_until(b'\n', &mut answer).unwrap();
    let head = String::from_utf8_lossy(&answer).into_owned();
    let number = |head: &str| head[1..].trim().parse::<i64>().unwrap();
    match head.as_bytes().first() {
        Some(b'$') if number(&head) >= 0 => {
            let mut text = vec![0; number(&head) as usize + 2];
            stream.read_exact(&mut text).unwrap();
            answer.append(&mut text);
        }
        Some(b'*') => (0..number(&head)).for_each(|_| answer.append(&mut read_answer(stream))),
        _ => {}
    }
    answer
}
