//! Fuzz targets, one module for each crate that reads hostile bytes.
//!
//! The body of a target is a plain function in a module here, so that the crate's own tests replay `seeds/TARGET` on
//! every run without a fuzzer (they include the module by path). To search for new inputs:
//! `cargo fuzz run model_json fuzz/corpus/model_json fuzz/seeds/model_json`. An input that once failed becomes a seed.

pub mod insight;
pub mod model;
