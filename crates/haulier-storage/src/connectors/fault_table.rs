//! Every store against every fault, at every request or in many places of the line.
//!
//! One fault ends in a whole copy; a line that stays broken ends in an error that says so, in time. Nothing stays
//! behind that discarding does not find.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{self, StreamExt, TryStreamExt};
use haulier_base::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::faulty_line::{FaultyLine, Then, Way};
use super::faulty_web::{BUSY_WAIT, FaultyWeb, Spoilt, WEB_FAULTS, WebFault};
use super::{s3, temp_name};
use crate::{Flushed, Location, ReadRequest, StorageConfig, Storages, WriteRequest};

const MIB: u64 = 1 << 20;
/// How long nothing may move.
const STALL: Duration = Duration::from_millis(2500);
/// The same where somebody falls silent, which is waited for again and again.
const STALL_IN_SILENCE: Duration = Duration::from_millis(1500);
/// No attempt takes longer: twenty stalls are what a store may take to join parts.
const LIMIT: Duration = Duration::from_secs(80);
const ATTEMPTS: u32 = 8;
const LABEL: &str = "faults";
/// Cases at once.
const AT_ONCE: usize = 3;
/// The same of those that do little but wait.
const SILENT_AT_ONCE: usize = 12;

/// Opens an object through an address.
type Open = Box<dyn Fn(&Storages, &str, &str) -> Location + Send + Sync>;
/// Names what an upload left behind under a key.
type Left = Box<dyn Fn(&str) -> BoxFuture<'static, Vec<String>> + Send + Sync>;
/// Puts an object there behind the server's back.
type Plant = Box<dyn Fn(&str, &Bytes) + Send + Sync>;

/// One kind of store.
struct Row {
    /// Where it really is.
    server: String,
    open: Open,
    left: Left,
    /// None where that cannot be done.
    plant: Option<Plant>,
    size: u64,
}

#[expect(clippy::disallowed_methods, reason = "the test command hands the servers over in the environment")]
fn settings(variable: &str) -> Value {
    let text = std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run cargo xtask test"));
    serde_json::from_str(&text).unwrap()
}

impl Row {
    fn through(&self, address: &str, key: &str, silent: bool) -> Location {
        let stall = if silent { STALL_IN_SILENCE } else { STALL };
        let config = StorageConfig { allow_private: true, stall, ..StorageConfig::default() };
        (self.open)(&Storages::new(config).unwrap(), address, key)
    }

    /// Without any line, and with all the time that a busy server needs.
    fn direct(&self, key: &str) -> Location {
        let config = StorageConfig { allow_private: true, ..StorageConfig::default() };
        (self.open)(&Storages::new(config).unwrap(), &self.server, key)
    }
}

fn pattern(len: u64) -> Bytes {
    (0..len).map(|n| (n % 251) as u8 ^ (n >> 16) as u8).collect::<Vec<_>>().into()
}

/// Temporary files beside a key in a folder of this machine.
fn temporary(folder: PathBuf, key: &str) -> BoxFuture<'static, Vec<String>> {
    let key = key.to_owned();
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let ours = names.filter(move |name| temp_name::is_temp_name(name) && name.contains(&key)).collect();
    async move { ours }.boxed()
}

fn webdav() -> Row {
    let said = settings("HAULIER_TEST_WEBDAV");
    let options = json!({"user": said["user"], "password": said["password"]});
    let folder = PathBuf::from(said["folder"].as_str().unwrap());
    let there = folder.clone();
    Row {
        server: said["address"].as_str().unwrap().to_owned(),
        open: Box::new(move |storages, address, key| {
            storages.open_target(&format!("webdav://{address}/{key}"), &options).unwrap()
        }),
        left: Box::new(move |key| temporary(folder.clone(), key)),
        plant: Some(Box::new(move |key, bytes| fs::write(there.join(key), bytes).unwrap())),
        size: MIB + 5,
    }
}

