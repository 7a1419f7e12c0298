//! Field pointers as lists of tokens, and the way along them.

use crate::authority::field::{FieldPath, Token};

/// The pointers that are field pointers.
pub(super) fn parse(fields: &[String]) -> Vec<FieldPath> {
    fields.iter().filter_map(|field| FieldPath::parse(field)).collect()
}

/// The rests of those pointers whose next token is accepted.
pub(super) fn step<'t>(tails: &[&'t [Token]], accepts: impl Fn(&Token) -> bool) -> Vec<&'t [Token]> {
    tails.iter().filter_map(|tail| tail.split_first()).filter(|(token, _)| accepts(token)).map(|(_, rest)| rest).collect()
}
