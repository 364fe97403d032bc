//! Logs, to standard error: lines for people on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::process_environment;

/// Starts logging. `HAULIER_LOG` is a filter and beats `-v` and `-q`; `HAULIER_LOG_FORMAT` is `json` or `text`.
pub(crate) fn start(default: &str, verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => default,
        (false, 1) => "info",
        (false, 2) => "debug",
        (false, _) => "trace",
    };
    let filter = process_environment("HAULIER_LOG").unwrap_or_else(|| level.to_owned());
    let filter = EnvFilter::try_new(&filter).unwrap_or_else(|_| EnvFilter::new(level));
    let json = match process_environment("HAULIER_LOG_FORMAT").as_deref() {
        Some("json") => true,
        Some(_) => false,
        None => !std::io::stderr().is_terminal(),
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start can only come from a test in this process; its logs go to the first.
    let _already_started = if json {
        subscriber.json().flatten_event(true).try_init()
    } else {
        subscriber.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}
