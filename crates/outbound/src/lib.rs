//! The one way in which the authorization server fetches from other machines: key sets, metadata of identity providers,
//! client metadata documents, SPIFFE bundles, event streams.
//!
//! Each request is bounded in time and size, follows no redirect, and carries no ambient credential, cookie or client
//! certificate. An address that comes from outside ([`Source::Stranger`]) is reached over https alone, and only at a public IP
//! address, which is checked after the name is resolved and before the connection is made to that very address. An operator
//! who configures an address ([`Source::Operator`]) may name a private one. SPEC: F-01 to F-07.
//!
//! ```
//! use remit_outbound::{Outbound, Rules, Source};
//!
//! let outbound = Outbound::new(Rules::default()).unwrap();
//! assert!(outbound.check("https://idp.example/keys", Source::Stranger).is_ok());
//! assert!(outbound.check("https://169.254.169.254/latest", Source::Stranger).is_err());
//! ```

mod address;
mod client;
mod documents;
mod error;

pub use address::is_public;
pub use client::{Answer, Limit, Outbound, Request, Rules, Source};
pub use documents::{Documents, Freshness};
pub use error::OutboundError;
