//! What tests share: both databases and a clock that is moved by hand. Knows no room.

pub mod catalog;
pub mod clock;
pub mod crash;
