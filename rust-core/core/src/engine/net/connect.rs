//! One connection to a Redis server: address, TCP, TLS, greeting.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use crate::address::{HostPort, RedisAddress};
use crate::tls::Tls;

use super::failure::{Server, explain_greeting, explain_io};
use super::resolve::Resolver;

/// How long the server may take for one answer before the connection counts as dead.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection and what drives it: without the second the first is of no use, so that nothing stays of a server that
/// does not answer any more.
pub(crate) struct Opened {
    pub(crate) connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects to one server of the address. Says in words why it could not. Cancel-safe.
pub(crate) async fn connect(
    resolver: &Resolver,
    address: &RedisAddress,
    at: &HostPort,
    pushes: Option<mpsc::UnboundedSender<PushInfo>>,
) -> Result<Opened, String> {
    let server = Server::new(address, at);
    let addrs = resolver.lookup(at).await?;
    let stream = dial(&addrs).await.map_err(|e| explain_io(&e, &server))?;
    match address.tls() {
        None => greet(address, &server, stream, pushes).await,
        Some(tls) => {
            let stream = secure(tls, &at.host, stream)
                .await
                .map_err(|e| explain_io(&e, &server))?;
            greet(address, &server, stream, pushes).await
        }
    }
}

/// The first of the addresses that answers.
async fn dial(addrs: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut attempts: FuturesUnordered<_> = addrs.iter().map(TcpStream::connect).collect();
    let mut failed = io::Error::other("there is no address");
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

async fn secure(
    tls: &Tls,
    host: &str,
    stream: TcpStream,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = tls.server_name().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    // It may read files, and the engine has one thread.
    let tls = tls.clone();
    let config = tokio::task::spawn_blocking(move || tls.config())
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn greet(
    address: &RedisAddress,
    server: &Server,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    pushes: Option<mpsc::UnboundedSender<PushInfo>>,
) -> Result<Opened, String> {
    let mut config = AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_TIMEOUT));
    if let Some(pushes) = pushes {
        config = config.set_push_sender(pushes);
    }
    let (connection, driver) =
        MultiplexedConnection::new_with_config(&address.settings(), stream, config)
            .await
            .map_err(|e| explain_greeting(&e, server))?;
    Ok(Opened {
        connection,
        driver: tokio::spawn(driver),
    })
}
