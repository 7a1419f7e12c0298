//! The one place where the process meets the world's clock and randomness; everything else is handed them.

use remit_store::rim::{Clock, Entropy};

/// The hidden inputs, made visible.
#[derive(Clone, Debug)]
pub(crate) struct Rim {
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
}

impl Rim {
    pub(crate) fn system() -> Self {
        Self { clock: Clock::system(), entropy: Entropy::system() }
    }
}
