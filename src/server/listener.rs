//! Listening sockets with a larger backlog than the standard library allows.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Connections waiting to be accepted. The kernel's own limit (`net.core.somaxconn`) is 4096.
const BACKLOG: i32 = 4096;

/// What the kernel keeps of the input and of the output of a connection; it doubles the number for
/// its own needs. Larger than most requests and responses. Otherwise it would keep up to
/// some megabytes for a peer that sends on and on or does not read, and they count as memory of the
/// server's container.
const SOCKET_BUFFER: usize = 32 << 10;

/// Binds and listens.
///
/// # Errors
/// When the address is in use or not an address of this machine.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Otherwise a restart would have to wait until the kernel has dropped the connections of the
    // previous run.
    socket.set_reuse_address(true)?;
    // The connections inherit them.
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
