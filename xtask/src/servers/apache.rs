//! An Apache with mod_dav for the WebDAV tests.

use std::fs;
use std::process::Command;

use serde_json::json;

use super::{program, wait_for};
use crate::process::{Result, free_port, is_root, output, run, step};
use crate::server::{Background, Scratch};

const MODULES: &[&str] = &[
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "mime",
    "dav",
    "dav_fs",
    "setenvif",
    "socache_shmcb",
    "ssl",
];
/// The bearer token that is as good as the password.
const TOKEN: &str = "t0ken-of-the-tests";
/// The user `user` with the password `pass`, as the SHA-1 that Apache understands.
const USERS: &str = "user:{SHA}nU4eI71bcnBGqeO0t9tXvY1u5oQ=\n";

/// A running one; dropping it ends it and removes its files.
pub(crate) struct Apache {
    _process: Background,
    folder: Scratch,
    port: u16,
    tls_port: u16,
}

impl Apache {
    /// Starts one on a free loopback port.
    pub(crate) fn start() -> Result<Self> {
        let apache = program("apache2", "apache2")?;
        let (folder, port, tls_port) = (Scratch::new("apache")?, free_port()?, free_port()?);
        make_certificates(&folder)?;
        step(&format!("Apache for the tests on 127.0.0.1:{port}"));
        for name in ["dav", "lock"] {
            fs::create_dir(folder.join(name))?;
            if is_root() {
                run(Command::new("chown").arg("www-data:www-data").arg(folder.join(name)))?;
            }
        }
        fs::write(folder.join("users"), USERS)?;
        fs::write(folder.join("httpd.conf"), config(&folder, port, tls_port))?;
        let mut command = Command::new(apache);
        // One process: nothing stays behind when it is killed.
        command.arg("-f").arg(folder.join("httpd.conf")).arg("-X");
        let log = folder.join("error.log");
        let process = Background::start(&mut command, &log)?;
        wait_for(port, &log)?;
        wait_for(tls_port, &log)?;
        Ok(Self { _process: process, folder, port, tls_port })
    }

    /// What the tests have to know, as JSON.
    pub(crate) fn settings(&self) -> String {
        json!({
            "address": format!("127.0.0.1:{}", self.port),
            "tls_address": format!("127.0.0.1:{}", self.tls_port),
            "ca_file": self.folder.join("ca.pem"),
            "token": TOKEN,
            "user": "user",
            "password": "pass",
            "folder": self.folder.join("dav"),
        })
        .to_string()
    }
}

/// An authority of our own, and a certificate of it for the loopback address.
fn make_certificates(folder: &Scratch) -> Result<()> {
    let openssl = program("openssl", "openssl")?;
    let at = |name: &str| folder.join(name).display().to_string();
    let request = |arguments: &[&str]| {
        let mut command = Command::new(&openssl);
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        output(command.args(arguments)).map(|_| ())
    };
    let (ca, ca_key, own, own_key) = (at("ca.pem"), at("ca.key"), at("own.pem"), at("own.key"));
    request(&["-subj", "/CN=Test authority", "-out", &ca, "-keyout", &ca_key])?;
    let names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
    let signed = ["-subj", "/CN=loopback", "-CA", &ca, "-CAkey", &ca_key, "-out", &own, "-keyout", &own_key];
    request(&[&signed[..], &names[..]].concat())
}

fn config(folder: &Scratch, port: u16, tls_port: u16) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let modules: String = MODULES
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let user = if is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let (dav, users, lock) = (at("dav"), at("users"), at("lock/DavLock"));
    format!(
        "ServerRoot {}\nServerName 127.0.0.1\nListen 127.0.0.1:{port}\nListen 127.0.0.1:{tls_port}\nPidFile {}\nErrorLog {}\n{modules}\
         TypesConfig /etc/mime.types\n{user}DavLockDB {lock}\nDocumentRoot {dav}\n<Directory {dav}>\nDav On\n\
         AuthType Basic\nAuthName dav\nAuthUserFile {users}\n\
         <RequireAny>\nRequire valid-user\nRequire expr \"%{{HTTP:Authorization}} == 'Bearer {TOKEN}'\"\n\
         </RequireAny>\n</Directory>\n\
         <VirtualHost 127.0.0.1:{tls_port}>\nSSLEngine on\nSSLCertificateFile {}\nSSLCertificateKeyFile {}\n\
         </VirtualHost>\n",
        at(""),
        at("httpd.pid"),
        at("error.log"),
        at("own.pem"),
        at("own.key")
    )
}
