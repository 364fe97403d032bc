//! An object store in memory that keeps every key as it is, for tests: `haulier-test-s3 PORT BUCKET ID SECRET`.
//!
//! It does what S3 documents where other servers for tests differ from it: keys, checksums, conditions, pages.
//! Knows nothing of Haulier but its clock.
#![expect(clippy::print_stderr, reason = "a program that tells why it cannot start")]

mod answers;
mod listing;
mod store;
mod sums;
mod uploads;

use std::process::ExitCode;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use store::Memory;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, bucket, id, secret] = arguments.as_slice() else {
        eprintln!("usage: haulier-test-s3 PORT BUCKET ID SECRET");
        return ExitCode::from(2);
    };
    let listener = match TcpListener::bind(format!("127.0.0.1:{port}")).await {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen on port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut builder = S3ServiceBuilder::new(Memory::with_bucket(bucket));
    builder.set_auth(SimpleAuth::from_single(id, secret.as_str()));
    serve(listener, builder.build()).await
}

/// Serves until the process is ended.
async fn serve(listener: TcpListener, service: S3Service) -> ! {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let service = service.clone();
                    connections.spawn(async move {
                        // A connection that breaks is its client's loss.
                        let _ended = Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
                Err(error) => eprintln!("a connection was lost: {error}"),
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
