//! `echo-backend [ADDRESS:PORT]`: a small server to stand behind nginx in the demo and in tests.
//!
//! | request | answer |
//! |---|---|
//! | WebSocket handshake, any path | every message is sent back, up to 100 MiB |
//! | `.../events` | Server-Sent Events, one a second |
//! | `.../poll` | one event after a second |
//! | anything else | the request as it arrived here, in JSON |
//!
//! Only the last part of the path counts, so that it works behind any location.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::http::{header, HeaderMap, Method, Uri};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::Router;
use futures_util::{stream, Stream};
use serde_json::{json, Value};
use tokio::net::TcpListener;

const MESSAGE_LIMIT: usize = 100 << 20;
const EVENT_INTERVAL: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args().nth(1)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo-backend: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(address: Option<String>) -> Result<(), Box<dyn std::error::Error>> {
    let address = match address {
        Some(text) => loopback(&text)?,
        None => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    };
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(axum::serve(listener, router()).await?)
}

/// It echoes whatever anyone sends, so it is not to be reached from outside.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| format!("\"{text}\" is not an ADDRESS:PORT"))?;
    if !address.ip().is_loopback() {
        return Err(format!("\"{text}\" is not a loopback address"));
    }
    Ok(address)
}

fn router() -> Router {
    Router::new().fallback(answer)
}

async fn answer(
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    // A broken handshake is refused; a request for no or for another protocol is an ordinary one.
    match upgrade {
        Ok(upgrade) => {
            return upgrade
                .max_message_size(MESSAGE_LIMIT)
                .max_frame_size(MESSAGE_LIMIT)
                .on_upgrade(echo)
        }
        Err(rejection) if asks_for_websocket(&headers) => return rejection.into_response(),
        Err(_) => {}
    }
    match uri.path().rsplit('/').next() {
        Some("events") => Sse::new(events()).into_response(),
        Some("poll") => {
            tokio::time::sleep(EVENT_INTERVAL).await;
            "event\n".into_response()
        }
        _ => {
            let json = [(header::CONTENT_TYPE, "application/json")];
            (json, format!("{:#}\n", describe(&method, &uri, &headers))).into_response()
        }
    }
}

fn asks_for_websocket(headers: &HeaderMap) -> bool {
    headers
        .get(header::UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

async fn echo(mut socket: WebSocket) {
    // Pings and the closing handshake are answered by the library. An error here is a peer that
    // went away or broke the protocol: either way the connection is over.
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_))
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

fn events() -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(1u64, |number| async move {
        if number > 1 {
            tokio::time::sleep(EVENT_INTERVAL).await;
        }
        Some((Ok(Event::default().data(number.to_string())), number + 1))
    })
}

fn describe(method: &Method, uri: &Uri, headers: &HeaderMap) -> Value {
    let fields: Vec<[Cow<str>; 2]> = headers
        .iter()
        .map(|(name, value)| [name.as_str().into(), String::from_utf8_lossy(value.as_bytes())])
        .collect();
    json!({ "method": method.as_str(), "uri": uri.to_string(), "headers": fields })
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::unwrap_used)]
mod tests;
