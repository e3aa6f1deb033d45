//! The clients of the load: every answer is compared with what it must be, to the last byte.

use std::net::SocketAddr;

use anyhow::{anyhow, bail, Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::echo::Echo;
use crate::http;
use crate::tls;

/// The location that carries WebSocket, in the configuration of every proxy.
pub const WEBSOCKET: &str = "/ws/";

// The example of RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection that carries a tunnel.
pub type Tunnel = Box<dyn Stream>;

/// How clients speak to a proxy.
#[derive(Clone, Copy)]
pub struct Clients {
    pub tls: bool,
    /// What they ask an upgrade to.
    pub protocol: &'static str,
}

/// Opens a tunnel.
pub async fn open(address: SocketAddr, Clients { tls, protocol }: Clients) -> Result<Tunnel> {
    let stream = connect(address).await?;
    let mut stream: Tunnel =
        if tls { Box::new(tls::connect(stream).await?) } else { Box::new(stream) };
    let request = format!(
        "GET {WEBSOCKET} HTTP/1.1\r\nHost: {address}\r\nUpgrade: {protocol}\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.context("sending a handshake")?;
    let (head, rest) = answer(&mut stream).await.context("waiting for the 101")?;
    if !head.starts_with("HTTP/1.1 101 ")
        || http::value(&head, "Sec-WebSocket-Accept") != Some(ACCEPT)
        || !rest.is_empty()
    {
        bail!("not the 101 that was expected: {head}");
    }
    Ok(stream)
}

/// Ends a tunnel and waits until the other side has, too.
pub async fn close(mut stream: Tunnel) -> Result<()> {
    stream.shutdown().await.context("closing")?;
    match stream.read(&mut [0]).await {
        Ok(0) => Ok(()),
        Ok(_) => Err(anyhow!("bytes that nobody sent at the end of a tunnel")),
        // How a proxy drops the connection after our end is its own affair.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error).context("waiting for the end of a tunnel"),
    }
}

/// Sends a message and waits until it has come back.
pub async fn echo(stream: &mut Tunnel, message: &mut Echo, room: &mut Vec<u8>) -> Result<()> {
    message.advance();
    stream.write_all(&message.request).await.context("sending a message")?;
    room.resize(message.answer.len(), 0);
    stream.read_exact(room).await.context("waiting for a message")?;
    same(room, message)
}

pub fn same(received: &[u8], message: &Echo) -> Result<()> {
    if received == message.answer {
        Ok(())
    } else {
        Err(anyhow!("a message came back altered"))
    }
}

/// One plain request on a connection that stays open.
pub async fn get(stream: &mut TcpStream, path: &str) -> Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("sending a request")?;
    let (head, mut body) = answer(stream).await.context("waiting for an answer")?;
    while body.len() < 2 {
        if stream.read_buf(&mut body).await.context("waiting for a body")? == 0 {
            break;
        }
    }
    if head.starts_with("HTTP/1.1 200 ") && body == b"ok" {
        Ok(())
    } else {
        Err(anyhow!("not the answer that was expected: {head}{}", String::from_utf8_lossy(&body)))
    }
}

/// The head of an answer, and what came behind it.
async fn answer(stream: &mut (impl Stream + ?Sized)) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("the connection was closed");
        }
        if let Some(length) = http::head(&bytes) {
            let rest = bytes.split_off(length);
            return Ok((String::from_utf8_lossy(&bytes).into_owned(), rest));
        }
    }
}
