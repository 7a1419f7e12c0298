//! The roads: the real `remit serve` under load, beside a floor program that does only what physics asks.

mod client;
pub(crate) mod drive;
mod http;
mod load;
mod machine;
mod plain;
mod road;
mod upstream;
mod world;

pub(crate) mod words;
