//! Installs what is missing on a bare Debian machine.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::process::{Result, find, is_root, run, step};

const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Installs the packages, or says how a person can. Starts no service.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let wanted = packages.join(" ");
    if find("apt-get").is_none() {
        return Err(format!("this machine has no apt-get; please install: {wanted}").into());
    }
    let root = is_root();
    if !root && find("sudo").is_none() {
        return Err(format!("please install as root: apt-get install {wanted}").into());
    }
    step(&format!("apt-get install {wanted}"));
    let _policy = if root { NoServices::declare()? } else { None };
    run(&mut apt_get(root, &["-qq", "update"]))?;
    let mut arguments = vec!["-qq", "install", "-y", "--no-install-recommends"];
    arguments.extend(packages);
    run(&mut apt_get(root, &arguments))
}

fn apt_get(root: bool, arguments: &[&str]) -> Command {
    let mut command = if root {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    } else {
        let mut command = Command::new("sudo");
        command.args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command
    };
    command.args(arguments);
    command
}

/// While this lives, packages do not start the services they bring.
struct NoServices;

impl NoServices {
    /// Nothing if somebody has declared a policy already: it is theirs, and stays.
    fn declare() -> Result<Option<Self>> {
        if Path::new(POLICY).exists() {
            return Ok(None);
        }
        fs::File::create(POLICY)?.write_all(b"#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Some(Self))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(POLICY) {
            eprintln!("{POLICY} could not be removed: {error}");
        }
    }
}
