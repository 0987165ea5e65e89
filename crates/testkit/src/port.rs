//! Free ports, for servers that cannot report the one that the kernel assigned them.

use std::net::TcpListener;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// The first port of the first block.
const FIRST: u16 = 20_000;

/// The number of blocks.
const BLOCKS: u16 = 100;

/// Ports per block. Each process has a block of its own.
const BLOCK: u16 = 100;

/// A port on loopback that was free a moment ago. It stays free until its server binds it, and
/// while that server is restarted: the next 98 calls return others, no other process uses the
/// block, and it is below Linux's usual ephemeral ports. The kernel could assign an ephemeral port
/// to another socket in between, for example to a server of a concurrent test, which would then be
/// taken for this one.
pub fn free() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    /// Listens on the first port of the block for as long as this process lives.
    static CLAIM: LazyLock<TcpListener> = LazyLock::new(claim);
    let first = CLAIM.local_addr().expect("it is bound").port();
    let mut ports = (1..BLOCK).map(|_| first + 1 + NEXT.fetch_add(1, Ordering::Relaxed) % (BLOCK - 1));
    ports
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("not all ports of the block are in use")
}

/// Claims a block that no other process has claimed.
fn claim() -> TcpListener {
    let own = std::process::id() % u32::from(BLOCKS);
    let mut firsts = (0..BLOCKS).map(|n| FIRST + (own as u16 + n) % BLOCKS * BLOCK);
    firsts
        .find_map(|first| TcpListener::bind(("127.0.0.1", first)).ok())
        .expect("fewer than 100 test processes run at once")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_port_is_not_returned_twice_in_a_row_and_not_ephemeral() {
        let ports: HashSet<u16> = (0..BLOCK / 2).map(|_| free()).collect();
        assert_eq!(ports.len(), usize::from(BLOCK / 2));
        // Linux assigns ports from here on, unless a machine is configured otherwise.
        assert!(ports.iter().all(|port| *port < 32_768), "{ports:?}");
    }
}