fn s3() -> Row {
    let mut options = settings("HAULIER_TEST_S3");
    let bucket = options.as_object_mut().unwrap().remove("bucket").unwrap().as_str().unwrap().to_owned();
    let server = options["endpoint"].as_str().unwrap().trim_start_matches("http://").to_owned();
    options["part_size"] = json!(5 * MIB);
    Row {
        server,
        open: Box::new(move |storages, address, key| {
            let mut options = options.clone();
            options["endpoint"] = json!(format!("http://{address}"));
            storages.open_target(&format!("s3://{bucket}/{key}"), &options).unwrap()
        }),
        left: Box::new(|key| s3::tests::uploads_with_parts(key.to_owned()).boxed()),
        plant: None,
        size: 5 * MIB + 5,
    }
}

fn web() -> Row {
    let said = settings("HAULIER_TEST_NGINX");
    let folder = PathBuf::from(said["folder"].as_str().unwrap());
    Row {
        server: said["url"].as_str().unwrap().trim_start_matches("http://").to_owned(),
        open: Box::new(|storages, address, key| {
            storages.open_source(&format!("http://{address}/{key}"), &Value::Null).unwrap()
        }),
        left: Box::new(|_| async { Vec::new() }.boxed()),
        plant: Some(Box::new(move |key, bytes| fs::write(folder.join(key), bytes).unwrap())),
        size: MIB + 5,
    }
}

fn sftp() -> Row {
    let said = settings("HAULIER_TEST_SFTP");
    let text = |name: &str| said[name].as_str().unwrap().to_owned();
    let options = json!({
        "private_key": fs::read_to_string(text("private_key_file")).unwrap(), "host_key": text("host_key"),
    });
    let (user, folder) = (text("user"), PathBuf::from(text("folder")));
    let (at, there) = (folder.clone(), folder.clone());
    Row {
        server: text("address"),
        open: Box::new(move |storages, address, key| {
            let url = format!("sftp://{user}@{address}{}/{key}", at.display());
            storages.open_target(&url, &options).unwrap()
        }),
        left: Box::new(move |key| temporary(folder.clone(), key)),
        plant: Some(Box::new(move |key, bytes| fs::write(there.join(key), bytes).unwrap())),
        size: MIB + 5,
    }
}

/// What a later attempt goes on from.
#[derive(Default)]
struct Point {
    token: Option<String>,
    safe: u64,
}

/// Makes attempts as a mover does: each goes on from what was flushed, and waits as long as it is asked to.
async fn upload(location: &Location, bytes: &Bytes, point: &mut Point) -> Result<()> {
    let mut attempt = 1;
    loop {
        let outcome = timeout(LIMIT, try_upload(location, bytes, point)).await.expect("it ends within its time-out");
        match outcome {
            Err(error) if error.is_temporary() && attempt < ATTEMPTS => wait(&error, attempt).await,
            outcome => return outcome,
        }
        attempt += 1;
    }
}

/// A server that is busy with all the other cases needs the longer waits.
async fn wait(error: &Error, attempt: u32) {
    tokio::time::sleep(error.wait_asked().unwrap_or(Duration::from_millis(20) * 2_u32.pow(attempt))).await;
}

async fn try_upload(location: &Location, bytes: &Bytes, point: &mut Point) -> Result<()> {
    let size = bytes.len() as u64;
    let (label, resume) = (LABEL.to_owned(), point.token.clone());
    let request = WriteRequest { label, resume, size: Some(size), ..WriteRequest::default() };
    let writer = location.storage.write(&location.path, request).await?;
    if writer.resumed_size() < point.safe {
        point.safe = 0;
    }
    let putting = async {
        let mut at = point.safe;
        while at < size {
            let end = writer.part_end(at).unwrap_or(u64::MAX).min(at + MIB).min(size);
            writer.put_at(at, bytes.slice(at as usize..end as usize)).await?;
            at = end;
        }
        Ok(())
    };
    let put: Result<()> = putting.await;
    let flushed = writer.flush().await;
    if let Some(token) = writer.token() {
        point.token = Some(token);
    }
    match flushed {
        Ok(Flushed::Everything) => point.safe = size,
        Ok(Flushed::First(kept)) => point.safe = kept,
        Err(_) => {}
    }
    put?;
    writer.finish(size).await.map(|_| ())
}

