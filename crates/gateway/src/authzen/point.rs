//! The decision point as a protected resource and as a setting.

use remit_model::{
    id::ServerId,
    refusal::Refusal,
    resource::{Server, ToolClass, ToolRule},
};
use std::{collections::BTreeMap, sync::Arc};

/// Name of the decision point among the resources: its scope is `access:evaluate`.
pub const NAME: &str = "access";
/// What a token must grant on it.
pub(super) const EVALUATE: &str = "evaluate";
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
