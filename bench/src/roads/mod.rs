//! The roads: the real `remit serve` under load, beside a floor program that does only what physics asks.

pub(crate) mod client;
pub(crate) mod drive;
mod floor;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod machine;
mod pair;
pub(crate) mod peers;
mod plain;
mod reference;
pub(crate) mod road;
pub(crate) mod suite;
mod upstream;
pub(crate) mod words;
pub(crate) mod world;
