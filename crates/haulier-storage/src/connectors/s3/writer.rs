//! Writing an object: gathered into parts, a few of which are on their way while the next one fills.
//!
//! An object that fits into one part becomes one request at the end; nothing is at the store before.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use haulier_base::{Error, Result};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::checksum::Sums;
use super::done::Done;
use super::plan::{Cut, OBJECT_MAX};
use super::upload::{Part, Upload, cut_off, length};
use super::{Bucket, copy, publish};
use crate::{Flushed, ObjectWriter, StoreSource, WriteRequest, Written};

/// Parts on their way at once, and the bytes they may have together unless a single one has more.
const PARTS_AHEAD: u64 = 4;
const BYTES_AHEAD: u64 = 128 << 20;
/// How long a suspended writer waits for parts that are on their way.
const SUSPEND_WAIT: Duration = Duration::from_secs(5);

pub(super) struct S3Writer {
    bucket: Arc<Bucket>,
    key: Arc<str>,
    cut: Cut,
    /// Set once there is something at the store.
    upload: OnceLock<Arc<Upload>>,
    resumed: u64,
    /// The length of the object, when an earlier writer completed it and did not live to say so: what is put is
    /// then compared and not sent.
    completed: Option<u64>,
    done: Arc<Done>,
    filling: AsyncMutex<Filling>,
}

/// The part that fills, and those on their way.
#[derive(Default)]
struct Filling {
    /// Where the next put goes; none before the first one.
    next: Option<u64>,
    buffers: Vec<Bytes>,
    tasks: JoinSet<()>,
    /// Parts that an earlier writer put beyond what is known to be good: not sent again if they are the same.
    held: BTreeMap<u64, Part>,
    /// An object that the store is to copy, as a whole at the end, or by parts.
    source: Option<StoreSource>,
    whole: bool,
}

impl S3Writer {
    pub(super) async fn open(bucket: Arc<Bucket>, key: String, request: &WriteRequest) -> Result<Self> {
        if request.size.is_some_and(|size| size > OBJECT_MAX) {
            return Err(Error::too_large("the object is larger than the 5 TiB that a store takes"));
        }
        let earlier = request.resume.as_deref().and_then(Upload::from_token);
        let sums = request.resume.as_deref().map(Upload::sums_of_token).unwrap_or_default();
        let (mut found, mut completed) = (None, None);
        if let Some(upload) = earlier {
            let parts = match upload.parts(&bucket, &key).await? {
                Some(parts) => Some(parts),
                None => {
                    completed = upload.completed(&bucket, &key).await?;
                    completed.map(|size| parts_of(&upload.cut, size))
                }
            };
            found = parts.map(|parts| (upload, parts));
        }
        let cut = found.as_ref().map_or_else(|| Cut::new(bucket.part_size, request.size), |(upload, _)| upload.cut);
        let mut writer = Self {
            bucket,
            key: key.into(),
            cut,
            upload: OnceLock::new(),
            resumed: 0,
            completed,
            done: Arc::default(),
            filling: AsyncMutex::default(),
        };
        if let Some((upload, parts)) = found {
            writer.go_on(upload, parts, sums, completed.or(request.size));
        } else if request.size.is_some_and(|size| size > copy::WHOLE_MAX) {
            writer.begin().await?;
        }
        Ok(writer)
    }

    /// Takes over what an earlier writer left: whole parts without a gap count, others may turn out to be the same.
    fn go_on(&mut self, upload: Upload, parts: BTreeMap<u64, Part>, sums: Vec<(u64, String)>, size: Option<u64>) {
        let size = size.unwrap_or(u64::MAX);
        let whole = |number: u64, part: &Part| {
            let (start, end) = self.cut.part(number);
            start < size && part.size == end.min(size) - start
        };
        let count = (0..).find(|number| !parts.get(number).is_some_and(|part| whole(*number, part))).unwrap_or(0);
        self.resumed = self.cut.part(count).0.min(size);
        let whole = parts.range(..count).map(|(number, part)| (*number, part.clone())).collect();
        self.done = Arc::new(Done::resumed(whole, sums));
        self.filling.get_mut().held = parts;
        self.upload = OnceLock::from(Arc::new(upload));
    }

    /// The upload, begun if there is none yet.
    async fn begin(&self) -> Result<Arc<Upload>> {
        if let Some(upload) = self.upload.get() {
            return Ok(upload.clone());
        }
        let upload = Arc::new(Upload::begin(&self.bucket, &self.key, self.bucket.checksum, self.cut).await?);
        Ok(self.upload.get_or_init(|| upload).clone())
    }

