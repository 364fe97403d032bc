//! An nginx with one folder, served fast and served slowly, and a log of the bytes it sent.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::tool;
use crate::http::Client;
use crate::process::{Result, free_port};
use crate::server::{Background, Scratch};

/// A running one; it ends when dropped.
pub(super) struct Nginx {
    _process: Background,
    folder: PathBuf,
    port: u16,
}

impl Nginx {
    /// Starts one with its files in the scratch folder, installing it first where there is none.
    pub(super) fn start(scratch: &Scratch) -> Result<Self> {
        let program = tool("nginx", "nginx-light")?;
        let folder = scratch.join("nginx");
        fs::create_dir_all(folder.join("www"))?;
        let (shown, port) = (folder.display(), free_port()?);
        let user = if crate::process::is_root() { "user root;" } else { "" };
        let config = format!(
            "worker_processes 1; daemon off; {user} pid {shown}/pid; error_log {shown}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format sent '$status $body_bytes_sent'; access_log {shown}/access.log sent; sendfile on;
  client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy; fastcgi_temp_path {shown}/fastcgi;
  uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;
  server {{ listen 127.0.0.1:{port}; root {shown}/www;
    location /slow/ {{ alias {shown}/www/; limit_rate 64m; }} }}
}}
"
        );
        fs::write(folder.join("nginx.conf"), config)?;
        let mut command = Command::new(program);
        command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
        let process = Background::start(&mut command, &folder.join("log"))?;
        for _ in 0..500 {
            if Client::connect(port).is_ok() {
                return Ok(Self { _process: process, folder, port });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("nginx did not start: {}", fs::read_to_string(folder.join("error.log"))?).into())
    }

    /// Where a file is put to be served.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join("www").join(name)
    }

    /// Where a file is served from; put `slow/` before its name for 64 MiB/s on each connection.
    pub(super) fn url(&self, name: &str) -> String {
        format!("http://127.0.0.1:{}/{name}", self.port)
    }

    /// The bytes of all bodies sent until now, of requests that have ended.
    pub(super) fn sent_bytes(&self) -> Result<u64> {
        let log = fs::read_to_string(self.folder.join("access.log"))?;
        Ok(log.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok()).sum())
    }
}
