//! Witnesses: the small server that a second party runs, and our asking of those that others run.
//!
//! Implements C2SP tlog-witness. SPEC: LG-18 to LG-21. The rule itself is `ledger::witness`; here are sockets, files and time.

mod cosigner;
mod server;
mod store;
mod time;

pub(crate) use cosigner::{Settings, WitnessSet, watch};
pub(crate) use server::{Witness, run};
