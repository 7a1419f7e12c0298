//! The outbound client against a real listener.
#![expect(clippy::unwrap_used, reason = "tests")]

mod fetches;
