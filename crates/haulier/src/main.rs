//! Haulier: transfer, replicate, sync, back up. Parses arguments and picks a command.

mod app;
mod cli;
mod config;
mod serve;
mod telemetry;

use std::process::ExitCode;

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Before all else: every TLS connection uses the one crypto provider.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        unreachable!("nothing installs a crypto provider before main does");
    }
    cli::run()
}
