//! Fuzz targets: one function for each parser of hostile bytes, which panics where a property does not hold.
//!
//! `cargo xtask fuzz` searches for new inputs with libFuzzer. The tests of this crate replay what is committed: `seeds/TARGET`
//! was written by hand, `corpus/TARGET.txt` is the minimised result of a
//! search. An input that once failed becomes a seed.

pub mod authority;
pub mod clients;
pub mod gateway;
pub mod insight;
pub mod ledger;
pub mod model;
pub mod passkeys;
mod road;
mod signin;
pub mod token;

/// The body of one target.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 14] = [
    ("authority_clients", clients::metadata),
    ("authority_requests", authority::requests),
    ("gateway_authzen", gateway::authzen),
    ("gateway_schemas", gateway::schemas),
    ("gateway_streams", gateway::streams),
    ("insight_upstream", insight::upstream),
    ("ledger_notes", ledger::notes),
    ("ledger_records", ledger::records),
    ("model_authority", model::authority),
    ("model_call", model::call),
    ("model_json", model::json),
    ("model_words", model::words),
    ("token_jws", token::jws),
    ("token_passkeys", passkeys::responses),
];
