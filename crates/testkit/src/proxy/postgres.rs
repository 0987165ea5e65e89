//! [`PostgresProxy`]: stands in front of PostgreSQL and does to a connection what networks and failing servers do.
//!
//! It understands as much of the protocol as it needs to know a COMMIT when one passes: frontend messages, of which
//! `Query` carries a statement by itself, and `Parse`, `Bind` and `Execute` in three parts.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the proxy treats what comes to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Conduct {
    /// Everything passes.
    Pass,
    /// New connections are closed at once, and those that there are with them.
    Refuse,
    /// Connections are accepted and never answered; what was sent is delivered when another conduct begins.
    Hold,
    /// Each answer comes later by this much.
    Delay(Duration),
    /// Answers come byte by byte, with a pause before each.
    Drip(Duration),
}

/// A running proxy. Dropped, it closes everything.
pub struct PostgresProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: SocketAddr,
    conduct: Mutex<Conduct>,
    changed: Condvar,
    closed: AtomicBool,
    /// Commits whose answer is still to be lost.
    cuts: AtomicUsize,
    /// Both ends of every connection.
    links: Mutex<Vec<TcpStream>>,
    statements: AtomicUsize,
}

impl PostgresProxy {
    /// In front of a server, letting everything pass.
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

    /// Treats everything like this from now on.
    pub fn set(&self, conduct: Conduct) {
        *lock(&self.shared.conduct) = conduct;
        self.shared.changed.notify_all();
        if conduct == Conduct::Refuse {
            self.shared.cut_all();
        }
    }

    /// Lets the next `count` commits reach the server, and closes their connections in place of the answer.
    pub fn cut_commits(&self, count: usize) {
        self.shared.cuts.store(count, Ordering::SeqCst);
    }

    /// How many commits are still to be cut.
    pub fn cuts_left(&self) -> usize {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// Statements that have come so far, other than the `SET` that a new connection begins with.
    pub fn statements(&self) -> usize {
        self.shared.statements.load(Ordering::SeqCst)
    }
}

impl Drop for PostgresProxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.set(Conduct::Refuse);
        // Wakes the thread that accepts. A listener that is gone already needs no waking.
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

    /// What to do with something that has come: waits while it is to be held.
    fn conduct(&self) -> Conduct {
        let conduct = lock(&self.conduct);
        let held = |conduct: &mut Conduct| *conduct == Conduct::Hold && !self.closed();
        *self
            .changed
            .wait_while(conduct, held)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a commit that is about to pass is one to be cut.
    fn takes_a_cut(&self) -> bool {
        let one_less = |cuts: usize| cuts.checked_sub(1);
        self.cuts
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            // A connection that cannot be made or breaks is closed, like any other.
            let _ = link(client, &shared);
        });
    }
}

/// Joins a client with the server, until either closes.
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
    let answers = {
        let (server, client, shared, cut) = (server.try_clone()?, client.try_clone()?, shared.clone(), cut.clone());
        std::thread::spawn(move || {
            let _ = carry_answers(&server, &client, &shared, &cut);
            let _ = server.shutdown(Shutdown::Both);
            let _ = client.shutdown(Shutdown::Both);
        })
    };
    let _ = carry_requests(&client, &server, shared, &cut);
    // The server sees the end and closes; its last answers still go out.
    let _ = server.shutdown(Shutdown::Write);
    let _ = answers.join();
    Ok(())
}

fn carry_requests(
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

fn carry_answers(
    mut server: &TcpStream,
    mut client: &TcpStream,
    shared: &Shared,
    cut: &AtomicBool,
) -> std::io::Result<()> {
    let mut piece = [0; 16 << 10];
    loop {
        let length = server.read(&mut piece)?;
        // What comes now is the answer to the commit: it is done, and the client never learns of it.
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

/// What a frontend message asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meaning {
    Commit,
    Statement,
    /// It asks for nothing by itself, or sets a connection up.
    Other,
}

/// Splits what a client sends into messages.
#[derive(Default)]
struct Messages {
    buffer: Vec<u8>,
    /// The first messages of a connection have no type.
    begun: bool,
    /// Prepared statements that commit, and the portals made of them.
    statements: HashSet<Vec<u8>>,
    portals: HashSet<Vec<u8>>,
    /// The last statement came with parameters, so it is done when the client says that it is ready for the next.
    extended: bool,
    /// Rows have been copied by it.
    copied: bool,
}

/// Asks whether the server encrypts; the answer is one byte, and then the connection begins again.
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
    fn a_commit_is_known_in_both_forms() {
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
        let mut asked = Vec::new();
        // Byte by byte, because that is how it may come.
        for byte in sent {
            messages.buffer.push(byte);
            asked.extend(messages.next().map(|(_, meaning)| meaning));
        }
        assert_eq!(
            asked
                .into_iter()
                .filter(|meaning| *meaning != Meaning::Other)
                .collect::<Vec<_>>(),
            [Meaning::Commit, Meaning::Commit, Meaning::Statement, Meaning::Commit]
        );
        assert!(messages.buffer.is_empty());
    }
}
