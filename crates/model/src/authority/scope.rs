//! OAuth scope strings as shorthand: `helpdesk:tickets_read` is one action of one registered server, `helpdesk:*`
//! every action of it.
//!
//! SPEC: RFC 6749 §3.3 (tokens separated by one space). Shorthand grants have no constraints and may not be handed on;
//! ask for either with `authorization_details`.

use super::{
    grant::{Grant, Names},
    wire,
    words::quote,
};
use crate::{
    refusal::{Code, Refusal},
    resource::Server,
};
use std::collections::{BTreeMap, BTreeSet};

/// Most tokens of one scope string.
pub const SCOPE_LIMIT: usize = 1024;

/// Actions named for MCP methods are known at every server.
const METHOD: &str = "mcp:";

/// One grant for each server the scope names.
pub(crate) fn grants(scope: &str, servers: &[&Server]) -> Result<Vec<Grant>, Refusal> {
    let mut asked: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    if scope.split(' ').nth(SCOPE_LIMIT).is_some() {
        return Err(Refusal::new(Code::ScopeUnknown, format!("a scope has at most {SCOPE_LIMIT} parts")));
    }
    for token in scope.split(' ').filter(|_| !scope.is_empty()) {
        let (location, action) = resolve(token, servers)?;
        asked.entry(location).or_default().insert(action.to_owned());
    }
    let grant = |(location, actions): (&str, BTreeSet<String>)| {
        let actions = if actions.contains("*") { Names::Any } else { Names::Named(actions) };
        let locations = Names::Named(BTreeSet::from([location.to_owned()]));
        Grant { locations, actions, ..Grant::unconstrained() }.normal()
    };
    Ok(asked.into_iter().filter_map(grant).collect())
}

fn resolve<'s>(token: &'s str, servers: &[&'s Server]) -> Result<(&'s str, &'s str), Refusal> {
    let unknown = |reason: String| Refusal::new(Code::ScopeUnknown, format!("scope {}: {reason}", quote(token)));
    let (id, action) = token.split_once(':').ok_or_else(|| unknown("a scope is written SERVER:ACTION".to_owned()))?;
    let server = servers.iter().find(|server| server.id.as_str() == id);
    let server = server.ok_or_else(|| unknown(format!("no server is named {}", quote(id))))?;
    if (action == "*" || is_known(server, action)) && wire::action(action) {
        return Ok((&server.location, action));
    }
    if server.tool_named(action) != action {
        let name = quote(server.tool_named(action));
        return Err(unknown(format!("{} is an alias for clients; the name of the tool is {name}", quote(action))));
    }
    Err(unknown(format!("{} has no action {}", quote(id), quote(action))))
}

/// Whether a server has an action of this name. One without any tool rule has no list of tools: any name may be a tool of
/// it.
fn is_known(server: &Server, action: &str) -> bool {
    server.tools.is_empty() || server.tools.contains_key(action) || action.strip_prefix(METHOD).is_some_and(|m| !m.is_empty())
}

/// The actions, as scope strings, that grants name at servers that do not have them: misspelt names, or tools that were described
/// under others later.
pub(crate) fn unknown(grants: &[Grant], servers: &[&Server]) -> Vec<String> {
    let mut unknown = BTreeSet::new();
    for server in servers {
        let here = grants.iter().filter(|grant| grant.locations.contains(&server.location));
        let named = here.filter_map(|grant| grant.actions.named()).flatten();
        unknown.extend(named.filter(|action| !is_known(server, action)).map(|action| format!("{}:{action}", server.id)));
    }
    unknown.into_iter().collect()
}

/// The scope strings of what is granted, sorted.
pub(crate) fn names(grants: &[Grant], servers: &[&Server]) -> Vec<String> {
    let mut names = BTreeSet::new();
    for server in servers {
        for grant in grants.iter().filter(|grant| grant.locations.contains(&server.location)) {
            match &grant.actions {
                Names::Any => names.extend([format!("{}:*", server.id)]),
                Names::Named(actions) => names.extend(actions.iter().map(|action| format!("{}:{action}", server.id))),
            }
        }
        // `*` says all of it.
        if names.contains(&format!("{}:*", server.id)) {
            let prefix = format!("{}:", server.id);
            names.retain(|name| !name.starts_with(&prefix) || name.strip_prefix(&prefix) == Some("*"));
        }
    }
    names.into_iter().collect()
}