    fn refuse_failed(&self) -> Result<()> {
        self.done.refuse_failed()
    }

    /// Finds the place of the first put, which has to be where a part begins that is not there yet.
    fn start(&self, filling: &mut Filling, offset: u64) -> Result<()> {
        let part = self.cut.part_at(offset);
        let begins = self.cut.part(part).0 == offset;
        match filling.next {
            Some(next) if next == offset => return Ok(()),
            None if offset == self.resumed || offset < self.resumed && begins => {}
            _ => return Err(Error::invalid("a store takes bytes in order, and goes on where a part ends")),
        }
        // What is put again replaces what was there; until then it does not count.
        self.done.forget_from(if begins { part } else { part + 1 });
        filling.next = Some(offset);
        Ok(())
    }

    /// Sends the part that fills on its way, when there is room.
    async fn dispatch(&self, filling: &mut Filling, number: u64) -> Result<()> {
        let upload = self.begin().await?;
        let (start, end) = self.cut.part(number);
        let ahead = (BYTES_AHEAD / (end - start)).clamp(1, PARTS_AHEAD) as usize;
        while filling.tasks.len() >= ahead {
            filling.tasks.join_next().await;
        }
        self.refuse_failed()?;
        let (bucket, key, done) = (self.bucket.clone(), self.key.clone(), self.done.clone());
        let buffers: Arc<[Bytes]> = std::mem::take(&mut filling.buffers).into();
        if self.completed.is_some() {
            let checksum = upload.checksum_of(&buffers).await;
            self.done.add(number, Ok(Part { size: length(&buffers), etag: String::new(), checksum }));
            return Ok(());
        }
        let held = filling.held.remove(&number);
        filling.tasks.spawn(async move {
            let put = match held.filter(|held| held.size == length(&buffers) && held.checksum.is_some()) {
                Some(held) if upload.checksum_of(&buffers).await == held.checksum => Ok(held),
                _ => upload.put(&bucket, &key, number, buffers).await,
            };
            done.add(number, put);
        });
        Ok(())
    }

    async fn wait_for_parts(&self, filling: &mut Filling) -> Result<()> {
        while filling.tasks.join_next().await.is_some() {}
        self.refuse_failed()
    }

    /// Cuts what was put to the final size, as far as it was not sent yet.
    fn set_length(&self, filling: &mut Filling, size: u64) -> Result<()> {
        let next = match filling.next {
            Some(next) => next,
            None => {
                self.start(filling, size.min(self.resumed))?;
                size.min(self.resumed)
            }
        };
        let kept = next - length(&filling.buffers);
        if size > next || size < kept {
            return Err(Error::invalid(format!("{next} bytes were put; the object cannot end at {size}")));
        }
        cut_off(&mut filling.buffers, next - size);
        filling.next = Some(size);
        Ok(())
    }

    async fn publish(&self, filling: &mut Filling, size: u64) -> Result<Written> {
        if let (true, Some(source)) = (filling.whole, filling.source.take()) {
            if source.size != size {
                return Err(Error::invalid(format!("the copied object has {} bytes, not {size}", source.size)));
            }
            return publish::copy_whole(&self.bucket, &self.key, &source).await;
        }
        self.set_length(filling, size)?;
        if self.upload.get().is_none() || size == 0 {
            let written = publish::put(&self.bucket, &self.key, std::mem::take(&mut filling.buffers)).await?;
            self.remove_upload().await;
            return Ok(written);
        }
        if !filling.buffers.is_empty() {
            self.dispatch(filling, self.cut.part_at(size - 1)).await?;
        }
        self.wait_for_parts(filling).await?;
        let upload = self.begin().await?;
        let parts = self.done.parts();
        let there: u64 = parts.values().map(|part| part.size).sum();
        if there != size {
            return Err(Error::internal(format!("the parts have {there} bytes, not {size}")));
        }
        let whole = self.done.whole(upload.kind);
        if self.completed.is_some() {
            let sums = Sums { whole, parts: parts.into_values().map(|part| part.checksum).collect() };
            let source = filling.source.as_ref();
            return publish::recognize(&self.bucket, &self.key, &upload, &sums, size, source).await;
        }
        publish::complete(&self.bucket, &self.key, &upload, &parts, whole, filling.source.as_ref()).await
    }

    /// Removes an upload that is not needed after all; what fails is found and removed later.
    async fn remove_upload(&self) {
        if let Some(upload) = self.upload.get()
            && let Err(error) = upload.abort(&self.bucket, &self.key).await
        {
            tracing::warn!(?error, "cannot remove an upload that is not needed");
        }
    }
}

