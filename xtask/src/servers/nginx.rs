//! An nginx with awkward corners for the tests of reading from the web.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{program, wait_for};
use crate::process::{Result, free_port, is_root, step};
use crate::server::{Background, Scratch};

/// A running one; dropping it ends it and removes its files.
pub(crate) struct Nginx {
    _process: Background,
    folder: Scratch,
    port: u16,
}

impl Nginx {
    /// Starts one on a free loopback port.
    pub(crate) fn start() -> Result<Self> {
        let nginx = program("nginx", "nginx-light")?;
        let (folder, port) = (Scratch::new("nginx")?, free_port()?);
        step(&format!("nginx for the tests on 127.0.0.1:{port}"));
        fs::create_dir(folder.join("www"))?;
        // The user `user` with the password `pass`.
        fs::write(folder.join("users"), "user:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n")?;
        fs::write(folder.join("nginx.conf"), config(&folder, port))?;
        let mut command = Command::new(nginx);
        command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
        let process = Background::start(&mut command, &folder.join("log"))?;
        wait_for(port, &folder.join("error.log"))?;
        Ok(Self { _process: process, folder, port })
    }

    /// What the tests have to know, as JSON.
    pub(crate) fn settings(&self) -> String {
        json!({"url": format!("http://127.0.0.1:{}", self.port), "folder": self.folder.join("www")}).to_string()
    }
}

/// Without a master, so that nothing stays behind when the one process is killed.
fn config(folder: &Scratch, port: u16) -> String {
    let user = if is_root() { "user root;" } else { "" };
    let shown = folder.join("").display().to_string();
    let www = folder.join("www").display().to_string();
    let users = folder.join("users").display().to_string();
    format!(
        "master_process off; daemon off; {user} pid {shown}/pid; error_log {shown}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; default_type application/octet-stream;
  client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy; fastcgi_temp_path {shown}/fastcgi;
  uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;
  server {{
    listen 127.0.0.1:{port}; root {www};
    location /slow/ {{ alias {www}/; limit_rate 1m; }}
    location /norange/ {{ alias {www}/; max_ranges 0; }}
    location /noetag/ {{ alias {www}/; etag off; }}
    location /auth/ {{ alias {www}/; auth_basic x; auth_basic_user_file {users}; }}
    location /gz/ {{ alias {www}/; gzip on; gzip_types *; gzip_min_length 1; }}
    location /redir/ {{ rewrite ^/redir/(.*)$ /$1 redirect; }}
    location /loop/ {{ return 302 $request_uri; }}
    location /e503/ {{ add_header Retry-After 1 always; return 503; }}
  }}
}}
"
    )
}
