//! What is wrong with a policy file.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One thing wrong with a policy file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyError {
    pub file: String,
    /// First line is 1; 0 when the error is about the file as a whole.
    pub line: usize,
    pub message: String,
}

impl PolicyError {
    pub(crate) fn whole(file: &str, message: String) -> Self {
        Self { file: file.to_owned(), line: 0, message }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)
        } else {
            write!(f, "{}:{}: {}", self.file, self.line, self.message)
        }
    }
}
