//! End-to-end tests: the real `remit` binary with real clients, real upstreams, a browser, crashes and restarts.
//!
//! Everything is under `tests/it`. The tests need what `cargo xtask setup` installs, and say so when it is missing; they
//! drive the binary that `REMIT_BIN` names, or build it.
