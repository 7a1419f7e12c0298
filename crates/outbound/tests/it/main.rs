//! The outbound client against a real listener.

mod fetches;
