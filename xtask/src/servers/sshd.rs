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

/// A running one; dropping it ends it and removes its files and its user.
pub(crate) struct Sshd {
    _process: Background,
    login: Login,
    folder: Scratch,
    port: u16,
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
        let (folder, port) = (Scratch::new("sshd")?, free_port()?);
        step(&format!("OpenSSH for the tests on 127.0.0.1:{port}"));
        let login = Login::new()?;
        for (name, passphrase) in [("hostkey", ""), ("id", ""), ("locked", PASSPHRASE)] {
            output(Command::new(&keygen).args(["-q", "-t", "ed25519", "-N", passphrase, "-f"]).arg(folder.join(name)))?;
        }
        let public = |name: &str| fs::read_to_string(folder.join(name));
        fs::write(folder.join("authorized_keys"), public("id.pub")? + &public("locked.pub")?)?;
        login.give(&folder.join("files"))?;
        fs::write(folder.join("config"), config(&folder, port))?;
        let mut command = Command::new(sshd);
        command.args(["-D", "-e", "-f"]).arg(folder.join("config"));
        let log = folder.join("log");
        let process = Background::start(&mut command, &log)?;
        wait_for(port, &log)?;
        Ok(Self { _process: process, login, folder, port })
    }

    /// What the tests have to know, as JSON.
    pub(crate) fn settings(&self) -> Result<String> {
        let host_key = fs::read_to_string(self.folder.join("hostkey.pub"))?;
        let host_key: Vec<&str> = host_key.split(' ').take(2).collect();
        Ok(json!({
            "address": format!("127.0.0.1:{}", self.port),
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

fn config(folder: &Scratch, port: u16) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nAuthorizedKeysFile {}\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication yes\nMaxStartups 100:30:200\nSubsystem sftp internal-sftp\n",
        at("hostkey"),
        at("pid"),
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
