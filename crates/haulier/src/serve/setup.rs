//! `serve --setup FILE`: entries, rules and the name of the session from a `setup.json` (sync contract §6).

use std::path::Path;

use haulier_base::Error;
use haulier_sync::Setup;

use crate::cli::Failure;
use crate::config::{Config, ServeArgs};

/// No setup file is longer, bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What the configuration says of sync, with what the setup file says in its place if there is one. A session has a
/// data folder of its own.
pub(super) fn take(args: &ServeArgs, config: &mut Config) -> Result<Setup, Failure> {
    let Some(path) = &args.setup else { return Ok(config.sync_setup.clone()) };
    let setup = read(path)?;
    if let Some(name) = &setup.name {
        config.data_dir = config.data_dir.join("sessions").join(name);
    }
    Ok(setup)
}

fn read(path: &Path) -> Result<Setup, Failure> {
    let shown = path.display();
    // These words and the exit code 1 are the contract's.
    let failure = |what: String, why: String| {
        Failure::new("cannot start the node", Error::internal(format!("{what} : {why}")))
            .advice("correct the setup file")
    };
    let unreadable = |why: String| failure(format!("Can't process setup file '{shown}'"), why);
    let size = std::fs::metadata(path).map_err(|error| unreadable(Error::from(error).to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(Error::from(error).to_string()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    Setup::read(&text, folder).map_err(|error| failure(format!("Error parsing '{shown}'"), error.message().to_owned()))
}
