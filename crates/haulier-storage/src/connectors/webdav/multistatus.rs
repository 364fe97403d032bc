//! What a `PROPFIND` answers (RFC 4918 §14), read entry by entry, in bounded memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use haulier_base::{Error, Result};
use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::Event;
use reqwest::header::{ETAG, HeaderMap, HeaderValue, LAST_MODIFIED};
use tokio_util::io::StreamReader;

use crate::connectors::http::answer;
use crate::{ObjectKind, ObjectMeta};

/// The question for all that an entry holds.
pub(super) const QUESTION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
    <propfind xmlns=\"DAV:\"><prop><resourcetype/><getcontentlength/><getlastmodified/><getetag/></prop></propfind>";

/// Bytes between two entries: no entry is that long, but an answer that never comes to one would be.
const ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// One thing that an answer tells of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) href: String,
    collection: bool,
    size: Option<u64>,
    etag: Option<String>,
    modified: Option<String>,
}

impl Entry {
    /// The same as the headers of the object itself would say.
    pub(super) fn meta(&self) -> ObjectMeta {
        let mut headers = HeaderMap::new();
        for (name, text) in [(ETAG, &self.etag), (LAST_MODIFIED, &self.modified)] {
            if let Some(value) = text.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.insert(name, value);
            }
        }
        let size = self.size.filter(|_| !self.collection);
        let mut meta = answer::meta_of(&headers, size);
        if self.collection {
            (meta.kind, meta.version) = (ObjectKind::Directory, None);
        }
        meta
    }

    fn take(&mut self, name: &str, text: String) {
        match name {
            "getcontentlength" => self.size = text.trim().parse().ok(),
            "getetag" => self.etag = Some(text.trim().to_owned()),
            "getlastmodified" => self.modified = Some(text.trim().to_owned()),
            "collection" => self.collection = true,
            _ => {}
        }
    }
}

type Body = StreamReader<BoxStream<'static, std::io::Result<Bytes>>, Bytes>;

/// The entries of an answer.
pub(super) struct Entries {
    reader: Reader<Body>,
    /// Bytes read since the last entry.
    read: Arc<AtomicUsize>,
    buffer: Vec<u8>,
}

impl Entries {
    pub(super) fn new(body: impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Self {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = read.clone();
        let body = body.map(move |bytes| {
            let bytes = bytes?;
            if counted.fetch_add(bytes.len(), Ordering::Relaxed) > ENTRY_BYTES_MAX {
                return Err(std::io::Error::other("an entry is too long"));
            }
            Ok(bytes)
        });
        Self { reader: Reader::from_reader(StreamReader::new(body.boxed())), read, buffer: Vec::new() }
    }

    /// The next entry; none at the end of the answer.
    pub(super) async fn next(&mut self) -> Result<Option<Entry>> {
        let (mut entry, mut found, mut status) = (Entry::default(), Entry::default(), None);
        let (mut text, mut complete) = (String::new(), false);
        loop {
            self.buffer.clear();
            match self.reader.read_event_into_async(&mut self.buffer).await.map_err(broken)? {
                Event::Start(start) => {
                    text.clear();
                    if start.local_name().as_ref() == "multistatus" {
                        complete = false;
                    }
                }
                Event::Empty(empty) => found.take(empty.local_name().as_ref(), String::new()),
                Event::Text(more) => text.push_str(&more),
                Event::CData(more) => text.push_str(&more),
                Event::GeneralRef(reference) => match reference.resolve_char_ref().map_err(broken)? {
                    Some(letter) => text.push(letter),
                    None => text.push_str(resolve_predefined_entity(&reference).unwrap_or_default()),
                },
                Event::End(end) => match end.local_name().as_ref() {
                    "response" => {
                        self.read.store(0, Ordering::Relaxed);
                        return Ok(Some(entry));
                    }
                    "href" if entry.href.is_empty() => entry.href = text.trim().to_owned(),
                    "status" => status = Some(std::mem::take(&mut text)),
                    "propstat" => {
                        let good = status.take().is_none_or(|status| status.split(' ').nth(1) == Some("200"));
                        let known = std::mem::take(&mut found);
                        if good {
                            entry = Entry { href: entry.href, ..known };
                        }
                    }
                    "multistatus" => complete = true,
                    name => found.take(name, std::mem::take(&mut text)),
                },
                Event::Eof if complete => return Ok(None),
                Event::Eof => return Err(Error::unavailable("the server ended its answer in the middle")),
                _ => {}
            }
        }
    }
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::unavailable("the server's answer cannot be read").caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    async fn entries(parts: Vec<&'static str>) -> Result<Vec<Entry>> {
        let body = stream::iter(parts.into_iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))));
        let (mut entries, mut all) = (Entries::new(body), Vec::new());
        while let Some(entry) = entries.next().await? {
            all.push(entry);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn entries_are_read_whatever_the_prefix_and_however_cut() {
        let found = entries(vec![
            "<?xml version=\"1.0\"?>\n<x:multistatus xmlns:x=\"DAV:\"><x:response><x:href>/a%20b/&am",
            "p;</x:href><x:propstat><x:prop><x:getetag>&quot;1&#x32;&quot;</x:getetag><x:getcontentlength>5",
            "</x:getcontentlength><x:resourcetype/></x:prop><x:status>HTTP/1.1 200 OK</x:status></x:propstat>",
            "<x:propstat><x:prop><x:getlastmodified>no</x:getlastmodified></x:prop><x:status>HTTP/1.1 404 Not</x:status>",
            "</x:propstat></x:response><response xmlns=\"DAV:\"><href><![CDATA[/c/]]></href><propstat><prop>",
            "<resourcetype><collection/></resourcetype></prop></propstat></response></x:multistatus>\n",
        ])
        .await
        .unwrap();
        let tag = Some("\"12\"".to_owned());
        assert_eq!(found[0], Entry { href: "/a%20b/&".to_owned(), size: Some(5), etag: tag, ..Entry::default() });
        assert_eq!(found[0].meta().version.unwrap().as_str(), "etag:\"12\"");
        assert_eq!((found[1].href.as_str(), found[1].meta().kind), ("/c/", ObjectKind::Directory));
        assert_eq!(found.len(), 2);
    }

    #[tokio::test]
    async fn what_is_cut_or_endless_is_an_error() {
        for parts in [vec![], vec!["<multistatus><response>"], vec!["<html></body>"], vec!["plain"]] {
            assert!(entries(parts.clone()).await.is_err(), "{parts:?}");
        }
        let endless = stream::repeat_with(|| Ok(Bytes::from_static(&[b'a'; 65536])));
        let start = stream::iter([Ok(Bytes::from_static(b"<multistatus><response><href>"))]);
        assert!(Entries::new(start.chain(endless)).next().await.is_err());
    }
}
