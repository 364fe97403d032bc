//! What tests share: both databases, a clock that is moved by hand, requests without a network. Knows no room.

pub mod catalog;
pub mod clock;
pub mod crash;
pub mod web;
