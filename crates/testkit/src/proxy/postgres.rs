//! [`PostgresProxy`]: a proxy in front of PostgreSQL that simulates faults of networks and servers.
//!
//! It parses as much of the protocol as it needs to recognize a COMMIT: frontend messages, of which
//! `Query` contains a whole statement, while `Parse`, `Bind` and `Execute` split it in three.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use mintage::mutex::lock;

/// How the proxy handles connections and bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Conduct {
    /// Everything is forwarded.
    Pass,
    /// New and existing connections are closed immediately.
    Refuse,
    /// Connections are accepted and nothing is forwarded. What was sent is delivered once the
    /// conduct changes.
    Hold,
    /// Each response is delayed by this much.
    Delay(Duration),
    /// Responses are forwarded byte by byte, with a pause before each.
    Drip(Duration),
}

/// A running proxy. When dropped, it closes all connections.
pub struct PostgresProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    conduct: Mutex<Conduct>,
    changed: Condvar,
    closed: AtomicBool,
    /// How many more commits lose their response.
    cuts: AtomicUsize,
    /// Both ends of every connection.
    links: Mutex<Vec<TcpStream>>,
    statements: AtomicUsize,
}

impl PostgresProxy {
    /// Starts a proxy in front of a server that forwards everything.
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server,
            conduct: Mutex::new(Conduct::Pass),
            changed: Condvar::new(),
            closed: AtomicBool::new(false),
            cuts: AtomicUsize::new(0),
            links: Mutex::default(),
            statements: AtomicUsize::new(0),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the conduct from now on.
    pub fn set(&self, conduct: Conduct) {
        *lock(&self.shared.conduct) = conduct;
        self.shared.changed.notify_all();
        if conduct == Conduct::Refuse {
            self.shared.cut_all();
        }
    }

    /// Forwards the next `count` commits to the server, and closes their connections instead of
    /// sending the response.
    pub fn cut_commits(&self, count: usize) {
        self.shared.cuts.store(count, Ordering::SeqCst);
    }

    /// How many commits are still to be cut.
    pub fn cuts_left(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// The number of statements so far, except for the `SET` statements that a new connection
    /// starts with.
    pub fn statements(&self) -> usize {
        self.shared.statements.load(Ordering::SeqCst)
    }
}

impl Drop for PostgresProxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.set(Conduct::Refuse);
        // Wakes the accepting thread. An error means that the listener is gone already.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn cut_all(&self) {
        for stream in lock(&self.links).drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// The current conduct. Blocks while it is [`Conduct::Hold`].
    fn conduct(&self) -> Conduct {
        let conduct = lock(&self.conduct);
        let held = |conduct: &mut Conduct| *conduct == Conduct::Hold && !self.closed();
        *self
            .changed
            .wait_while(conduct, held)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the commit about to be forwarded loses its response.
    fn takes_a_cut(&self) -> bool {
        let one_less = |cuts: usize| cuts.checked_sub(1);
        self.cuts
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.closed() {
            return;
        }
        let Ok(client) = client else { continue };
        if *lock(&shared.conduct) == Conduct::Refuse {
            continue;
        }
        let shared = shared.clone();
        std::thread::spawn(move || {
            // A connection that cannot be opened or breaks is closed, like any other.
            let _ = link(client, &shared);
        });
    }
}

/// Connects a client with the server, until either closes.
fn link(client: TcpStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    lock(&shared.links).push(client.try_clone()?);
    shared.conduct();
    let server = TcpStream::connect(shared.server).inspect_err(|_| {
        // Its other handle is among the links.
        let _ = client.shutdown(Shutdown::Both);
    })?;
    lock(&shared.links).push(server.try_clone()?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let cut = Arc::new(AtomicBool::new(false));
    let responses = {
        let (server, client, shared, cut) = (server.try_clone()?, client.try_clone()?, shared.clone(), cut.clone());
        std::thread::spawn(move || {
            let _ = forward_responses(&server, &client, &shared, &cut);
            let _ = server.shutdown(Shutdown::Both);
            let _ = client.shutdown(Shutdown::Both);
        })
    };
    let _ = forward_requests(&client, &server, shared, &cut);
    // The server sees the end and closes; its last responses are still forwarded.
    let _ = server.shutdown(Shutdown::Write);
    let _ = responses.join();
    Ok(())
}

fn forward_requests(
    mut client: &TcpStream,
    mut server: &TcpStream,
    shared: &Shared,
    cut: &AtomicBool,
) -> std::io::Result<()> {
    let mut messages = Messages::default();
    let mut piece = [0; 16 << 10];
    loop {
        let length = client.read(&mut piece)?;
        if length == 0 {
            return Ok(());
        }
        messages.buffer.extend_from_slice(&piece[..length]);
        while let Some((bytes, meaning)) = messages.next() {
            if meaning != Meaning::Other {
                shared.statements.fetch_add(1, Ordering::SeqCst);
            }
            shared.conduct();
            if meaning == Meaning::Commit && shared.takes_a_cut() {
                cut.store(true, Ordering::SeqCst);
            }
            server.write_all(&bytes)?;
        }
    }
}

fn forward_responses(
    mut server: &TcpStream,
    mut client: &TcpStream,
    shared: &Shared,
    cut: &AtomicBool,
) -> std::io::Result<()> {
    let mut piece = [0; 16 << 10];
    loop {
        let length = server.read(&mut piece)?;
        // This is the response to the commit: it is committed, but the client never learns of it.
        if length == 0 || cut.load(Ordering::SeqCst) {
            return Ok(());
        }
        match shared.conduct() {
            Conduct::Pass | Conduct::Hold | Conduct::Refuse => client.write_all(&piece[..length])?,
            Conduct::Delay(time) => {
                std::thread::sleep(time);
                client.write_all(&piece[..length])?;
            }
            Conduct::Drip(_) => {
                for byte in &piece[..length] {
                    if let Conduct::Drip(pause) = shared.conduct() {
                        std::thread::sleep(pause);
                    }
                    client.write_all(std::slice::from_ref(byte))?;
                }
            }
        }
    }
}

/// The effect of a frontend message.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meaning {
    Commit,
    Statement,
    /// No effect by itself, or part of the connection setup.
    Other,
}

/// Splits what a client sends into messages.
#[derive(Default)]
struct Messages {
    buffer: Vec<u8>,
    /// The first messages of a connection have no type.
    begun: bool,
    /// Prepared statements that commit, and the portals created from them.
    statements: HashSet<Vec<u8>>,
    portals: HashSet<Vec<u8>>,
    /// The last statement used the extended protocol, so it ends with the `Sync` of the client.
    extended: bool,
    /// Rows have been copied by it.
    copied: bool,
}

/// SSLRequest and GSSENCRequest. The response is one byte, then the startup begins again.
const ENCRYPTION_REQUESTS: [u32; 2] = [80_877_103, 80_877_104];

impl Messages {
    fn next(&mut self) -> Option<(Vec<u8>, Meaning)> {
        let at = usize::from(self.begun);
        let length: [u8; 4] = self.buffer.get(at..at + 4)?.try_into().unwrap();
        let whole = at + u32::from_be_bytes(length) as usize;
        if self.buffer.len() < whole {
            return None;
        }
        let bytes: Vec<u8> = self.buffer.drain(..whole).collect();
        if !self.begun {
            let code = bytes.get(4..8).map(|code| u32::from_be_bytes(code.try_into().unwrap()));
            self.begun = !code.is_some_and(|code| ENCRYPTION_REQUESTS.contains(&code));
            return Some((bytes, Meaning::Other));
        }
        let meaning = self.meaning(bytes[0], &bytes[5..]);
        Some((bytes, meaning))
    }

