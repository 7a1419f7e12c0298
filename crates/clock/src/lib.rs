//! The clock and the randomness of this machine. No other crate reads either: they take a `Moment` or an [`Entropy`].
//!
//! Both have a second form for tests and simulations: a clock moved by hand and a seeded stream. That is what makes
//! replay exact. This crate decides nothing with what it reads.

mod clock;
mod entropy;
mod step_watch;

pub use clock::Clock;
pub use entropy::{Entropy, EntropyPool};
pub use step_watch::Steps;

/// The ambient inputs of a process, passed on as values.
#[derive(Clone, Debug)]
pub struct Ambient {
    pub clock: Clock,
    pub entropy: Entropy,
}

impl Ambient {
    /// The clock and the randomness of this machine.
    pub fn system() -> Self {
        Self { clock: Clock::system(), entropy: Entropy::system() }
    }
}
