//! Why a question cannot be put to the engine. Such a question is denied, and the text is an error of the decision.

use std::fmt;
use thiserror::Error;

/// Why a question cannot be put to the engine. The texts are recorded, so replay needs them as they are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Unanswerable {
    #[error("the question names no server")]
    NoServer,
    #[error("the question names no tool")]
    NoTool,
    #[error("the chain is too long")]
    ChainTooLong,
    #[error("the arguments are nested deeper than {0}")]
    TooDeep(usize),
    #[error("the time lies outside the years 1970 to 9999")]
    Time,
    /// A value that the engine does not take. Its errors have no common type.
    #[error("{0}")]
    Engine(String),
    #[error("there is no policy {0}")]
    NoPolicy(u32),
    /// A policy that was valid when it was loaded, by its place in its file.
    #[error("policy {number} of {file} cannot be read")]
    Lost { number: usize, file: String },
    #[error("{0}")]
    Rule(String),
}

impl Unanswerable {
    /// An error of the engine.
    pub(crate) fn engine(error: impl fmt::Display) -> Self {
        Self::Engine(error.to_string())
    }
}
