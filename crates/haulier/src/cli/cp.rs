//! `haulier cp`: copies now, through a server or by this process on the same engine.

mod local;
mod state;
mod tree;

use std::path::{Path, PathBuf};

use clap::Args;
use haulier_base::{Error, Result};
use haulier_mover::Verify;
use haulier_storage::scheme_of;
use serde_json::json;
use url::Url;

use super::client::Client;
use super::transfer::TransfersApi;
use super::{Common, Failure, Outcome, Output};

/// Arguments of `cp`.
#[derive(Args)]
#[command(after_help = "Example:\n  haulier cp /bin/bash /tmp/bash\n  haulier cp -r photos /mnt/backup")]
pub(crate) struct CpArgs {
    /// A path or a URL to copy from; with -r, FOLDER/. stands for what the folder holds
    source: String,
    /// A path or a URL to copy to; a folder that exists takes the copy under the source's name
    target: String,
    /// Copy a folder with all it holds, with modes and times; files that are there already, by size and time,
    /// are skipped
    #[arg(short, long)]
    recursive: bool,
    /// With -r, copy files again that are there with the same size and time
    #[arg(short = 'I', long, requires = "recursive")]
    ignore_times: bool,
    /// How the copy is proven
    #[arg(long, value_enum, default_value_t)]
    verify: Proof,
    /// Bytes per second at most; K, M and G are understood
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    limit_rate: Option<u64>,
    /// First byte to copy
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "recursive")]
    start: u64,
    /// End of the copy, exclusive
    #[arg(long, value_name = "N", conflicts_with = "recursive")]
    end: Option<u64>,
}

/// How a copy is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Proof {
    /// As strongly as can be without reading the bytes a second time.
    #[default]
    Store,
    /// By reading the target again.
    ReadBack,
    /// By its length only.
    None,
}

impl From<Proof> for Verify {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::Store => Self::Store,
            Proof::ReadBack => Self::ReadBack,
            Proof::None => Self::None,
        }
    }
}

/// Runs `haulier cp`.
pub(crate) async fn run(common: &Common, args: CpArgs, output: &Output) -> Outcome {
    let what = format!("cannot copy {}", args.source);
    let failed = |error| Failure::new(what.clone(), error);
    if args.end.is_some_and(|end| end < args.start) {
        return Err(failed(Error::invalid("--end is before --start")));
    }
    if args.recursive {
        if common.server.is_some() {
            let why = Error::invalid("a folder is copied by this process, not by a server");
            return Err(failed(why).advice("leave out --server and HAULIER_SERVER, or copy single objects"));
        }
        return tree::copy(&args, output).await;
    }
    let source = to_url(&args.source).map_err(failed)?;
    let target = to_url(&into_folder(&args.source, &args.target)).map_err(failed)?;
    if common.server.is_some() {
        return through_server(common, &args, &source, &target, output).await;
    }
    local::copy(&args, &source, &target, output).await
}

async fn through_server(common: &Common, args: &CpArgs, source: &str, target: &str, output: &Output) -> Outcome {
    let failed = |error| Failure::new(format!("cannot copy {}", args.source), error);
    let client = Client::new(common).map_err(failed)?;
    let mut options = json!({ "verify": Verify::from(args.verify) });
    if let Some(rate) = args.limit_rate {
        options["rate_bytes_per_second"] = rate.into();
    }
    let body = json!({
        "source_url": source, "destination_url": target, "destination_options": options,
        "start_offset": args.start, "end_offset": args.end.map_or(json!(-1), |end| json!(end)),
    });
    let transfers = TransfersApi { client, output: *output };
    let made = transfers.create(&body, None).await.map_err(failed)?;
    match made["id"].as_str() {
        Some(id) => transfers.watch(id, None).await,
        None => Err(failed(Error::internal("the server's answer names no transfer"))),
    }
}

/// A text that is no URL is a path.
fn to_url(text: &str) -> Result<String> {
    if scheme_of(text).is_some() && text.contains("://") || text.starts_with("file:") {
        return Ok(text.to_owned());
    }
    path_url(Path::new(text))
}

/// The `file:` URL of a path, which may hold any bytes.
fn path_url(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path)?;
    let url = Url::from_file_path(&absolute);
    url.map(String::from).map_err(|()| Error::invalid(format!("{} cannot be written as a URL", path.display())))
}

/// The path a text stands for, unless it is a URL of another scheme.
fn to_path(text: &str) -> Option<PathBuf> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "file" => url.to_file_path().ok(),
        Ok(_) if text.contains("://") => None,
        _ => Some(PathBuf::from(text)),
    }
}

/// The target, with the source's name added when it is a folder that exists.
fn into_folder(source: &str, target: &str) -> String {
    let folder = to_path(target).filter(|path| path.is_dir());
    let name = source.split(['?', '#']).next().unwrap_or(source).trim_end_matches('/').rsplit('/').next();
    match (folder, name) {
        (Some(_), Some(name)) if !name.is_empty() => format!("{}/{name}", target.trim_end_matches('/')),
        _ => target.to_owned(),
    }
}

fn parse_rate(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a rate; write one like 500K or 10M");
    let (digits, unit) = match text.to_ascii_uppercase().chars().last() {
        Some('K') => (&text[..text.len() - 1], 1 << 10),
        Some('M') => (&text[..text.len() - 1], 1 << 20),
        Some('G') => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let rate = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
    if rate == 0 { Err("a rate of 0 would copy nothing".to_owned()) } else { Ok(rate) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_urls_are_told_apart() {
        assert_eq!(to_url("/a b").unwrap(), "file:///a%20b");
        assert_eq!(to_url("/a:b").unwrap(), "file:///a:b");
        assert_eq!(to_url("http://h/x").unwrap(), "http://h/x");
    }

    #[test]
    fn a_folder_takes_the_copy_under_the_sources_name() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().to_str().unwrap();
        assert_eq!(into_folder("/bin/bash", folder), format!("{folder}/bash"));
        assert_eq!(into_folder("http://h/x.iso?token=1", folder), format!("{folder}/x.iso"));
        assert_eq!(into_folder("/bin/bash", "/no/such"), "/no/such");
    }

    #[test]
    fn rates_have_units() {
        assert_eq!(parse_rate("10M"), Ok(10 << 20));
        assert_eq!(parse_rate("7"), Ok(7));
        for bad in ["", "K", "0", "1X", "99999999999999G"] {
            assert!(parse_rate(bad).is_err(), "{bad}");
        }
    }
}
