//! The child process: does one order, and ends when its parent does.

use std::time::Duration;

use haulier_base::{Error, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::runtime::Handle;

use super::{Answer, Order, carry_out};
use crate::repository;

/// How long letting go of a repository may take; shorter than the parent waits.
const MERCY: Duration = Duration::from_secs(2);

/// Reads one order from the standard input, does it, and prints the answer. When the input ends, the parent is gone
/// or wants an end: then the repository is let go at once.
/// Says whether it was done.
pub async fn serve() -> bool {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    let order: Result<Order> = match input.read_line(&mut line).await {
        Ok(_) => serde_json::from_str(&line).map_err(|error| Error::invalid(format!("not an order: {error}"))),
        Err(error) => Err(error.into()),
    };
    drop(line);
    let result = match order {
        Ok(order) => {
            let handle = Handle::current();
            let work = tokio::task::spawn_blocking(move || carry_out(&order, &handle));
            tokio::select! {
                done = work => done.unwrap_or_else(|panic| Err(Error::internal(format!("the action crashed: {panic}")))),
                () = parent_gone(&mut input) => {
                    // A storage that does not answer must not keep the process alive.
                    let released = tokio::time::timeout(MERCY, tokio::task::spawn_blocking(repository::let_go)).await;
                    if !matches!(released, Ok(Ok(()))) {
                        tracing::error!("the repository could not be let go");
                    }
                    // The work is still under way on a thread that cannot be stopped.
                    std::process::exit(1);
                }
            }
        }
        Err(error) => Err(error),
    };
    let failed = result.is_err();
    let mut text = serde_json::to_vec(&Answer::from_result(result)).unwrap_or_default();
    text.push(b'\n');
    let mut out = tokio::io::stdout();
    let said = match out.write_all(&text).await {
        Ok(()) => out.flush().await,
        error => error,
    };
    !failed && said.is_ok()
}

async fn parent_gone(input: &mut BufReader<tokio::io::Stdin>) {
    let mut rest = [0; 64];
    while input.read(&mut rest).await.is_ok_and(|count| count > 0) {}
}
