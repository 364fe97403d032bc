//! Making one SSH connection: address, host key, login.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use haulier_base::{Error, Result};
use russh::client::{AuthResult, Config, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{MethodKind, MethodSet, Preferred};
use tokio::net::TcpStream;

use super::errors::{silent, ssh_error};
use super::host_key::HostKeys;
use super::session::Line;
use super::settings::Settings;
use crate::connectors::network::Reach;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that a server may send before we ask for more: this much is under way on long lines.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Rounds of questions that a login may have; the password answers each.
const QUESTION_ROUNDS_MAX: usize = 4;

/// A connection that somebody is logged in on.
pub(super) async fn connect(settings: &Settings, reach: &Reach, stall: Duration) -> Result<(Handle<Checker>, Line)> {
    let limit = CONNECT_TIMEOUT.min(stall);
    let socket = within(limit, dial(settings, reach)).await?;
    let _ = socket.set_nodelay(true);
    let (socket, line) = two_ends(socket)?;
    let line_cut = CutUnlessKept(Some(line));
    let checker = Checker { keys: settings.host_keys.clone(), host: settings.host.clone() };
    let greeting = russh::client::connect_stream(Arc::new(config(settings)), socket, checker);
    let mut handle = match within(limit, async { Ok(greeting.await) }).await? {
        Ok(handle) => handle,
        Err(Trouble::Refused(error)) => return Err(error),
        Err(Trouble::Ssh(error)) => return Err(ssh_error(error, &settings.host)),
    };
    within(stall, log_in(&mut handle, settings)).await?;
    Ok((handle, line_cut.keep()))
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(silent()))
}

/// Connects to an address that may be reached, and to no other that the name may stand for.
async fn dial(settings: &Settings, reach: &Reach) -> Result<TcpStream> {
    let host = &settings.host;
    let found = tokio::net::lookup_host((host.as_str(), settings.port)).await.map_err(|error| {
        Error::unavailable(format!("the host {host} is unknown")).context("unknown_host", host).caused_by(error)
    })?;
    let found: Vec<SocketAddr> = found.collect();
    let allowed: Vec<_> = found.iter().copied().filter(|address| reach.allows(address.ip())).collect();
    if allowed.is_empty() && !found.is_empty() {
        return Err(Error::forbidden(format!("the address of {host} is not public, and its network is not allowed")));
    }
    TcpStream::connect(allowed.as_slice()).await.map_err(|error| {
        let address = format!("{host}:{}", settings.port);
        Error::unavailable(format!("{address} cannot be reached")).context("host", host).caused_by(error)
    })
}

/// The same socket twice: one end for the work, one to end it with.
fn two_ends(socket: TcpStream) -> Result<(TcpStream, Line)> {
    let socket = socket.into_std()?;
    let line = Line::new(socket.try_clone()?);
    Ok((TcpStream::from_std(socket)?, line))
}

/// A login that is broken off leaves no open connection.
struct CutUnlessKept(Option<Line>);

impl CutUnlessKept {
    fn keep(mut self) -> Line {
        self.0.take().expect("it is taken only once")
    }
}

impl Drop for CutUnlessKept {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.cut();
        }
    }
}

fn config(settings: &Settings) -> Config {
    let mut preferred = Preferred::DEFAULT;
    // The library would agree on RSA, and then fail to read the signature.
    preferred.key = preferred.key.iter().filter(|a| !matches!(a, Algorithm::Rsa { .. })).cloned().collect();
    if let Some(known) = settings.host_keys.algorithms() {
        // A server with several keys is asked for one that is known.
        let (mut first, others): (Vec<_>, Vec<_>) = preferred.key.iter().cloned().partition(|a| known.contains(a));
        first.extend(others);
        preferred.key = first.into();
    }
    Config { window_size: WINDOW_BYTES, keepalive_interval: Some(KEEPALIVE), preferred, ..Config::default() }
}

async fn log_in(handle: &mut Handle<Checker>, settings: &Settings) -> Result<()> {
    let (user, host) = (settings.user.as_str(), settings.host.as_str());
    let broken = |error| ssh_error(error, host);
    let mut tried = Vec::new();
    if let Some(key) = &settings.key {
        let key = key.clone();
        let key = tokio::task::spawn_blocking(move || key.reveal().decode()).await;
        let key = key.map_err(|error| Error::internal("a private key could not be read").caused_by(error))??;
        let key = PrivateKeyWithHashAlg::new(key, None);
        if answered(handle.authenticate_publickey(user, key).await.map_err(broken)?)?.success() {
            return Ok(());
        }
        tried.push("private_key");
    }
    if let Some(password) = &settings.password {
        match answered(handle.authenticate_password(user, password.reveal().as_str()).await.map_err(broken)?)? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } if asks(&remaining_methods) => {
                if answer_questions(handle, user, password.reveal()).await.map_err(broken)? {
                    return Ok(());
                }
            }
            AuthResult::Failure { .. } => {}
        }
        tried.push("password");
    }
    if tried.is_empty() {
        if answered(handle.authenticate_none(user).await.map_err(broken)?)?.success() {
            return Ok(());
        }
        return Err(Error::unauthenticated(format!(
            "{host} asks who {user} is: set the option password or private_key"
        )));
    }
    Err(Error::unauthenticated(format!("{host} does not accept the {} of the user {user}", tried.join(" and the "))))
}

/// A refusal names what else may be tried. One that names nothing is what the library makes of a line that broke.
fn answered(said: AuthResult) -> Result<AuthResult> {
    match &said {
        AuthResult::Failure { remaining_methods, partial_success: false } if remaining_methods.is_empty() => {
            Err(Error::unavailable("the connection to the server broke during the login"))
        }
        _ => Ok(said),
    }
}

fn asks(methods: &MethodSet) -> bool {
    methods.contains(&MethodKind::KeyboardInteractive)
}

/// Some servers take a password only as the answer to a question.
async fn answer_questions(
    handle: &mut Handle<Checker>,
    user: &str,
    password: &str,
) -> std::result::Result<bool, russh::Error> {
    let mut said = handle.authenticate_keyboard_interactive_start(user, None).await?;
    for _ in 0..QUESTION_ROUNDS_MAX {
        let KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } = &said else { break };
        let answers = vec![password.to_owned(); prompts.len()];
        said = handle.authenticate_keyboard_interactive_respond(answers).await?;
    }
    Ok(matches!(said, KeyboardInteractiveAuthResponse::Success))
}

/// Looks at the key that a server shows.
pub(super) struct Checker {
    keys: HostKeys,
    host: String,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Trouble {
    Ssh(russh::Error),
    Refused(Error),
}

impl From<russh::Error> for Trouble {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl Handler for Checker {
    type Error = Trouble;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> std::result::Result<bool, Trouble> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => {
                self.keys.check(key, &self.host).map(|()| true).map_err(Trouble::Refused)
            }
            // None is asked for.
            PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }
}
