//! The rim: the only place where time and randomness enter. Everything else takes them as parameters.

mod clock;
mod entropy;

pub use clock::Clock;
pub use entropy::Entropy;
