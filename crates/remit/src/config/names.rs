//! The names of tools as clients and models see them: `mcp_servers.NAME.tools.TOOL` and its `alias`.

use super::sections::Tool;
use remit_model::{
    display,
    resource::{MODEL_NAME_LIMIT, is_model_name},
};
use std::collections::{BTreeMap, BTreeSet};

/// Every alias that models would refuse or that means more than one tool, with its place.
pub(super) fn problems(tools: &BTreeMap<String, Tool>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
    for (tool, alias) in tools.iter().filter_map(|(tool, rule)| Some((tool.as_str(), rule.alias.as_deref()?))) {
        let place = format!("tools.{}.alias", display::excerpt(tool, 64));
        let shown = display::excerpt(alias, 64);
        if !is_model_name(alias) {
            problems.push(format!("{place}: `{shown}` is not 1 to {MODEL_NAME_LIMIT} letters, digits, `_` and `-`"));
        } else if alias != tool && tools.contains_key(alias) {
            problems.push(format!("{place}: `{shown}` is the name of another tool of the server"));
        } else if let Some(other) = taken.insert(alias, tool) {
            problems.push(format!("{place}: `{shown}` is the alias of `{}` already", display::excerpt(other, 64)));
        }
    }
    problems
}

/// Tools whose names models refuse and that have no alias, with their place and a proposal.
pub(super) fn warnings(tools: &BTreeMap<String, Tool>) -> impl Iterator<Item = String> {
    let mut taken: BTreeSet<String> =
        tools.iter().map(|(tool, rule)| rule.alias.clone().unwrap_or_else(|| tool.clone())).collect();
    tools.iter().filter(|(tool, rule)| rule.alias.is_none() && !is_model_name(tool)).map(move |(tool, _)| {
        format!("tools.{tool}: {REFUSED}; `alias: {}` would give it another for clients", propose(tool, &mut taken))
    })
}

/// What is wrong with such a name.
pub(crate) const REFUSED: &str = "large model interfaces refuse this name, they take letters, digits, `_` and `-`, 64 at most";

/// An alias for a tool whose name models refuse: free, and as like the name as it can be.
pub(crate) fn propose(tool: &str, taken: &mut BTreeSet<String>) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' };
    let plain: String = tool.chars().map(letter).take(MODEL_NAME_LIMIT).collect();
    let numbered = (2_usize..).map(|number| {
        let end = format!("_{number}");
        let kept: String = plain.chars().take(MODEL_NAME_LIMIT - end.len()).collect();
        kept + &end
    });
    let free = std::iter::once(plain.clone()).chain(numbered).find(|name| !name.is_empty() && !taken.contains(name));
    let alias = free.unwrap_or_else(|| plain.clone());
    taken.insert(alias.clone());
    alias
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(list: &[(&str, Option<&str>)]) -> BTreeMap<String, Tool> {
        let tool = |alias: Option<&str>| Tool { alias: alias.map(str::to_owned), ..Tool::default() };
        list.iter().map(|(name, alias)| ((*name).to_owned(), tool(*alias))).collect()
    }

    #[test]
    fn an_alias_means_one_tool_and_is_a_name_that_models_take() {
        assert!(problems(&tools(&[("a.b", Some("a_b")), ("c", None), ("d", Some("d"))])).is_empty());
        for (list, complaint) in [
            (&[("a.b", Some("a b"))][..], "letters, digits"),
            (&[("a.b", Some(""))][..], "letters, digits"),
            (&[("a.b", Some("c")), ("c", None)][..], "the name of another tool"),
            (&[("a.b", Some("x")), ("a/b", Some("x"))][..], "the alias of `a.b` already"),
        ] {
            let found = problems(&tools(list));
            assert!(matches!(found.as_slice(), [one] if one.contains(complaint)), "{list:?}: {found:?}");
        }
    }

    #[test]
    fn names_that_models_refuse_are_warned_of_with_an_alias_that_is_free() {
        let long = "x".repeat(70);
        let list = tools(&[("a.b", None), ("a_b", None), ("fine", None), ("c d", Some("c_d")), (&long, None), ("\u{dc}", None)]);
        let found: Vec<String> = warnings(&list).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].starts_with("tools.a.b: ") && found[0].contains("alias: a_b_2"), "{found:?}");
        let mut taken = BTreeSet::new();
        for name in [long.as_str(), long.as_str(), "\u{dc}", "", " "] {
            let alias = propose(name, &mut taken);
            assert!(is_model_name(&alias), "{name}: {alias}");
        }
        assert_eq!(taken.len(), 5);
    }
}
