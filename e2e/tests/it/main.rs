//! Drives the real binary. [`harness`] starts it; each other module is one thing that must hold.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise, and runs in real time"
)]

mod authzen;
mod bridge;
mod broken_connections;
mod browser;
mod chaos;
mod clients;
mod commands;
mod corpus;
mod crash;
mod demo;
mod documents;
mod doors;
mod examples;
mod export;
mod facts;
mod flood;
mod forget;
mod frameworks;
mod harness;
mod ledger;
mod libraries;
mod library_packages;
mod openid;
mod operator;
mod outage;
mod passkeys;
mod processes;
mod providers;
mod proxy;
mod raw;
mod replay;
mod schema;
mod stop;
mod tlog;
mod tls;
mod typed;
mod witness;
mod workload;
