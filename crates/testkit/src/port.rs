//! Ports of the loopback address that belong to one test.

use socket2::{Domain, Socket, Type};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

/// The sockets that hold reserved ports until the process ends.
static BOUND: Mutex<Vec<Socket>> = Mutex::new(Vec::new());

/// A port for a program that must be told one before it starts. No other program is given it while this process runs.
///
/// A socket is bound to the port and does not listen. The kernel gives a bound port to no program that asks for any port, and lets
/// a listener bind it by number, because both sockets have `SO_REUSEADDR`, as every server's listener has.
pub fn port() -> u16 {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let number = socket.local_addr().unwrap().as_socket_ipv4().unwrap().port();
    BOUND.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    number
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_reserved_port_is_given_to_nobody_else_and_can_be_listened_on() {
        let reserved = port();
        let others: Vec<TcpListener> = (0..200).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        assert!(others.iter().all(|other| other.local_addr().unwrap().port() != reserved));
        for _ in 0..2 {
            let listener = TcpListener::bind(("127.0.0.1", reserved)).unwrap();
            let caller = TcpStream::connect(("127.0.0.1", reserved)).unwrap();
            drop((listener.accept().unwrap(), caller));
        }
    }
}
