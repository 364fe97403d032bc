//! haulier.
fn main() {}
