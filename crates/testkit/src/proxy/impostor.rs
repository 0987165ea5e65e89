//! [`ImpostorPostgres`]: a server that listens on the port of a database, is none, and records what
//! it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use mintage::mutex::lock;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the impostor answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Demand {
    /// TLS, with a certificate if the impostor has one, and then nothing.
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
        Self::start_with(demand, None)
    }

    /// An impostor with TLS and a certificate for `name`, which it writes to `certificate.pem` in
    /// `folder`: that file is also its authority.
    pub fn with_certificate(name: &str, folder: &Path) -> Self {
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("certificate.key"));
        let subject = [format!("/CN={name}"), format!("subjectAltName=DNS:{name}")];
        let made = Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "1", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", &subject[0], "-addext", &subject[1]])
            .args([Path::new("-out"), &certificate, Path::new("-keyout"), &key])
            .output()
            .expect("openssl is installed");
        assert!(made.status.success(), "{made:?}");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_file(&certificate).unwrap()],
                PrivateKeyDer::from_pem_file(&key).unwrap(),
            );
        Self::start_with(Demand::Tls, Some(Arc::new(config.unwrap())))
    }

    fn start_with(demand: Demand, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::default();
        let shared: Arc<Mutex<Received>> = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (received, tls) = (shared.clone(), tls.clone());
                lock(&received).connections += 1;
                // A client that closes its connection ends the thread.
                std::thread::spawn(move || serve(stream, demand, tls, &received));
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

fn serve(
    mut stream: TcpStream,
    demand: Demand,
    tls: Option<Arc<ServerConfig>>,
    received: &Mutex<Received>,
) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
        stream.read_exact(&mut rest)?;
        lock(received).all.extend(length.iter().chain(&rest));
        match rest[..4].try_into() {
            Ok(SSL_REQUEST) if demand == Demand::Tls => {
                stream.write_all(b"S")?;
                let Some(tls) = tls else {
                    return record(stream, received);
                };
                let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
                return record(StreamOwned::new(connection, stream), received);
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

fn record(mut stream: impl Read, received: &Mutex<Received>) -> std::io::Result<()> {
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
