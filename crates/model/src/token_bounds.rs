//! How large a token and its parts may be, in one place for writers and readers.
//!
//! The authority refuses at issue, and the admin API and `config check` at registration, what would be larger. The gateway, the
//! other endpoints and both ledger verifiers read as much (`verify.py` states the same numbers; a test compares them).
//! INVARIANT: the largest token leaves 24 KiB of `head.bytes` to its proof and other headers. SPEC: X-10.

use crate::{
    authority::Authority,
    bounds::{Bound, Unit},
    json,
    refusal::{Code, Refusal},
    resource::Server,
};

const AT_ISSUE: &str = "`authorization_details_invalid` at registration and at issue, else `token_malformed`";

/// A token in compact form.
pub const TOKEN: Bound = Bound::new(
    "token.bytes",
    40 << 10,
    Unit::Bytes,
    "A token in compact form, and any other JWS: a DPoP proof, a delegation statement",
    AT_ISSUE,
);
/// The `scope` claim or parameter.
pub const SCOPE: Bound = Bound::new("token.scope", 16 << 10, Unit::Bytes, "A `scope`: all of its words", AT_ISSUE);
/// The parameters of one request to the token endpoint: two tokens, and what is asked of them.
pub const FORM: Bound =
    Bound::new("token.form", 128 << 10, Unit::Bytes, "The parameters of a request to an OAuth endpoint", "`request_too_large`");
/// Members and items of a token's claims. No token of `token.bytes` has more.
pub const MEMBERS: Bound =
    Bound::new("token.members", 16_384, Unit::Count, "Members and items in a token's claims", "`token_malformed`");

/// Every bound, in the order of the documentation.
pub const ALL: &[Bound] = &[TOKEN, SCOPE, FORM, MEMBERS];

/// Bytes of claims that are not authority: identifiers, times, actors.
const OTHER_CLAIMS: usize = 2 << 10;

/// Makes sure that a token can state all of this authority at one server.
///
/// # Errors
/// `authorization_details_invalid`, which names the bound.
pub fn check_authority(authority: &Authority, servers: &[&Server]) -> Result<(), Refusal> {
    for server in servers {
        let here = authority.at_location(&server.location);
        if here.is_none() {
            continue;
        }
        let scope = here.scopes(servers).iter().map(|name| name.len() + 1).sum::<usize>();
        check(&SCOPE, scope, server.id.as_str())?;
        let claims = json::canonical(&here.to_value()).len() + scope + OTHER_CLAIMS;
        check(&TOKEN, encoded(claims), server.id.as_str())?;
    }
    Ok(())
}

/// Makes sure that a token that was made can be read.
///
/// # Errors
/// `authorization_details_invalid`, which names the bound.
pub fn check_token(compact: &str, scope: &str) -> Result<(), Refusal> {
    check(&SCOPE, scope.len(), "the target")?;
    check(&TOKEN, compact.len(), "the target")
}

/// Bytes of base64url without padding.
fn encoded(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

fn check(bound: &Bound, bytes: usize, at: &str) -> Result<(), Refusal> {
    if bytes <= bound.size() {
        return Ok(());
    }
    let what = if *bound == SCOPE { "scope" } else { "token" };
    let reason = format!(
        "the {what} that states all that is granted at {at} takes {bytes} bytes; at most {bound} (`{}`): name fewer grants or \
         actions, or `*` for every action",
        bound.name
    );
    Err(Refusal::new(Code::AuthorizationDetailsInvalid, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds;

    #[test]
    fn the_largest_token_fits_where_it_is_sent() {
        assert!(TOKEN.value() + (24 << 10) <= bounds::HEAD_BYTES.value());
        // A token exchange sends two tokens and a client assertion.
        assert!(2 * TOKEN.value() + (32 << 10) <= FORM.value());
        // Of each member or item, claims have at least two bytes.
        assert!(TOKEN.value() / 4 * 3 / 2 <= MEMBERS.value());
        assert!(json::Limits::TOKEN.bytes >= TOKEN.size() && json::Limits::TOKEN.members == MEMBERS.size());
    }

    #[test]
    fn the_page_of_bounds_and_the_other_verifier_state_these() {
        let page = include_str!("../../../docs/bounds.md");
        assert!(page.contains(&bounds::markdown(ALL)), "docs/bounds.md is not current; its table is:\n{}", bounds::markdown(ALL));
        let verifier = include_str!("../../../verify.py");
        for (name, bound) in [("TOKEN_LIMIT", TOKEN), ("SCOPE_LIMIT", SCOPE), ("CLAIMS_MEMBERS", MEMBERS)] {
            let line = verifier.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            let value: u64 = line.unwrap().split(' ').next().unwrap().replace('_', "").parse().unwrap();
            assert_eq!(value, bound.value(), "{name}");
        }
    }
}
