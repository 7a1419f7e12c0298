//! Passkeys: what an authenticator says when one is made, and when one signs. SPEC: W3C Web Authentication Level 3 §7.1, §7.2.
//!
//! Pure: it reads responses and checks them against what the relying party expects. CBOR and COSE keys are read by `ciborium` and
//! `coset`, signatures are checked by the same library as all others. Deliberately left out: attestation (any statement is passed
//! over, so a passkey says nothing about the make of its authenticator), extensions, and tokens bound to a TLS channel.
//!
//! The same [`Assertion::verify`] checks a sign-in, a signed consent, and years later its copy in a ledger.

mod assertion;
mod authenticator_data;
mod client_data;
mod expect;
mod registration;

pub use assertion::{Assertion, Signed};
pub use expect::{ALGORITHMS, Expect, RESPONSE_LIMIT, RelyingParty};
pub use registration::{Registered, Registration};
