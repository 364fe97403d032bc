//! What tests share: both databases and a clock that is moved by hand. Knows no room.

pub mod catalog;
pub mod crash;
pub mod clock;