async fn download(location: &Location) -> Result<Vec<u8>> {
    let (mut got, mut attempt) = (Vec::new(), 1);
    loop {
        let reading = async {
            let request = ReadRequest { start: got.len() as u64, ..ReadRequest::default() };
            let mut stream = location.storage.read(&location.path, request).await?.stream;
            while let Some(bytes) = stream.try_next().await? {
                got.extend_from_slice(&bytes);
            }
            Ok::<_, Error>(())
        };
        match timeout(LIMIT, reading).await.expect("it ends within its time-out") {
            Ok(()) => return Ok(got),
            Err(error) if error.is_temporary() && attempt < ATTEMPTS => wait(&error, attempt).await,
            Err(error) => return Err(error),
        }
        attempt += 1;
    }
}

/// The whole object, from the server itself.
async fn held(row: &Row, key: &str) -> Vec<u8> {
    download(&row.direct(key)).await.unwrap()
}

/// Every request of an upload or a download is spoilt once, in every way.
async fn each_request(row: &Row, up: bool, name: &str) {
    let bytes = pattern(row.size);
    let each = |fault: WebFault| {
        let bytes = &bytes;
        async move {
            let cases = (0..40).map(|after| spoil(row, bytes, fault, after, up, name));
            let at_once = if fault.is_silent() { SILENT_AT_ONCE } else { AT_ONCE };
            let mut met = stream::iter(cases).buffered(at_once);
            // The first case that meets no fault had fewer requests than that.
            let mut count = 0;
            while met.next().await.expect("an upload has fewer requests") {
                count += 1;
            }
            assert!(count > 0, "{fault:?} was never met");
        }
    };
    let (silent, loud): (Vec<_>, Vec<_>) = WEB_FAULTS.into_iter().partition(|fault| fault.is_silent());
    let loud = stream::iter(loud).for_each(each);
    tokio::join!(loud, stream::iter(silent).for_each_concurrent(None, each));
}

/// Whether there was such a request.
async fn spoil(row: &Row, bytes: &Bytes, fault: WebFault, after: usize, up: bool, name: &str) -> bool {
    let key = format!("faults-{name}-{fault:?}-{after}-{}", std::process::id());
    let case = format!("{name} {fault:?} of request {after}");
    let spoilt = Spoilt { fault, text: "", after, once: true };
    let line = FaultyWeb::start(&row.server, spoilt).await;
    let location = row.through(&line.address, &key, fault.is_silent());
    if up {
        upload(&location, bytes, &mut Point::default()).await.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert!(held(row, &key).await == *bytes, "{case}");
    } else {
        plant(row, &key, bytes).await;
        let got = download(&location).await.unwrap_or_else(|error| panic!("{case}: {error:?}"));
        assert!(got == *bytes, "{case}");
    }
    assert_eq!((row.left)(&key).await, Vec::<String>::new(), "{case}");
    if row.plant.is_none() {
        let direct = row.direct(&key);
        direct.storage.delete(&direct.path).await.unwrap();
    }
    if let (WebFault::Busy, Some(waited)) = (fault, line.came_again_after()) {
        assert!(waited >= BUSY_WAIT - Duration::from_millis(50), "{case}: asked for a second, came after {waited:?}");
    }
    line.met() > 0
}

async fn plant(row: &Row, key: &str, bytes: &Bytes) {
    match &row.plant {
        Some(plant) => plant(key, bytes),
        None => upload(&row.direct(key), bytes, &mut Point::default()).await.unwrap(),
    }
}

