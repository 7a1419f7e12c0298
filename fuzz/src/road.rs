//! What `gateway::envelope` imports.

#[path = "../../crates/gateway/src/road/rejection.rs"]
#[expect(dead_code, reason = "the gateway's other uses are not here")]
pub(crate) mod rejection;
