//! Zstandard, both ways, a piece at a time.

use std::io;

use async_compression::Level;
use async_compression::tokio::bufread::{ZstdDecoder, ZstdEncoder};
use async_compression::zstd::DParameter;
use futures::{StreamExt, TryStreamExt, stream};
use haulier_base::{Error, ErrorKind};
use haulier_storage::ByteStream;
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

/// Size of the pieces that come out.
const PIECE_BYTES: usize = 256 << 10;
/// Largest window of a body, as a power of two: 8 MiB, which RFC 9659 allows. It bounds the memory of one body.
const WINDOW_LOG_MAX: u32 = 23;

/// Compresses a stream.
pub(crate) fn compressed(plain: ByteStream) -> ByteStream {
    pieces(ZstdEncoder::with_quality(reader(plain), Level::Fastest))
}

/// Decompresses a stream; one that is damaged or cut short ends with `Corrupt`. No frame at all is nothing.
pub(crate) fn decompressed(mut zstd: ByteStream) -> ByteStream {
    let begun = async move {
        loop {
            match zstd.next().await {
                None => return stream::empty().boxed(),
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(first) => return decoded(stream::iter([first]).chain(zstd).boxed()),
            }
        }
    };
    stream::once(begun).flatten().boxed()
}

fn decoded(zstd: ByteStream) -> ByteStream {
    let mut decoder = ZstdDecoder::with_params(reader(zstd), &[DParameter::window_log_max(WINDOW_LOG_MAX)]);
    decoder.multiple_members(true);
    pieces(decoder)
}

fn reader(stream: ByteStream) -> StreamReader<impl futures::Stream<Item = io::Result<bytes::Bytes>>, bytes::Bytes> {
    StreamReader::new(stream.map_err(io::Error::other))
}

fn pieces(reader: impl AsyncRead + Send + 'static) -> ByteStream {
    ReaderStream::with_capacity(reader, PIECE_BYTES).map_err(own).boxed()
}

/// An error of ours that travelled through a reader, or what the codec says.
fn own(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(codec) => {
            Error::new(ErrorKind::Corrupt, "the zstd body is damaged, cut short, or has a window above 8 MiB")
                .caused_by(codec)
        }
    }
}

/// Reads a stream to its end; for tests and small answers.
#[cfg(test)]
pub(crate) async fn gather(stream: ByteStream) -> haulier_base::Result<Vec<u8>> {
    stream
        .try_fold(Vec::new(), |mut all, piece| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn stream(bytes: &[u8], piece: usize) -> ByteStream {
        let pieces: Vec<_> = bytes.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces).boxed()
    }

    #[tokio::test]
    async fn there_and_back() {
        for size in [0, 1, 1000, 3_000_000] {
            let plain: Vec<u8> = (0..size).map(|n: u32| (n % 251) as u8).collect();
            let packed = gather(compressed(stream(&plain, 7777))).await.unwrap();
            assert!(size < 1000 || packed.len() < plain.len() / 2, "{} of {size}", packed.len());
            assert_eq!(gather(decompressed(stream(&packed, 11))).await.unwrap(), plain);
        }
    }

    #[tokio::test]
    async fn several_frames_are_one_content() {
        let mut packed = gather(compressed(stream(b"one, ", 2))).await.unwrap();
        packed.extend(gather(compressed(stream(b"two", 2))).await.unwrap());
        assert_eq!(gather(decompressed(stream(&packed, 5))).await.unwrap(), b"one, two");
    }

    #[tokio::test]
    async fn e42_damage_is_found() {
        let plain = vec![5; 100_000];
        let whole = gather(compressed(stream(&plain, 1000))).await.unwrap();
        let mut flipped = whole.clone();
        flipped[0] ^= 1;
        let trailing = [&whole[..], b"more"].concat();
        let damaged = [&whole[..whole.len() - 1], &whole[..3], b"plain text", &flipped, &trailing];
        for (index, bytes) in damaged.into_iter().enumerate() {
            let error = gather(decompressed(stream(bytes, 7))).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{index}: {error:?}");
        }
        assert_eq!(gather(decompressed(stream(b"", 1))).await.unwrap(), b"", "nothing is nothing");
    }

    #[tokio::test]
    async fn an_error_of_the_sender_stays_what_it_is() {
        let broken = || stream::iter([Ok(Bytes::from_static(b"x")), Err(Error::unavailable("gone"))]).boxed();
        for stream in [compressed(broken()), decompressed(compressed(broken()))] {
            assert_eq!(gather(stream).await.unwrap_err().kind(), ErrorKind::Unavailable);
        }
    }
}
