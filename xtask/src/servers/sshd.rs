//! An OpenSSH server for the SFTP tests, with a host key and a configuration of its own.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{program, wait_for};
use crate::process::{Result, free_port, is_root, output, run, step};
use crate::server::{Background, Scratch};

const PASSPHRASE: &str = "open sesame";

/// What an old or foreign server does not know.
const PLAIN: &str = "internal-sftp -P posix-rename,fsync,statvfs,limits";

/// A running one, and two with the same users and files: one without extensions, and one with an RSA host key only.
/// Dropping it ends them and removes the files and the user.
pub(crate) struct Sshd {
    _processes: [Background; 3],
    login: Login,
    folder: Scratch,
    ports: [u16; 3],
}

/// Who logs in. As root it is a user made for this run, who has a password too.
struct Login {
    user: String,
    password: Option<String>,
}

impl Sshd {
    /// Starts one on a free loopback port.
    pub(crate) fn start() -> Result<Self> {
        let sshd = program("sshd", "openssh-server")?;
        let keygen = program("ssh-keygen", "openssh-client")?;
        let folder = Scratch::new("sshd")?;
        let login = Login::new()?;
        for (name, kind, passphrase) in [
            ("hostkey", "ed25519", ""),
            ("rsahostkey", "rsa", ""),
            ("id", "ed25519", ""),
            ("rsa", "rsa", ""),
            ("locked", "ed25519", PASSPHRASE),
        ] {
            output(Command::new(&keygen).args(["-q", "-t", kind, "-N", passphrase, "-f"]).arg(folder.join(name)))?;
        }
        let public = |name: &str| fs::read_to_string(folder.join(name));
        fs::write(folder.join("authorized_keys"), public("id.pub")? + &public("locked.pub")?)?;
        login.give(&folder.join("files"))?;
        let start = |name: &str, host_key: &str, subsystem: &str| -> Result<(Background, u16)> {
            let port = free_port()?;
            step(&format!("OpenSSH for the tests ({name}) on 127.0.0.1:{port}"));
            fs::write(folder.join(name), config(&folder, port, host_key, subsystem))?;
            let mut command = Command::new(&sshd);
            command.args(["-D", "-e", "-f"]).arg(folder.join(name));
            let log = folder.join("log");
            let process = Background::start(&mut command, &log)?;
            wait_for(port, &log)?;
            Ok((process, port))
        };
        let usual = start("usual", "hostkey", "internal-sftp")?;
        let (plain, rsa) = (start("plain", "hostkey", PLAIN)?, start("rsaonly", "rsahostkey", "internal-sftp")?);
        let ports = [usual.1, plain.1, rsa.1];
        Ok(Self { _processes: [usual.0, plain.0, rsa.0], login, folder, ports })
    }

    /// What the tests have to know, as JSON.
    pub(crate) fn settings(&self) -> Result<String> {
        let host_key = fs::read_to_string(self.folder.join("hostkey.pub"))?;
        let host_key: Vec<&str> = host_key.split(' ').take(2).collect();
        let [address, plain, rsa_only] = self.ports.map(|port| format!("127.0.0.1:{port}"));
        Ok(json!({
            "address": address,
            "plain_address": plain,
            "rsa_only_address": rsa_only,
            "rsa_key_file": self.folder.join("rsa"),
            "user": self.login.user,
            "password": self.login.password,
            "private_key_file": self.folder.join("id"),
            "locked_key_file": self.folder.join("locked"),
            "passphrase": PASSPHRASE,
            "host_key": host_key.join(" "),
            "folder": self.folder.join("files"),
        })
        .to_string())
    }
}

fn config(folder: &Scratch, port: u16, host_key: &str, subsystem: &str) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nAuthorizedKeysFile {}\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication yes\nMaxStartups 100:30:200\nSubsystem sftp {subsystem}\n",
        at(host_key),
        at(&format!("pid-{port}")),
        at("authorized_keys")
    )
}

impl Login {
    fn new() -> Result<Self> {
        if !is_root() {
            return Ok(Self { user: output(Command::new("id").arg("-un"))?.trim().to_owned(), password: None });
        }
        // OpenSSH wants this folder when it starts as root.
        fs::create_dir_all("/run/sshd")?;
        let user = format!("haulier-test-{}", std::process::id());
        // Unknown to all others: this machine may have a second SSH server that the network reaches.
        let password = fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned();
        run(Command::new("/usr/sbin/useradd").args(["-M", "-d", "/", "-s", "/bin/sh", &user]))?;
        let login = Self { user, password: Some(password) };
        login.set_password()?;
        Ok(login)
    }

    fn set_password(&self) -> Result<()> {
        let mut child = Command::new("/usr/sbin/chpasswd").stdin(Stdio::piped()).spawn()?;
        if let (Some(mut input), Some(password)) = (child.stdin.take(), &self.password) {
            writeln!(input, "{}:{password}", self.user)?;
        }
        if child.wait()?.success() { Ok(()) } else { Err("chpasswd failed".into()) }
    }

    /// Makes a folder that is this user's.
    fn give(&self, folder: &Path) -> Result<()> {
        fs::create_dir(folder)?;
        if self.password.is_some() {
            run(Command::new("chown").arg(&self.user).arg(folder))?;
        }
        Ok(())
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        // Sessions may still be ending; -f does not wait for them.
        if self.password.is_some()
            && let Err(error) = output(Command::new("/usr/sbin/userdel").args(["-f", &self.user]))
        {
            eprintln!("the user {} could not be removed: {error}", self.user);
        }
    }
}