    fn meaning(&mut self, kind: u8, body: &[u8]) -> Meaning {
        let mut texts = body.split(|byte| *byte == 0);
        let mut text = || texts.next().unwrap_or_default();
        match kind {
            b'Q' => {
                self.extended = false;
                meaning_of(text())
            }
            // A COPY outside of a transaction commits when it ends.
            b'c' if !self.extended => Meaning::Commit,
            b'c' => {
                self.copied = true;
                Meaning::Other
            }
            b'S' if std::mem::take(&mut self.copied) => Meaning::Commit,
            b'P' => {
                let (name, statement) = (text().to_vec(), text());
                let commits = meaning_of(statement) == Meaning::Commit;
                let _ = match commits {
                    true => self.statements.insert(name),
                    false => self.statements.remove(&name),
                };
                Meaning::Other
            }
            b'B' => {
                self.extended = true;
                let (portal, name) = (text().to_vec(), text());
                let _ = match self.statements.contains(name) {
                    true => self.portals.insert(portal),
                    false => self.portals.remove(&portal),
                };
                Meaning::Other
            }
            b'E' if self.portals.contains(text()) => Meaning::Commit,
            b'E' => Meaning::Statement,
            _ => Meaning::Other,
        }
    }
}

fn meaning_of(statement: &[u8]) -> Meaning {
    let statement = String::from_utf8_lossy(statement).trim().to_ascii_uppercase();
    match statement.trim_end_matches(';') {
        "COMMIT" | "END" | "COMMIT TRANSACTION" => Meaning::Commit,
        set if set.starts_with("SET ") => Meaning::Other,
        _ => Meaning::Statement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u32 + 4).to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    #[test]
    fn a_commit_is_recognized_in_both_forms() {
        let startup = [&12u32.to_be_bytes()[..], &196_608u32.to_be_bytes(), b"u\0\0\0"].concat();
        let encryption = [8u32.to_be_bytes(), ENCRYPTION_REQUESTS[0].to_be_bytes()].concat();
        let sent = [
            encryption,
            startup,
            message(b'Q', b"SET lock_timeout = 5\0"),
            message(b'Q', b"commit;\0"),
            message(b'P', b"s1\0COMMIT\0\0\0"),
            message(b'B', b"\0s1\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'B', b"\0s2\0\0\0\0\0\0\0"),
            message(b'E', b"\0\0\0\0\0"),
            message(b'c', b""),
            message(b'S', b""),
            message(b'S', b""),
        ]
        .concat();
        let mut messages = Messages::default();
        let mut meanings = Vec::new();
        // Byte by byte, because messages may arrive in pieces.
        for byte in sent {
            messages.buffer.push(byte);
            meanings.extend(messages.next().map(|(_, meaning)| meaning));
        }
        assert_eq!(
            meanings
                .into_iter()
                .filter(|meaning| *meaning != Meaning::Other)
                .collect::<Vec<_>>(),
            [Meaning::Commit, Meaning::Commit, Meaning::Statement, Meaning::Commit]
        );
        assert!(messages.buffer.is_empty());
    }
}
