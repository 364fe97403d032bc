//! The judge, tried: the rules of the contract one by one, and random histories.

mod found;
mod histories;
mod rules;
mod world;
