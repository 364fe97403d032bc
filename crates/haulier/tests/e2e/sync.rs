//! Sync with the real binary and real folders, by the rows of the contract's table of edge cases.

mod ends;
mod offline;
mod remote;
mod ruling;
mod story;
mod trouble;
