//! One request on its way to a token or a refusal, and what it uses up on that way.

use crate::{http::error::At, tokens::record::Entry};
use remit_model::UnixTime;
use remit_store::{Change, JtiKind};

/// One request on its way to a token or a refusal.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) at: At,
    pub(crate) entry: Entry,
    /// Identifiers this request uses up, whether it succeeds or not.
    pub(crate) once: Vec<(JtiKind, String, UnixTime)>,
    /// What changes if it is refused: a failed attempt is counted, a reused token ends its family.
    pub(crate) on_refusal: Vec<Change>,
}

impl Attempt {
    /// Whether nobody has proved anything, and nothing changes: such a refusal costs the caller nothing.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.once.is_empty() && self.on_refusal.is_empty()
    }

    pub(crate) fn new(at: At) -> Self {
        Self { at, entry: Entry::default(), once: Vec::new(), on_refusal: Vec::new() }
    }
}
