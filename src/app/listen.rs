//! Where requests come in: an address that is bound here, or a socket that a service manager bound and passed.

use std::io;
use std::net::SocketAddr;

use listenfd::ListenFd;
use tokio::net::TcpListener;

use super::RunError;

/// A socket that a service manager passed, as `LISTEN_FDS` says.
///
/// It is taken before any thread is there: what says so is taken out of the environment.
#[derive(Debug)]
pub struct Passed(std::net::TcpListener);

impl Passed {
    /// The socket, if one was passed.
    pub fn take() -> Result<Option<Self>, RunError> {
        let mut passed = ListenFd::from_env();
        match passed.len() {
            0 => Ok(None),
            1 => passed.take_tcp_listener(0).map(|it| it.map(Self)).map_err(RunError::Passed),
            more => Err(RunError::Passed(io::Error::other(format!("{more} sockets were passed")))),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr, RunError> {
        self.0.local_addr().map_err(RunError::Passed)
    }

    /// Puts it to use. Needs a runtime.
    pub fn listen(self) -> Result<TcpListener, RunError> {
        self.0.set_nonblocking(true).and_then(|()| TcpListener::from_std(self.0)).map_err(RunError::Passed)
    }
}

/// Takes the address that will be served.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    TcpListener::bind(address).await.map_err(|source| RunError::Listen(address, source))
}
