//! The roads: the real `remit serve` under load, beside a floor program that does only what physics asks.

mod client;
mod drive;
mod floor;
mod http;
mod load;
mod machine;
mod pair;
pub(crate) mod peers;
mod plain;
mod reference;
mod road;
pub(crate) mod suite;
mod upstream;
pub(crate) mod words;
mod world;
