//! The policy decision point: others ask whether an act would be allowed, and enforce the answer themselves.
//!
//! Implements the evaluation endpoints and the metadata of the OpenID AuthZEN Authorization API 1.0; rules AU-01 … AU-09,
//! CE-01 … CE-03. Whoever asks holds a token of ours for this very resource, with a grant of `evaluate` on it that may say
//! what it may ask about. An answer is what the subject's own authority and then the policies say; it is recorded before it
//! is given. Deliberately missing: the search endpoints, and delegated authority, which a name cannot prove.

mod evaluate;
mod http;
mod record;
mod wire;

pub(crate) use http::router;

use remit_model::{
    id::ServerId,
    refusal::Refusal,
    resource::{Server, ToolClass, ToolRule},
};
use std::{collections::BTreeMap, sync::Arc};

/// Name of the decision point among the resources: its scope is `access:evaluate`.
pub const NAME: &str = "access";
/// What a token must grant on it.
const EVALUATE: &str = "evaluate";
/// Where it is, below the issuer.
const PATH: &str = "/access/v1";

/// The decision point as the operator wants it.
#[derive(Clone, Debug)]
pub struct Authzen {
    /// The protected resource it is: see [`Authzen::resource`].
    pub server: Arc<Server>,
    /// Give decisions while the ledger is in trouble, as long as they can be recorded.
    pub reads_in_outage: bool,
}

impl Authzen {
    /// The protected resource that the decision point of this issuer is: `ISSUER/access/v1` with one action, `evaluate`.
    ///
    /// # Errors
    /// Never: the name is well-formed.
    pub fn resource(issuer: &str) -> Result<Server, Refusal> {
        let rule = ToolRule { class: ToolClass::Read, title: Some("Ask what somebody may do".to_owned()), ..ToolRule::default() };
        Ok(Server {
            id: ServerId::parse(NAME)?,
            title: "Authorization decisions".to_owned(),
            location: format!("{issuer}{PATH}"),
            tools: BTreeMap::from([(EVALUATE.to_owned(), rule)]),
        })
    }
}
