//! The program itself: it starts, says who may ask, and refuses what is not signed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn start() -> (Running, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let program = env!("CARGO_BIN_EXE_haulier-test-s3");
    let child = Command::new(program).args([&port.to_string(), "bucket", "id", "secret"]).spawn().unwrap();
    let (running, begun) = (Running(child), Instant::now());
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody listens");
    }
    (running, port)
}

#[test]
fn unsigned_requests_are_refused() {
    let (_running, port) = start();
    for (method, path) in [("GET", "/bucket/key"), ("PUT", "/bucket/a//b"), ("GET", "/bucket?list-type=2")] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{method} {path}: {answer}");
        assert!(answer.contains("AccessDenied"), "{answer}");
    }
}

#[test]
fn wrong_arguments_are_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_haulier-test-s3")).arg("1").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("PORT BUCKET ID SECRET"));
}
