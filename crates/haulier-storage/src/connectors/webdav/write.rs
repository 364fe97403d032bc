//! Writing an object: one upload under a temporary name, then a rename to the final one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use haulier_base::{Error, ErrorKind, Permit, Result};
use tokio::sync::Mutex;

use super::server::Server;
use super::upload::Upload;
use super::{is_a_directory, missing_is_none, split, temp_key};
use crate::connectors::http::answer;
use crate::{Flushed, Guard, ObjectKind, ObjectMeta, ObjectWriter, WriteRequest, Written};

pub(super) async fn open(server: Arc<Server>, key: &str, request: &WriteRequest) -> Result<DavWriter> {
    check_target(&server, key, &request.guard).await?;
    if request.create_parents {
        server.make_folders(split(key).0).await?;
    }
    let uploaded = if server.direct { key.to_owned() } else { temp_key(key, &request.label) };
    let upload = Upload::start(server.clone(), server.url_of(&uploaded)?, request.size);
    let state = Mutex::new(State { upload, next: 0, failed: None });
    let keep = request.keep_old.as_ref().map(|keep| keep.as_str().to_owned());
    Ok(DavWriter {
        server,
        key: key.to_owned(),
        uploaded,
        size: request.size,
        state,
        guard: request.guard.clone(),
        keep,
    })
}

/// Renaming over a folder would remove it with all that is in it.
pub(super) async fn check_target(server: &Server, key: &str, guard: &Guard) -> Result<Option<ObjectMeta>> {
    match missing_is_none(server.stat(key).await)? {
        Some(meta) if meta.kind == ObjectKind::Directory => Err(is_a_directory()),
        found => match (guard, &found) {
            (Guard::Version(known), Some(meta)) if answer::is_same_by_date(known, meta) => Ok(found),
            _ => guard.check(found.as_ref()).map(|()| found),
        },
    }
}

/// Gives an object a name that nobody has; makes folders.
pub(super) async fn rename_new(server: &Server, from: &str, to: &str) -> Result<()> {
    check_target(server, to, &Guard::Absent).await?;
    server.make_folders(split(to).0).await?;
    server.rename(from, to, false).await
}

struct State {
    upload: Upload,
    /// Bytes that were put.
    next: u64,
    failed: Option<(ErrorKind, String)>,
}

/// An object that is on its way. It starts over after every interruption, since the protocol knows no parts.
pub(super) struct DavWriter {
    server: Arc<Server>,
    key: String,
    /// The name it is uploaded under.
    uploaded: String,
    /// The size that the server was told, if any.
    size: Option<u64>,
    state: Mutex<State>,
    guard: Guard,
    keep: Option<String>,
}

impl DavWriter {
    async fn rename(&self, uploaded: &ObjectMeta) -> Result<()> {
        let before = check_target(&self.server, &self.key, &self.guard).await?;
        Permit::current().check()?;
        let mut replaces = self.guard != Guard::Absent;
        if let (Guard::Version(_), Some(keep)) = (&self.guard, &self.keep) {
            rename_new(&self.server, &self.key, keep).await.map_err(|error| match Guard::is_refusal(&error) {
                true => Guard::keep_taken(),
                false => error,
            })?;
            replaces = false;
        }
        match self.server.rename(&self.uploaded, &self.key, replaces).await {
            Err(error) => self.renamed_already(uploaded, before, error).await,
            renamed => renamed,
        }
    }

    async fn publish(&self, size: u64) -> Result<ObjectMeta> {
        let mut state = self.state.lock().await;
        if let Some((kind, message)) = &state.failed {
            return Err(Error::new(*kind, message.clone()));
        }
        if state.next != size || self.size.is_some_and(|said| said != size) {
            state.upload.stop().await;
            return Err(Error::conflict(format!("{size} bytes were to be written, and {} were put", state.next)));
        }
        state.upload.end().await?;
        drop(state);
        let uploaded = check_size(&self.server, &self.uploaded, size).await?;
        if self.uploaded != self.key {
            let renamed = self.rename(&uploaded).await;
            if renamed.as_ref().is_err_and(|error| Guard::is_refusal(error) || Guard::is_keep_taken(error)) {
                self.server.delete(&self.uploaded).await?;
            }
            renamed?;
        }
        self.server.stat(&self.key).await
    }

    /// A rename that reaches the server twice finds nothing the second time. It was ours if what is at the
    /// destination was not there before and looks like what was uploaded.
    async fn renamed_already(&self, uploaded: &ObjectMeta, before: Option<ObjectMeta>, error: Error) -> Result<()> {
        if error.kind() == ErrorKind::NotFound
            && let Ok(now) = self.server.stat(&self.key).await
            && before.as_ref() != Some(&now)
            && (now.size, now.modified) == (uploaded.size, uploaded.modified)
        {
            return Ok(());
        }
        Err(taken_away(error))
    }
}

async fn check_size(server: &Server, key: &str, size: u64) -> Result<ObjectMeta> {
    let meta = server.stat(key).await.map_err(taken_away)?;
    match meta.size {
        Some(held) if held != size => {
            Err(Error::corrupt(format!("the server holds {held} bytes where {size} were written")))
        }
        _ => Ok(meta),
    }
}

fn taken_away(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => {
            Error::conflict("the temporary file was taken away while it was written").caused_by(error)
        }
        _ => error,
    }
}

#[async_trait]
impl ObjectWriter for DavWriter {
    fn token(&self) -> Option<String> {
        None
    }

    fn resumed_size(&self) -> u64 {
        0
    }

    /// Returns when the bytes are queued; what the server thinks of them comes out of a later call.
    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let mut state = self.state.lock().await;
        if let Some((kind, message)) = &state.failed {
            return Err(Error::new(*kind, message.clone()));
        }
        if offset != state.next {
            return Err(Error::invalid("webdav takes puts in order, from the first byte on"));
        }
        let end = offset.checked_add(bytes.len() as u64);
        let end = end.ok_or_else(|| Error::invalid("the offset is larger than any file"))?;
        if self.size.is_some_and(|size| end > size) {
            return Err(Error::conflict("the source is longer than it was said to be"));
        }
        Permit::current().check()?;
        // Until it has succeeded: a put that is dropped in the middle may have sent a part.
        state.failed = Some((ErrorKind::Unavailable, "an earlier put was broken off".to_owned()));
        let sent = state.upload.send(bytes).await;
        state.failed = sent.as_ref().err().map(|error| (error.kind(), error.message().to_owned()));
        state.next = end;
        sent
    }

    async fn flush(&self) -> Result<Flushed> {
        Ok(Flushed::First(0))
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        self.publish(size).await.map(Written::from)
    }

    /// Nothing can be gone on with, so nothing is kept.
    async fn suspend(self: Box<Self>) -> Result<()> {
        self.abort().await
    }

    /// In the mode without a temporary name, what was there may be gone already.
    async fn abort(self: Box<Self>) -> Result<()> {
        self.state.lock().await.upload.stop().await;
        if self.uploaded == self.key {
            return Ok(());
        }
        self.server.delete(&self.uploaded).await
    }
}
