//! Numbered rules and edge cases of the contract, each as the smallest story that could break it.

use super::world::{LARGE, Rules, World, entry, name};
