use std::future::IntoFuture;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::Message;

async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, super::router()).into_future());
    address
}

/// Sends a request and reads until the answer contains `expected` or the connection ends.
async fn exchange(request: &str, expected: &str) -> String {
    let mut stream = TcpStream::connect(start().await).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let mut part = [0; 4096];
    while !answer.contains(expected) {
        let length = stream.read(&mut part).await.unwrap();
        assert_ne!(length, 0, "no {expected:?} in {answer:?}");
        answer += std::str::from_utf8(&part[..length]).unwrap();
    }
    answer
}

#[tokio::test]
async fn messages_come_back() {
    let url = format!("ws://{}/any/path", start().await);
    let config = WebSocketConfig::default().max_frame_size(None);
    let (mut socket, _) = connect_async_with_config(url, Some(config), false).await.unwrap();
    let large = vec![0xa5; 20 << 20]; // more than the library would take by default
    for message in [Message::text("grüße"), Message::binary(large)] {
        socket.send(message.clone()).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap() == message);
    }
    socket.send(Message::Ping("mark".into())).await.unwrap();
    let pong = socket.next().await.unwrap().unwrap();
    assert_eq!(pong, Message::Pong("mark".into()));
    socket.close(None).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap().is_close());
}

#[tokio::test]
async fn broken_handshake_is_refused() {
    let request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n";
    let answer = exchange(request, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn plain_request_is_described() {
    let request =
        "GET /a?b=c HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nX-A: 1\r\nX-A: \\\"\r\nX-B: 2\r\n\r\n";
    let answer = exchange(request, "\n}\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let seen: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(seen["method"], "GET");
    assert_eq!(seen["uri"], "/a?b=c");
    let headers = [["host", "h"], ["upgrade", "h2c"], ["x-a", "1"], ["x-a", "\\\""], ["x-b", "2"]];
    assert_eq!(seen["headers"], serde_json::json!(headers));
}

#[tokio::test]
async fn events_and_poll_answer() {
    let events = "GET /ws/events HTTP/1.1\r\nHost: h\r\n\r\n";
    let answer = exchange(events, "data: 1\n\n").await;
    assert!(answer.contains("text/event-stream"), "{answer}");
    assert!(!answer.contains("data: 2"), "{answer}");
    exchange("GET /ws/poll HTTP/1.1\r\nHost: h\r\n\r\n", "event\n").await;
}

#[test]
fn only_loopback_is_served() {
    assert!(super::loopback("127.0.0.1:0").is_ok());
    assert!(super::loopback("[::1]:80").is_ok());
    assert!(super::loopback("0.0.0.0:80").is_err());
    assert!(super::loopback("localhost").is_err());
}
