//! Whose session, upstream link or request state it is. SPEC: MG-13, MG-16.

use crate::road::identify::Caller;
use remit_model::Confirmation;

/// The acting party and the chain its authority came by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    holder: String,
    subject: String,
    /// The chain; for an agent on its own account, whose every token begins a chain, its key instead, if it has one.
    chain: String,
}

impl Owner {
    pub(crate) fn of(caller: &Caller) -> Self {
        let token = &caller.token;
        let chain = match (&token.act, token.confirmation()) {
            (None, Some(Confirmation::Key(jkt))) => format!("jkt:{jkt}"),
            (None, Some(certificate)) => certificate.to_string(),
            (None, None) => "bearer".to_owned(),
            _ => format!("txn:{}", token.txn),
        };
        Self { holder: caller.holder().to_owned(), subject: token.sub.clone(), chain }
    }
}