/// From some request on nothing works any more, until somebody gives up and tidies.
async fn broken_for_good(row: &Row, name: &str) {
    let bytes = pattern(row.size);
    let cases = WEB_FAULTS.into_iter().filter(|fault| *fault != WebFault::Twice).flat_map(|fault| {
        let bytes = &bytes;
        [0, 2].map(|after| async move {
            let key = format!("broken-{name}-{fault:?}-{after}-{}", std::process::id());
            let spoilt = Spoilt { fault, text: "", after, once: false };
            let line = FaultyWeb::start(&row.server, spoilt).await;
            let location = row.through(&line.address, &key, false);
            let mut point = Point::default();
            let outcome = timeout(LIMIT, try_upload(&location, bytes, &mut point)).await.expect("it ends in time");
            let error = outcome.expect_err("nothing works any more");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{fault:?} from request {after} on: {error:?}");
            line.heal();
            let direct = row.direct(&key);
            direct.storage.discard(&direct.path, LABEL, point.token.as_deref()).await.unwrap();
            assert_eq!((row.left)(&key).await, Vec::<String>::new(), "{fault:?} from request {after} on");
        })
    });
    stream::iter(cases.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

#[tokio::test]
async fn webdav_uploads_survive_every_fault_at_every_request() {
    each_request(&webdav(), true, "webdav").await;
}

#[tokio::test]
async fn webdav_downloads_survive_every_fault_at_every_request() {
    each_request(&webdav(), false, "webdav-down").await;
}

#[tokio::test]
async fn s3_uploads_survive_every_fault_at_every_request() {
    each_request(&s3(), true, "s3-up").await;
}

#[tokio::test]
async fn s3_downloads_survive_every_fault_at_every_request() {
    each_request(&s3(), false, "s3-down").await;
}

#[tokio::test]
async fn web_downloads_survive_every_fault_at_every_request() {
    each_request(&web(), false, "web-down").await;
}

#[tokio::test]
async fn webdav_that_stays_broken_is_unavailable_and_nothing_stays() {
    broken_for_good(&webdav(), "webdav").await;
}

#[tokio::test]
async fn s3_that_stays_broken_is_unavailable_and_nothing_stays() {
    broken_for_good(&s3(), "s3-up").await;
}

/// Where the line breaks: at the login, here and there, and in the last answers one by one.
fn places(total: u64) -> Vec<u64> {
    let spread = (0..8).map(|eighth| total * eighth / 8);
    spread.chain((1..16).map(|back| total.saturating_sub(back * 40))).collect()
}

#[tokio::test]
async fn sftp_survives_every_fault_in_many_places() {
    let row = sftp();
    let bytes = pattern(row.size);
    let mut cases = Vec::new();
    for up in [true, false] {
        let whole = FaultyLine::start(&row.server, u64::MAX, Then::Cut).await;
        let totals = sftp_case(&row, &whole, &bytes, up, "whole", false).await;
        for (way, total) in [(Way::Up, totals.0), (Way::Down, totals.1)] {
            for then in [Then::Reset, Then::Cut, Then::Silence] {
                cases.extend(places(total).into_iter().map(|place| (up, way, then, place)));
            }
        }
    }
    let (row, bytes) = (&row, &bytes);
    let each = |(up, way, then, place): (bool, Way, Then, u64)| async move {
        let line = FaultyLine::start_once(&row.server, way, place, then).await;
        sftp_case(row, &line, bytes, up, &format!("{way:?}-{then:?}-{place}"), then == Then::Silence).await;
        line.struck()
    };
    let (silent, loud): (Vec<_>, Vec<_>) = cases.into_iter().partition(|(_, _, then, _)| *then == Then::Silence);
    let silent = stream::iter(silent).map(each).buffer_unordered(SILENT_AT_ONCE).collect::<Vec<bool>>();
    let loud = stream::iter(loud).map(each).buffer_unordered(AT_ONCE).collect::<Vec<bool>>();
    let (silent, loud) = tokio::join!(silent, loud);
    for struck in [silent, loud] {
        assert!(struck.iter().filter(|struck| **struck).count() > struck.len() / 2, "{struck:?}");
    }
}

/// One copy over a line; how many bytes passed.
async fn sftp_case(row: &Row, line: &FaultyLine, bytes: &Bytes, up: bool, case: &str, silent: bool) -> (u64, u64) {
    let key = format!("faults-{up}-{case}-{}", std::process::id());
    let location = row.through(&line.address, &key, silent);
    if up {
        upload(&location, bytes, &mut Point::default()).await.unwrap_or_else(|error| panic!("up {case}: {error:?}"));
        assert!(held(row, &key).await == *bytes, "up {case}");
    } else {
        plant(row, &key, bytes).await;
        let got = download(&location).await.unwrap_or_else(|error| panic!("down {case}: {error:?}"));
        assert!(got == *bytes, "down {case}");
    }
    assert_eq!((row.left)(&key).await, Vec::<String>::new(), "{case}");
    line.passed()
}
