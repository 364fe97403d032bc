//! Requests that no well-behaved client would send: written byte by byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::site::{CLIENT, PATIENCE, Site};

/// Opens a connection and sends the head of a request.
pub(crate) async fn begin(site: &Site, line: &str, headers: &[(&str, &str)]) -> TcpStream {
    let url = site.url("");
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head = format!("{line} HTTP/1.1\r\nhost: x\r\nx-clonecloudstore-client-id: {CLIENT}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream
}

/// The status of the answer that comes next.
pub(crate) async fn status(stream: &mut TcpStream) -> u16 {
    let head = head(stream).await;
    head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no answer: {head:?}"))
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8(head).unwrap()
}

/// Asks for a path exactly as it is written; gives the status.
pub(crate) async fn ask(site: &Site, method: &str, path: &str) -> u16 {
    let mut stream =
        begin(site, &format!("{method} {path}"), &[("content-length", "0"), ("connection", "close")]).await;
    status(&mut stream).await
}

/// Whether nothing comes for a moment.
pub(crate) async fn is_silent(stream: &mut TcpStream) -> bool {
    timeout(Duration::from_millis(100), stream.read_u8()).await.is_err()
}
