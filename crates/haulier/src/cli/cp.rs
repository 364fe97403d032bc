//! `haulier cp`: copies now, through a server or by this process on the same engine.

mod filter;
mod local;
mod many;
mod place;
mod remote;
mod state;
mod summary;
mod there;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use haulier_access::locations::NamedLocation;
use haulier_base::{Error, Result};
use haulier_mover::Verify;
use haulier_storage::scheme_of;
use serde_json::{Value, json};
use url::Url;

use self::filter::Filter;
use self::local::Copier;
use super::client::Client;
use super::load_config;
use super::transfer::{TransfersApi, options_argument};
use super::{Common, Failure, Outcome, Output};
use crate::config::NodeArgs;

/// Arguments of `cp`.
#[derive(Args)]
#[command(
    after_help = "Example:\n  haulier cp /bin/bash /tmp/bash\n  haulier cp -r photos /mnt/backup\n  haulier cp -r --exclude '*.tmp' --dry-run photos s3://bucket/photos --target-options @s3.json"
)]
pub(crate) struct CpArgs {
    /// A path, a URL or NAME:path to copy from; with -r, FOLDER/. stands for what a local folder holds
    source: String,
    /// A path, a URL or NAME:path to copy to; a local folder that exists takes the copy under the source's name
    target: String,
    /// Options of the source's storage, as JSON or as @FILE; secrets in a file only
    #[arg(long, value_name = "JSON", default_value = "{}", hide_default_value = true)]
    source_options: String,
    /// Options of the target's storage, as JSON or as @FILE; secrets in a file only
    #[arg(long, value_name = "JSON", default_value = "{}", hide_default_value = true)]
    target_options: String,
    /// The configuration file whose [locations.NAME] are meant by NAME:path when no server copies
    #[arg(long, value_name = "FILE", env = "HAULIER_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Copy a folder with all it holds. What is there already is skipped: between local folders, which keep modes
    /// and times, what has the same size and time of change; else what has the same size and was changed no earlier
    /// than the source. Checksums are not compared
    #[arg(short, long)]
    recursive: bool,
    /// With -r, copy also what is there already
    #[arg(short = 'I', long, requires = "recursive")]
    ignore_times: bool,
    #[command(flatten)]
    filter: Filter,
    /// Print what would be copied, with its size in bytes, and copy nothing
    #[arg(long)]
    dry_run: bool,
    /// How the copy is proven
    #[arg(long, value_enum, default_value_t)]
    verify: Proof,
    /// Compute the SHA-256 and name it in the report, also where a store's own checksum proves the copy
    #[arg(long, conflicts_with = "recursive")]
    sha256: bool,
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
    if common.server.is_some() {
        if args.dry_run {
            let why = Error::invalid("a server has no dry run");
            return Err(failed(why).advice("leave out --server and HAULIER_SERVER, or --dry-run"));
        }
        if args.recursive {
            let why = Error::invalid("a folder is copied by this process, not by a server");
            return Err(failed(why).advice("leave out --server and HAULIER_SERVER, or copy single objects"));
        }
        return through_server(common, &args, output).await;
    }
    let source_options = options_argument(&args.source, &args.source_options).map_err(failed)?;
    let (target_options, create_parents) =
        options_argument(&args.target, &args.target_options).and_then(own_members).map_err(failed)?;
    let copier = Copier::new(&args, create_parents || args.recursive).map_err(failed)?;
    let into = into_folder(&args.source, &args.target);
    let target = if args.recursive { &args.target } else { &into };
    let names = configured(&args, [&args.source, target])?;
    let source = place::find(&args.source, &source_options, &names, &copier.storages).map_err(failed)?;
    let target = place::find(target, &target_options, &names, &copier.storages).map_err(failed)?;
    if !args.recursive && args.dry_run {
        return local::look(&args, &copier, &source, &target, output).await;
    }
    if !args.recursive {
        return local::copy(&args, copier, &source, &target, output).await;
    }
    if source.is_local() && target.is_local() {
        return tree::copy(&args, copier, output).await;
    }
    remote::copy(&args, copier, &source, &target, output).await
}

/// The named locations of the configuration, which is read only when a name may be meant.
fn configured(args: &CpArgs, texts: [&String; 2]) -> Result<BTreeMap<String, NamedLocation>, Failure> {
    if args.config.is_none() || !texts.iter().any(|text| place::name_and_path(text).is_some()) {
        return Ok(BTreeMap::new());
    }
    let node = NodeArgs { config: args.config.clone(), ..NodeArgs::default() };
    Ok(load_config(&node)?.locations)
}

/// Takes those of the target's options that are about the copy. Whether missing folders are made is the only one
/// that has no argument of its own.
fn own_members(mut options: Value) -> Result<(Value, bool)> {
    let Value::Object(members) = &mut options else {
        return Err(Error::invalid("the options of the target are not an object"));
    };
    if let Some(other) =
        ["placement", "verify", "rate_bytes_per_second", "checksum"].iter().find(|m| members.contains_key(**m))
    {
        let why = format!("the option \"{other}\" is for servers; see --verify and --limit-rate");
        return Err(Error::invalid(why));
    }
    match members.remove("create_parents") {
        None | Some(Value::Null) => Ok((options, false)),
        Some(Value::Bool(make)) => Ok((options, make)),
        Some(_) => Err(Error::invalid("the option \"create_parents\" is neither true nor false")),
    }
}

async fn through_server(common: &Common, args: &CpArgs, output: &Output) -> Outcome {
    let failed = |error| Failure::new(format!("cannot copy {}", args.source), error);
    let source = place::find_on_server(&args.source).map_err(failed)?;
    let target = place::find_on_server(&into_folder(&args.source, &args.target)).map_err(failed)?;
    let source_options = options_argument(&args.source, &args.source_options).map_err(failed)?;
    let mut options = options_argument(&args.target, &args.target_options).map_err(failed)?;
    let client = Client::new(common).map_err(failed)?;
    let Some(members) = options.as_object_mut() else {
        return Err(failed(Error::invalid("the options of the target are not an object")));
    };
    if args.verify != Proof::default() || !members.contains_key("verify") {
        members.insert("verify".to_owned(), json!(Verify::from(args.verify)));
    }
    if let Some(rate) = args.limit_rate {
        options["rate_bytes_per_second"] = rate.into();
    }
    let body = json!({
        "source_url": source, "destination_url": target,
        "source_options": source_options, "destination_options": options,
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
    let source = place::name_and_path(source).map_or(source, |(_, path)| path);
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
