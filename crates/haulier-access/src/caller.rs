//! The first argument of every verb: who is asking.

use axum::http::request::Parts;
use haulier_base::{Error, Result};

/// The role that may change what belongs to nobody in particular.
pub(crate) const ADMIN: &str = "admin";

/// Who is asking, and on whose behalf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user that what is created belongs to.
    pub user: String,
    /// What people call the user, where the identity source says so.
    pub user_name: Option<String>,
    /// The project the user acts for, where the identity source names one.
    pub project: Option<String>,
    /// Names of roles.
    pub roles: Vec<String>,
    /// The client program or machine, where a token is bound to one.
    pub client_id: Option<String>,
}

/// What the authenticator's layer leaves in a request: the caller, or the sentence of a refusal.
#[derive(Clone, Debug)]
pub(crate) struct Verdict(pub(crate) Result<Caller, String>);

impl Caller {
    /// A caller known by name only.
    pub fn named(user: impl Into<String>) -> Self {
        Self { user: user.into(), user_name: None, project: None, roles: Vec::new(), client_id: None }
    }

    /// Refuses whoever does not have the role `admin`. Without authentication everybody has it.
    ///
    /// # Errors
    /// `Forbidden`.
    pub fn require_admin(&self) -> Result<()> {
        match self.roles.iter().any(|role| role == ADMIN) {
            true => Ok(()),
            false => Err(Error::forbidden("this needs the role admin")),
        }
    }

    /// Who sent a request that has passed the authenticator's layer.
    ///
    /// # Errors
    /// `Unauthenticated` with the reason; `Internal` when the layer is missing.
    pub fn from_parts(parts: &Parts) -> Result<Self> {
        match parts.extensions.get::<Verdict>() {
            Some(Verdict(Ok(caller))) => Ok(caller.clone()),
            Some(Verdict(Err(why))) => Err(Error::unauthenticated(why.clone())),
            None => Err(Error::internal("a route was built without the authenticator's layer")),
        }
    }
}
