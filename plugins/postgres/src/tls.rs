//! The TLS handshake. What is trusted and verified is `transload_tables`'s.

use std::{io, sync::Arc};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use transload_plugin_api::Result;

use crate::{link::Socket, options::Address};

/// What a client says before the handshake
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>, SSLRequest).
const REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Makes TLS connections of one kind.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the certificates that the address names.
    pub(crate) fn new(address: &Address) -> Result<Self> {
        address.tls.client_config().map(Self)
    }

    /// Goes on by TLS. A server that has none is an error.
    pub(crate) async fn start(&self, mut stream: TcpStream, host: &str) -> io::Result<Socket> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        stream.write_all(&REQUEST).await?;
        // One byte and not one more, or somebody else's words would count as the server's.
        if stream.read_u8().await? != b'S' {
            return Err(io::Error::other("the server does not speak TLS"));
        }
        let connector = TlsConnector::from(Arc::clone(&self.0));
        Ok(Socket::Tls(Box::new(connector.connect(name, stream).await?)))
    }
}
