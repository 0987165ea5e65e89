//! Listening sockets with a backlog of our own choice, which the standard library does not offer.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Connections waiting to be accepted; the kernel's own bound (`net.core.somaxconn`) is 4096.
const BACKLOG: i32 = 4096;

/// Listens.
///
/// # Errors
/// When the address is taken, or not ours.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Or a restart would have to wait until the kernel has forgotten the connections of the last run.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
