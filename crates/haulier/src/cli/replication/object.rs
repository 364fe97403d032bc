//! `haulier object`: contents that are kept at every site. What is put and what is got is hashed on the way.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use futures::{Stream, StreamExt, TryStreamExt};
use haulier_base::{Error, Result, id};
use indicatif::ProgressBar;
use reqwest::header::HeaderValue;
use reqwest::{Body, Method, Response};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use super::super::client::broken_off;
use super::super::{Common, Exit, Failure, Format, Outcome, Output};
use super::{AsClient, ReplicationApi};

const COLUMNS: &[(&str, &str)] =
    &[("NAME", "name"), ("SIZE", "size"), ("STATUS", "status"), ("CREATED", "creation"), ("SHA-256", "hash")];
/// What is shown of an object, and the header that has it.
const HEAD: [&str; 10] = ["bucket", "name", "size", "hash", "status", "creation", "expires", "metadata", "site", "id"];
/// Read from files and pipes at once, bytes.
const CHUNK: usize = 256 << 10;
/// Rows that a table is made of; a longer list comes as several.
const ROWS: usize = 1000;

/// What can be done with objects.
#[derive(Subcommand)]
pub(crate) enum ObjectCommand {
    /// Put an object, here and at every other site
    #[command(after_help = "Example:\n  haulier object put photos 2026/sea.jpg sea.jpg --client studio")]
    Put(PutArgs),
    /// Get the content of an object, from here or from a site that has it
    #[command(after_help = "Example:\n  haulier object get photos 2026/sea.jpg sea.jpg --client studio")]
    Get {
        #[command(flatten)]
        object: Named,
        /// The file to write; "-" is standard output
        #[arg(default_value = "-")]
        file: PathBuf,
    },
    /// Show what this site knows of an object
    #[command(after_help = "Example:\n  haulier object head photos 2026/sea.jpg --client studio")]
    Head {
        #[command(flatten)]
        object: Named,
    },
    /// List the objects of a bucket that this site knows
    #[command(after_help = "Example:\n  haulier object list photos --prefix 2026/ --client studio")]
    List(ListArgs),
    /// Delete an object, here and at every other site
    #[command(after_help = "Example:\n  haulier object delete photos 2026/sea.jpg --client studio")]
    Delete {
        #[command(flatten)]
        object: Named,
    },
}

/// One object of a client's.
#[derive(Args, Clone, Debug)]
pub(crate) struct Named {
    /// The bucket
    bucket: String,
    /// The object
    name: String,
    #[command(flatten)]
    client: AsClient,
}

/// Arguments of `object put`.
#[derive(Args)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    object: Named,
    /// The file to read; "-" is standard input
    file: PathBuf,
    /// A text to keep along with it; may be given several times
    #[arg(long = "metadata", value_name = "NAME=TEXT")]
    metadata: Vec<String>,
    /// When it may be purged, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    expires: Option<String>,
}

/// Arguments of `object list`.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// The bucket
    bucket: String,
    #[command(flatten)]
    client: AsClient,
    /// Only names that start so
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Also those that were deleted, and those that are not stored yet
    #[arg(long)]
    all: bool,
}

/// Runs `haulier object`.
pub(crate) async fn run(common: &Common, command: ObjectCommand, output: &Output) -> Outcome {
    let api = ReplicationApi::new(common, output)?;
    let (what, done) = match command {
        ObjectCommand::Put(args) => ("cannot put the object", api.put(args).await),
        ObjectCommand::Get { object, file } => ("cannot get the object", api.get(&object, &file).await),
        ObjectCommand::Head { object } => ("cannot show the object", api.head(&object).await),
        ObjectCommand::List(args) => ("cannot list the objects", api.list(args).await),
        ObjectCommand::Delete { object } => ("cannot delete the object", api.delete(&object).await),
    };
    done.map_err(|error| Failure::new(what, error))
}

/// Hashes what passes.
#[derive(Clone, Default)]
struct Hash(Arc<Mutex<Sha256>>);

