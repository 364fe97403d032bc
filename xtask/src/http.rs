//! A small HTTP/1.1 client that keeps its connection, so that a load of requests costs little here.
//!
//! Speaks to servers on the loopback address only; knows no TLS and no redirects.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::process::Result;

/// How long an answer may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a body that are sent together with the head.
const SMALL: usize = 16 << 10;
/// The largest answer that is read.
const MAX_BODY_BYTES: usize = 256 << 20;

/// One connection.
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// Connects to a port of this machine.
    pub(crate) fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { reader: BufReader::with_capacity(64 << 10, stream) })
    }

    /// Asks for a path.
    pub(crate) fn get(&mut self, path: &str) -> Result<Answer> {
        self.request("GET", path, "")
    }

    /// Posts a JSON text.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Result<Answer> {
        self.request("POST", path, body)
    }

    fn request(&mut self, method: &str, path: &str, body: &str) -> Result<Answer> {
        let json = [("Content-Type", "application/json")];
        let headers: &[_] = if body.is_empty() && method == "GET" { &[] } else { &json };
        self.send(method, path, headers, body.as_bytes())
    }

    /// Sends any request but `HEAD`, whose answers say the length of what they do not bring.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method != "GET" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut request = head.into_bytes();
        // One write for what is small, so that it goes in one packet.
        request.extend_from_slice(&body[..body.len().min(SMALL)]);
        self.reader.get_mut().write_all(&request)?;
        self.reader.get_mut().write_all(&body[body.len().min(SMALL)..])?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Answer> {
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| format!("not an HTTP answer: {status_line:?}"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse()?,
                "transfer-encoding" => chunked = value.trim().eq_ignore_ascii_case("chunked"),
                _ => {}
            }
        }
        let mut body = Vec::new();
        if chunked {
            while self.chunk(&mut body)? {}
        } else {
            self.append(length, &mut body)?;
        }
        Ok(Answer { status, body })
    }

    /// Reads one chunk; the last one is empty.
    fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16)?;
        self.append(size, body)?;
        self.line()?;
        Ok(size > 0)
    }

    fn append(&mut self, length: usize, body: &mut Vec<u8>) -> Result<()> {
        if body.len() + length > MAX_BODY_BYTES {
            return Err(format!("an answer of more than {MAX_BODY_BYTES} bytes").into());
        }
        let start = body.len();
        body.resize(start + length, 0);
        Ok(self.reader.read_exact(&mut body[start..])?)
    }

    /// One line without its end.
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.reader.read_line(&mut line)? == 0 {
            return Err("the server closed the connection".into());
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }
}

impl Answer {
    /// The body, if the status is the wanted one.
    pub(crate) fn expect_status(self, status: u16) -> Result<Vec<u8>> {
        if self.status == status {
            return Ok(self.body);
        }
        let body = String::from_utf8_lossy(&self.body);
        let shown: String = body.chars().take(300).collect();
        Err(format!("the server answered {} and not {status}: {shown}", self.status).into())
    }

    /// The body as JSON, if the status is the wanted one.
    pub(crate) fn json(self, status: u16) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.expect_status(status)?)?)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that gives one answer to each of the requests that follow each other on a connection.
    fn serve(answers: &'static [&'static str]) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in answers {
                let mut seen = [0; 4096];
                assert!(stream.read(&mut seen).unwrap() > 0);
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        port
    }

    #[test]
    fn answers_follow_each_other_on_one_connection() {
        let mut client = Client::connect(serve(&[
            "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
        ]))
        .unwrap();
        assert_eq!(client.post("/", "{}").unwrap().json(201).unwrap(), serde_json::json!({}));
        assert_eq!(client.get("/").unwrap().expect_status(200).unwrap(), b"abcde");
        assert_eq!(client.get("/").unwrap().expect_status(204).unwrap(), b"");
    }

    #[test]
    fn another_status_shows_what_the_server_said() {
        let port = serve(&["HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\n\r\noops"]);
        let answer = Client::connect(port).unwrap().get("/").unwrap();
        let error = answer.expect_status(200).unwrap_err().to_string();
        assert_eq!(error, "the server answered 400 and not 200: oops");
    }

    #[test]
    fn half_an_answer_is_an_error() {
        let port = serve(&["HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"]);
        assert!(Client::connect(port).unwrap().get("/").is_err());
    }
}
