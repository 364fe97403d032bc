//! Refusals that the contract tells apart where kinds of errors do not.

use haulier_base::Error;

/// What a verb of a client's gives.
pub(crate) type Verdict<T> = Result<T, Denial>;

/// An error, and whether the contract has a status of its own for it.
#[derive(Debug)]
pub(crate) struct Denial {
    pub(crate) error: Error,
    pub(crate) why: Why,
}

/// What is special about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nothing: its kind says it all.
    Kind,
    /// It was there and was deleted: 410.
    Gone,
    /// A bucket that is not empty, a name that is being uploaded: 406.
    Occupied,
}

impl From<Error> for Denial {
    fn from(error: Error) -> Self {
        Self { error, why: Why::Kind }
    }
}

impl Denial {
    pub(crate) fn gone(message: impl Into<String>) -> Self {
        Self { error: Error::not_found(message), why: Why::Gone }
    }

    pub(crate) fn occupied(message: impl Into<String>) -> Self {
        Self { error: Error::conflict(message), why: Why::Occupied }
    }
}
