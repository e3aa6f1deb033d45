//! The echo server behind every proxy: a WebSocket message comes back as it was, and anything that is not a
//! handshake is answered with a short text.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use anyhow::{bail, Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use websocket_guard_core::frame::{mask, Control, Header, Mask, OpCode};
use websocket_guard_core::handshake::accept::accept;

use crate::http;
use crate::subject::{OTHER_PROTOCOL, PROTOCOL};

const BACKLOG: u32 = 4096;
const HEAD_LIMIT: usize = 16 << 10;
/// A tunnel that has nothing to say keeps no more than this.
const IDLE_BUFFER: usize = 4 << 10;

/// Serves until the runtime ends.
pub fn start(address: SocketAddr) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| address.to_string())?;
    let listener = socket.listen(BACKLOG)?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(serve(stream));
                }
                // The client has gone, or files are short: the load notices what matters.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    Ok(())
}

/// An error is a peer that went away; what the load expects it checks at its own end.
async fn serve(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(IDLE_BUFFER);
    loop {
        let Some(length) = http::head(&bytes) else {
            if bytes.len() > HEAD_LIMIT {
                bail!("a request head without end");
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let request: Vec<u8> = bytes.drain(..length).collect();
        let head = std::str::from_utf8(&request)?;
        let connection = http::value(head, "Connection").unwrap_or_default().to_ascii_lowercase();
        let upgrade = http::value(head, "Upgrade").unwrap_or_default();
        let key = http::value(head, "Sec-WebSocket-Key");
        match key {
            Some(key)
                if connection.contains("upgrade")
                    && [PROTOCOL, OTHER_PROTOCOL]
                        .contains(&upgrade.to_ascii_lowercase().as_str()) =>
            {
                let accept = accept(key.as_bytes());
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {upgrade}\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {}\r\n\r\n",
                    String::from_utf8_lossy(&accept)
                );
                stream.write_all(answer.as_bytes()).await?;
                return echo(stream, bytes).await;
            }
            _ => {
                let answer =
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
                stream.write_all(answer.as_bytes()).await?;
                if connection == "close" || head.contains(" HTTP/1.0\r\n") {
                    return Ok(());
                }
            }
        }
    }
}

async fn echo(mut stream: TcpStream, mut bytes: Vec<u8>) -> Result<()> {
    loop {
        let frame = message(&bytes)?;
        let length = frame.as_ref().map_or(0, |(.., payload)| payload.end);
        match frame {
            Some((opcode, key, payload)) if bytes.len() >= length => {
                let mut answer = Header::new(opcode, payload.len() as u64, None).encode().to_vec();
                let payload = bytes.get_mut(payload).unwrap_or_default();
                mask(payload, key);
                answer.extend_from_slice(payload);
                bytes.drain(..length);
                if bytes.is_empty() && bytes.capacity() > IDLE_BUFFER {
                    bytes = Vec::new();
                }
                stream.write_all(&answer).await?;
                if opcode == OpCode::Control(Control::Close) {
                    return Ok(());
                }
            }
            _ => {
                bytes.reserve(length.saturating_sub(bytes.len()).max(IDLE_BUFFER));
                match stream.read_buf(&mut bytes).await {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
}

/// What a client's frame is for, its key, and where its payload is; `None` while its header is not
/// complete.
fn message(bytes: &[u8]) -> Result<Option<(OpCode, Mask, Range<usize>)>> {
    let Some((header, size)) = Header::parse(bytes) else { return Ok(None) };
    let end = usize::try_from(header.length).ok().and_then(|length| length.checked_add(size));
    match (header.opcode(), header.mask, end) {
        (Some(opcode), Some(key), Some(end)) if header.is_final() && header.reserved() == 0 => {
            Ok(Some((opcode, key, size..end)))
        }
        _ => bail!("a client sent a frame that is fragmented, not masked or unknown"),
    }
}
