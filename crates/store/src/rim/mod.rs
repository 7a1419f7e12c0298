//! The rim: the only place where time and randomness enter. Everything else takes them as parameters.

mod clock;
mod entropy;
mod watch;

pub use clock::Clock;
pub use entropy::Entropy;
pub(crate) use entropy::Pool;
pub use watch::Steps;
