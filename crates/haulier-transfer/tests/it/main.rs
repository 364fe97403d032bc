//! Stories of the transfer room, told through its routes, on both databases.

mod bytes;
mod crash;
mod ends;
mod list;
mod requests;
mod room;
mod sources;