/// The parts of a finished object, of which nothing but the lengths is known.
fn parts_of(cut: &Cut, size: u64) -> BTreeMap<u64, Part> {
    let part = |number| {
        let (start, end) = cut.part(number);
        (start < size).then(|| (number, Part { size: end.min(size) - start, etag: String::new(), checksum: None }))
    };
    (0..).map_while(part).collect()
}

#[async_trait]
impl ObjectWriter for S3Writer {
    fn token(&self) -> Option<String> {
        self.upload.get().map(|upload| upload.token(&self.done.sums()))
    }

    fn resumed_size(&self) -> u64 {
        self.resumed
    }

    fn part_end(&self, offset: u64) -> Option<u64> {
        Some(self.cut.part(self.cut.part_at(offset)).1)
    }

    fn must_remember(&self) -> bool {
        self.upload.get().is_some()
    }

    async fn put_at(&self, offset: u64, bytes: Bytes) -> Result<()> {
        self.put_all_at(offset, vec![bytes]).await
    }

    async fn put_all_at(&self, offset: u64, pieces: Vec<Bytes>) -> Result<()> {
        let mut filling = self.filling.lock().await;
        self.refuse_failed()?;
        self.start(&mut filling, offset)?;
        let added = length(&pieces);
        if added == 0 {
            return Ok(());
        }
        let (start, end) = self.cut.part(self.cut.part_at(offset));
        // A part that was left full is sent now that more comes: it was not the only one.
        if offset == start && !filling.buffers.is_empty() {
            self.dispatch(&mut filling, self.cut.part_at(offset - 1)).await?;
        }
        let next = offset.saturating_add(added);
        if next > end {
            return Err(Error::invalid("a put may not go beyond the end of a part"));
        }
        filling.buffers.extend(pieces);
        filling.next = Some(next);
        if next == end && self.upload.get().is_some() {
            self.dispatch(&mut filling, self.cut.part_at(offset)).await?;
        }
        Ok(())
    }

    async fn copy_within(&self, source: &StoreSource, from: u64, at: u64, len: u64) -> Result<Option<u64>> {
        let mut filling = self.filling.lock().await;
        if source.store != self.bucket.store.name || from != at || !filling.buffers.is_empty() {
            return Ok(None);
        }
        if at == 0 && len >= source.size && source.size <= copy::WHOLE_MAX {
            (filling.source, filling.whole) = (Some(source.clone()), true);
            return Ok(Some(source.size));
        }
        self.start(&mut filling, at)?;
        if at >= source.size || self.completed.is_some_and(|size| size == source.size) {
            let whole = self.completed.map(|size| parts_of(&self.cut, size)).unwrap_or_default();
            whole.into_iter().for_each(|(number, part)| self.done.add(number, Ok(part)));
            (filling.next, filling.source) = (Some(source.size), Some(source.clone()));
            return Ok(Some(source.size - at));
        }
        let upload = self.begin().await?;
        let numbers = copy::numbers(&self.cut, source.size, at, len);
        let end = self.cut.part(numbers.end - 1).1.min(source.size);
        let copied = copy::parts(&self.bucket, &self.key, &upload, source, numbers).await?;
        copied.into_iter().for_each(|(number, part)| self.done.add(number, Ok(part)));
        (filling.next, filling.source) = (Some(end), Some(source.clone()));
        Ok(Some(end - at))
    }

    async fn flush(&self) -> Result<Flushed> {
        self.refuse_failed()?;
        let kind = self.upload.get().map(|upload| upload.kind);
        Ok(Flushed::First(kind.map_or(0, |kind| self.done.kept(kind))))
    }

    async fn finish(self: Box<Self>, size: u64) -> Result<Written> {
        let mut filling = self.filling.lock().await;
        let outcome = self.publish(&mut filling, size).await;
        if filling.whole && outcome.is_ok() {
            self.remove_upload().await;
        }
        outcome
    }

    async fn suspend(self: Box<Self>) -> Result<()> {
        let mut filling = self.filling.into_inner();
        let waiting = async { while filling.tasks.join_next().await.is_some() {} };
        // Those that do not arrive in time are sent again.
        let _late = timeout(SUSPEND_WAIT, waiting).await;
        Ok(())
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        // A part that arrives after the upload was removed could stay for ever.
        self.filling.into_inner().tasks.shutdown().await;
        match self.upload.get() {
            Some(upload) => upload.abort(&self.bucket, &self.key).await,
            None => Ok(()),
        }
    }
}
