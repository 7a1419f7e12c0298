//! The gateway through its public face: a real store, real keys and tokens, real upstreams on loopback.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod authzen;
mod bearer;
mod budgets;
mod calls;
mod capture;
mod dpop;
mod eras;
mod fake;
mod front;
mod keys;
mod limits;
mod lists;
mod masking;
mod mtls;
mod numbers;
mod questions;
mod reconnecting;
mod records;
mod sessions;
mod standing;
mod stdio;
mod step_up;
mod streams;
mod subjects;
mod upstreams;
mod world;
