//! [`RedisProxy`]: a proxy between an instance and Redis that simulates network faults.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub struct RedisProxy {
    address: SocketAddr,
    conduct: Arc<Conduct>,
}

#[derive(Default)]
struct Conduct {
    /// Received bytes are dropped.
    drops: AtomicBool,
    /// Received bytes are forwarded after this many milliseconds.
    delay: AtomicU64,
    ended: AtomicBool,
}

impl RedisProxy {
    pub fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let conduct = Arc::new(Conduct::default());
        let shared = conduct.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if shared.ended.load(Ordering::SeqCst) {
                    return;
                }
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) {
                    pass(client.try_clone().unwrap(), server.try_clone().unwrap(), shared.clone());
                    pass(server, client, shared.clone());
                }
            }
        });
        Self { address, conduct }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on all bytes are dropped silently; connections stay open.
    pub fn swallow(&self) {
        self.conduct.drops.store(true, Ordering::SeqCst);
    }

    /// From now on all bytes are forwarded immediately. Bytes dropped before stay lost.
    pub fn pass(&self) {
        self.conduct.drops.store(false, Ordering::SeqCst);
        self.conduct.delay.store(0, Ordering::SeqCst);
    }

    /// From now on each direction is delayed by this much.
    pub fn delay(&self, by: Duration) {
        self.conduct.delay.store(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Drop for RedisProxy {
    fn drop(&mut self) {
        self.conduct.ended.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, conduct: Arc<Conduct>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Ends with the instance or with Redis, both of which end with the test.
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if conduct.drops.load(Ordering::SeqCst) {
                continue;
            }
            std::thread::sleep(Duration::from_millis(conduct.delay.load(Ordering::SeqCst)));
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
