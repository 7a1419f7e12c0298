//! Security events of an identity provider: OpenID Shared Signals Framework 1.0, with the events of CAEP 1.0 and RISC 1.0.
//!
//! Implements the receiver of RFC 8417 tokens: pushed (RFC 8935, `push.rs`) and polled (RFC 8936, `poll.rs`); rules SS-06, SS-07,
//! SS-10, SS-11. `meaning.rs` says what each event is to us, `take.rs` takes one.
//!
//! It deliberately does not create, change or verify the stream at the transmitter: its operator sets it up there.

mod meaning;
pub(crate) mod poll;
pub(crate) mod push;
mod take;

/// The path at which a transmitter delivers.
pub fn path(provider: &str) -> String {
    format!("/ssf/events/{provider}")
}
