//! A storage around a storage: trying again, slowing down, counting, and failing on purpose.

mod faulty;
mod metered;
mod retry;
mod throttle;

#[cfg(test)]
mod tests;

pub use faulty::{Fault, FaultScript, Faulty, Step};
pub use metered::{Metered, Meters, Traffic};
pub use retry::Retrying;
pub use throttle::Throttled;
