//! Stories with real folders and the real kernel, on both databases, by the numbers of the contract.

mod room;
mod seen;
mod started;
mod trouble;
