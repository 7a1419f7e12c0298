//! Which agents a text leads to: what the tokens say that vouch for them.

use remit_model::id::AgentId;
use rpds::RedBlackTreeSetSync;
use std::{ops::Bound, sync::Arc};

/// Ends the text of an entry; no name of an agent has it.
const END: char = '\n';
/// The letter that follows it.
const AFTER_END: char = '\u{b}';

/// Agents by text, as persistent as the maps of a snapshot. Many agents may have one text, so the entries are an ordered set.
#[derive(Clone, Debug)]
pub(super) struct AgentIndex(RedBlackTreeSetSync<Arc<str>>);

impl AgentIndex {
    pub(super) fn new() -> Self {
        Self(RedBlackTreeSetSync::new_sync())
    }

    /// The agents that the text leads to, in the order of their names, and not more than `most`.
    pub(super) fn get(&self, text: &str, most: usize) -> Vec<AgentId> {
        let (begin, after) = (format!("{text}{END}"), format!("{text}{AFTER_END}"));
        let entries = self.0.range::<str, _>((Bound::Included(begin.as_str()), Bound::Excluded(after.as_str())));
        let entries = entries.filter_map(|entry| entry.strip_prefix(begin.as_str()));
        entries.filter_map(|name| AgentId::parse(name).ok()).take(most).collect()
    }

    pub(super) fn insert(&mut self, text: &str, id: &AgentId) {
        self.0.insert_mut(Arc::from(format!("{text}{END}{id}")));
    }

    pub(super) fn remove(&mut self, text: &str, id: &AgentId) {
        self.0.remove_mut(format!("{text}{END}{id}").as_str());
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_leads_to_its_own_agents_alone() {
        let id = |name: &str| AgentId::parse(name).unwrap();
        let mut index = AgentIndex::new();
        for (text, name) in [("a", "x"), ("a", "y"), ("ab", "z"), ("a\nx", "w"), ("", "v")] {
            index.insert(text, &id(name));
        }
        assert_eq!(index.get("a", 9), [id("x"), id("y")]);
        assert_eq!(index.get("a", 1), [id("x")]);
        assert_eq!(index.get("a\nx", 9), [id("w")]);
        index.insert("a", &id("x"));
        index.remove("a", &id("x"));
        index.remove("nothing", &id("x"));
        assert_eq!((index.get("a", 9), index.get("b", 9)), (vec![id("y")], Vec::new()));
    }
}
