//! Witnesses: the small server that a second party runs, and our asking of those that others run.
//!
//! Implements C2SP tlog-witness. SPEC: LG-18 to LG-21. The rule itself is `ledger::witness`; here are sockets, files and time.

mod ask;
mod server;
mod store;

pub(crate) use ask::{Circle, Settings, watch};
pub(crate) use server::{Witness, run};
