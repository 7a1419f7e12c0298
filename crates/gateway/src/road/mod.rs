//! The road of every act, whatever protocol it came in: who asks, what it may do, what is recorded, how it is answered.
//!
//! An edge (`mcp`, `authzen`) reads its requests into an [`act::Act`] and takes these steps; [`call`] tells the whole road. Nothing
//! here knows a protocol, and `cargo xtask layers` checks that nothing here imports an edge.

pub(crate) mod act;
pub(crate) mod admit;
pub(crate) mod answer;
pub(crate) mod authorise;
pub(crate) mod budget;
pub(crate) mod call;
pub(crate) mod chain;
pub(crate) mod challenge;
pub(crate) mod commit;
pub(crate) mod context;
pub(crate) mod cors;
pub(crate) mod detach_on_drop;
pub(crate) mod identify;
pub(crate) mod kept;
pub(crate) mod metadata;
pub(crate) mod record;
pub(crate) mod rejection;
pub(crate) mod reply;
pub(crate) mod request_origin;
pub(crate) mod verified_token;
