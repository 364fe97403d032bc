//! The binary as its users meet it: a process, its exit codes, and HTTP.

mod copies;
mod kill_loop;
mod node;
mod story;