impl Hash {
    fn update(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).update(bytes);
    }

    fn hex(&self) -> String {
        hex::encode(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().finalize())
    }
}

/// A body that is hashed and shown on a bar on its way.
fn watched(
    reader: impl AsyncRead + Send + Sync + 'static,
    hash: Hash,
    bar: ProgressBar,
) -> impl Stream<Item = std::io::Result<bytes::Bytes>> {
    ReaderStream::with_capacity(reader, CHUNK).inspect_ok(move |chunk| {
        hash.update(chunk);
        bar.inc(chunk.len() as u64);
    })
}

fn is_pipe(file: &Path) -> bool {
    file == Path::new("-")
}

fn of_file(file: &Path, error: std::io::Error) -> Error {
    let error = Error::from(error);
    Error::new(error.kind(), format!("{}: {error}", file.display()))
}

impl ReplicationApi<'_> {
    async fn put(&self, args: PutArgs) -> Result<Exit> {
        let metadata = texts(&args.metadata)?;
        let Named { bucket, name, client } = &args.object;
        let mut request = self.by(client, Method::POST, self.stored(bucket, Some(name))?)?;
        if !metadata.is_empty() {
            request = request.header("x-clonecloudstore-metadata", in_ascii(&Value::Object(metadata)));
        }
        if let Some(expires) = &args.expires {
            request = request.header("x-clonecloudstore-expires", expires);
        }
        let hash = Hash::default();
        let (body, bar) = if is_pipe(&args.file) {
            let bar = self.output.progress(None);
            (Body::wrap_stream(watched(tokio::io::stdin(), hash.clone(), bar.clone())), bar)
        } else {
            let file = tokio::fs::File::open(&args.file).await.map_err(|error| of_file(&args.file, error))?;
            let size = file.metadata().await.map_err(|error| of_file(&args.file, error))?.len();
            // The server refuses a body that ends early or goes on for longer.
            request = request.header("content-length", size).header("x-clonecloudstore-size", size);
            let bar = self.output.progress(Some(size));
            (Body::wrap_stream(watched(file, hash.clone(), bar.clone())), bar)
        };
        let stored = self.json(request.body(body)).await?;
        bar.finish_and_clear();
        if stored["hash"].as_str() != Some(hash.hex().as_str()) {
            return Err(Error::corrupt(
                "the site holds other bytes than were sent; delete the object and put it again",
            ));
        }
        Ok(self.shown(&stored))
    }

    async fn get(&self, object: &Named, file: &Path) -> Result<Exit> {
        let request = self.by(&object.client, Method::GET, self.stored(&object.bucket, Some(&object.name))?)?;
        let response = self.client.sent(request.header("accept", "application/octet-stream")).await?;
        if is_pipe(file) {
            self.receive(response, tokio::io::stdout()).await?;
            return Ok(Exit::Done);
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unfinished = folder.join(format!(".haulier-{}.part", id::random_uuid()));
        let written = async {
            let made = tokio::fs::File::create_new(&unfinished).await.map_err(|error| of_file(file, error))?;
            self.receive(response, made).await?;
            let whole = tokio::fs::File::open(&unfinished).await.map_err(|error| of_file(file, error))?;
            whole.sync_all().await.map_err(|error| of_file(file, error))?;
            tokio::fs::rename(&unfinished, file).await.map_err(|error| of_file(file, error))
        };
        let written = written.await;
        if written.is_err() {
            // What there is of it is of no use; when it cannot be removed either, the error before it is worth more.
            let _ = tokio::fs::remove_file(&unfinished).await;
        }
        written?;
        self.output.remark(&format!("{}: whole, and its SHA-256 is the one the site keeps", file.display()));
        Ok(Exit::Done)
    }

    /// Writes a content and compares its hash.
    async fn receive(&self, response: Response, mut to: impl AsyncWrite + Unpin) -> Result<()> {
        let text = |name: &str| {
            let value = response.headers().get(format!("x-clonecloudstore-{name}"))?;
            value.to_str().ok().map(str::to_owned)
        };
        let (expected, size) = (text("hash"), text("size").and_then(|size| size.parse().ok()));
        let (hash, bar) = (Hash::default(), self.output.progress(size));
        let mut stream = response.bytes_stream();
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(broken_off)?;
            hash.update(&chunk);
            to.write_all(&chunk).await?;
            bar.inc(chunk.len() as u64);
        }
        to.flush().await?;
        bar.finish_and_clear();
        match expected {
            Some(expected) if expected == hash.hex() => Ok(()),
            Some(_) => Err(Error::corrupt("the bytes that came are not those that the site keeps a hash of")),
            None => Err(Error::corrupt("the server did not say what the hash of the object is")),
        }
    }

    async fn head(&self, object: &Named) -> Result<Exit> {
        let request = self.by(&object.client, Method::GET, self.stored(&object.bucket, Some(&object.name))?)?;
        let mut found = self.json(request.header("accept", "application/json")).await?;
        let shown: Map<String, Value> = HEAD.iter().map(|name| ((*name).to_owned(), found[*name].take())).collect();
        Ok(self.shown(&Value::Object(shown)))
    }

    async fn list(&self, args: ListArgs) -> Result<Exit> {
        let mut request = self.by(&args.client, Method::PUT, self.stored(&args.bucket, None)?)?;
        if let Some(prefix) = &args.prefix {
            let prefix = HeaderValue::from_bytes(prefix.as_bytes());
            let prefix = prefix.map_err(|_| Error::invalid("the prefix has characters that no name can have"))?;
            request = request.header("x-clonecloudstore-namePrefix", prefix);
        }
        if !args.all {
            request = request.header("x-clonecloudstore-statuses", json!(["READY"]).to_string());
        }
        let (mut lines, mut stream) = (Vec::new(), self.client.sent(request).await?.bytes_stream());
        let mut rows = Vec::new();
        while let Some(chunk) = stream.next().await {
            lines.extend_from_slice(&chunk.map_err(broken_off)?);
            let Some(end) = lines.iter().rposition(|byte| *byte == b'\n') else { continue };
            for line in lines[..end].split(|byte| *byte == b'\n') {
                let row = serde_json::from_slice::<Value>(line);
                rows.push(row.map_err(|error| Error::internal("the server's list is not JSON").caused_by(error))?);
            }
            lines.drain(..=end);
            // One JSON document has to be whole; the other formats can be printed as they come.
            if rows.len() >= ROWS && self.output.format() != Format::Json {
                self.output.documents(&std::mem::take(&mut rows), COLUMNS);
            }
        }
        if !lines.is_empty() {
            return Err(Error::unavailable("the connection broke in the middle of the list"));
        }
        self.output.documents(&rows, COLUMNS);
        Ok(Exit::Done)
    }

    async fn delete(&self, object: &Named) -> Result<Exit> {
        let request = self.by(&object.client, Method::DELETE, self.stored(&object.bucket, Some(&object.name))?)?;
        Ok(self.shown(&self.json(request).await?))
    }
}

/// `NAME=TEXT` pairs as an object.
fn texts(pairs: &[String]) -> Result<Map<String, Value>> {
    let pair = |pair: &String| {
        let (name, text) = pair.split_once('=').ok_or_else(|| Error::invalid(format!("{pair:?} is no NAME=TEXT")))?;
        Ok((name.to_owned(), Value::from(text)))
    };
    pairs.iter().map(pair).collect()
}

/// JSON that fits into a header: everything that is not ASCII as `\uXXXX`.
fn in_ascii(value: &Value) -> String {
    let mut units = [0; 2];
    let mut text = String::new();
    for character in value.to_string().chars() {
        if character.is_ascii() {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut units) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_in_a_header() {
        let pairs = texts(&["who=Zoë 🙂".to_owned(), "a=b=c".to_owned()]).unwrap();
        assert_eq!(in_ascii(&Value::Object(pairs)), "{\"a\":\"b=c\",\"who\":\"Zo\\u00eb \\ud83d\\ude42\"}");
        assert!(texts(&["alone".to_owned()]).is_err());
    }
}
