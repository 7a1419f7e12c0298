//! The clock and the randomness of this machine. No other crate reads either: they take a `Moment` or an [`Entropy`].
//!
//! Both have a second form for tests and simulations: a clock moved by hand and a seeded stream. That is what makes
//! replay exact. This crate decides nothing with what it reads.
//!
//! ```
//! use remit_clock::{Clock, Entropy};
//! use remit_model::time::{Moment, UnixTime};
//! use std::time::Duration;
//!
//! let clock = Clock::manual(Moment::at(1_800_000_000));
//! clock.advance(Duration::from_secs(60));
//! assert_eq!(clock.unix(), UnixTime(1_800_000_060));
//! assert_eq!(Entropy::seeded(7).token(16), Entropy::seeded(7).token(16));
//! ```

mod clock;
mod discipline;
mod entropy;
mod step_watch;

pub use clock::Clock;
pub use entropy::{Entropy, EntropyPool};
pub use step_watch::Steps;

/// The ambient inputs of a process, passed on as values.
#[derive(Clone, Debug)]
pub struct Ambient {
    /// The clock.
    pub clock: Clock,
    /// The source of randomness.
    pub entropy: Entropy,
}

impl Ambient {
    /// The clock and the randomness of this machine.
    pub fn system() -> Self {
        Self { clock: Clock::system(), entropy: Entropy::system() }
    }
}
