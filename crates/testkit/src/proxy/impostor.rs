//! [`ImpostorPostgres`]: whoever answers on the port of a database without being one, and records
//! what it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// What the impostor answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Demand {
    /// TLS, and then nothing.
    Tls,
    /// No TLS, and the password in clear.
    Password,
    /// No TLS, and the MD5 of the password.
    Md5,
    /// No TLS, and no authentication.
    Nothing,
}

/// What the connections of an impostor have sent.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Everything.
    pub all: Vec<u8>,
    /// The number of connections.
    pub connections: usize,
    /// What came after the demand.
    pub answers: Vec<u8>,
}

/// A running impostor.
pub struct ImpostorPostgres {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

/// The codes of requests before the protocol version.
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();
const GSS_REQUEST: [u8; 4] = 80_877_104_u32.to_be_bytes();

impl ImpostorPostgres {
    pub fn start(demand: Demand) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::default();
        let shared: Arc<Mutex<Received>> = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = shared.clone();
                lock(&received).connections += 1;
                // A client that closes its connection ends the thread.
                std::thread::spawn(move || serve(stream, demand, &received));
            }
        });
        Self { address, received }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn received(&self) -> Received {
        lock(&self.received).clone()
    }
}

fn lock(received: &Mutex<Received>) -> std::sync::MutexGuard<'_, Received> {
    received.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, demand: Demand, received: &Mutex<Received>) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut rest)?;
        lock(received).all.extend(length.iter().chain(&rest));
        match rest[..4].try_into() {
            Ok(SSL_REQUEST) if demand == Demand::Tls => {
                stream.write_all(b"S")?;
                return record(stream, received);
            }
            Ok(SSL_REQUEST | GSS_REQUEST) => stream.write_all(b"N")?,
            _ => break,
        }
    }
    let authentication: &[u8] = match demand {
        Demand::Password => b"R\0\0\0\x08\0\0\0\x03",
        Demand::Md5 => b"R\0\0\0\x0c\0\0\0\x05salt",
        Demand::Nothing | Demand::Tls => b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I",
    };
    stream.write_all(authentication)?;
    record(stream, received)
}

fn record(mut stream: TcpStream, received: &Mutex<Received>) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        let mut received = lock(received);
        received.all.extend(&buffer[..length]);
        received.answers.extend(&buffer[..length]);
    }
}
