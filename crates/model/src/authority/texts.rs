//! A set of texts: those that begin with one of some prefixes and, where hosts are named, are URLs at one of them.

use super::{
    host::{self, Reach},
    words::Sentence,
};
use std::collections::BTreeSet;

/// Texts by prefix and host.
///
/// INVARIANT: at least one prefix, and none begins with another; `""` alone is every text. No host is named that no
/// prefix reaches, no prefix is named that reaches no host, and no hosts where the prefixes settle them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Texts {
    prefixes: BTreeSet<String>,
    hosts: Option<BTreeSet<String>>,
}

impl Texts {
    /// Texts that begin with one of these; `None` when there are none.
    pub(crate) fn beginning(prefixes: BTreeSet<String>) -> Option<Self> {
        Self { prefixes, hosts: None }.normal()
    }

    /// URLs at one of these hosts; `None` when there are none.
    pub(crate) fn at(hosts: BTreeSet<String>) -> Option<Self> {
        Self { prefixes: BTreeSet::from([String::new()]), hosts: Some(hosts) }.normal()
    }

    /// The prefixes, unless every text has one.
    pub(crate) fn prefixes(&self) -> Option<&BTreeSet<String>> {
        (self.hosts.is_none() || !self.prefixes.contains("")).then_some(&self.prefixes)
    }

    pub(crate) fn hosts(&self) -> Option<&BTreeSet<String>> {
        self.hosts.as_ref()
    }

    fn normal(mut self) -> Option<Self> {
        if self.hosts.is_none() && self.prefixes.len() == 1 {
            return Some(self);
        }
        let shorter = |prefix: &String| self.prefixes.iter().any(|other| other != prefix && prefix.starts_with(other.as_str()));
        self.prefixes = self.prefixes.iter().filter(|prefix| !shorter(prefix)).cloned().collect();
        if let Some(hosts) = self.hosts.take() {
            self.prefixes.retain(|prefix| hosts.iter().any(|host| host::reach(prefix, host) != Reach::Nothing));
            if self.prefixes.iter().any(|prefix| !settled(prefix, &hosts)) {
                let reached = |host: &String| self.prefixes.iter().any(|prefix| host::reach(prefix, host) != Reach::Nothing);
                self.hosts = Some(hosts.iter().filter(|host| reached(host)).cloned().collect());
            }
        }
        (!self.prefixes.is_empty()).then_some(self)
    }

    pub(crate) fn allow(&self, text: &str) -> bool {
        self.prefixes.iter().any(|prefix| text.starts_with(prefix.as_str()))
            && self.hosts.as_ref().is_none_or(|hosts| hosts.iter().any(|host| host::is_at(text, host)))
    }

    /// What both allow; `None` when nothing.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        let mut prefixes = BTreeSet::new();
        for (a, b) in self.prefixes.iter().flat_map(|a| other.prefixes.iter().map(move |b| (a, b))) {
            if a.starts_with(b.as_str()) {
                prefixes.insert(a.clone());
            } else if b.starts_with(a.as_str()) {
                prefixes.insert(b.clone());
            }
        }
        let hosts = match (&self.hosts, &other.hosts) {
            (Some(a), Some(b)) => Some(a & b),
            (a, b) => a.as_ref().or(b.as_ref()).cloned(),
        };
        Self { prefixes, hosts }.normal()
    }

    /// Whether everything this allows, `parent` allows.
    pub(crate) fn within(&self, parent: &Self) -> bool {
        if self.hosts.is_none() && parent.hosts.is_none() {
            let begins = |prefix: &String| parent.prefixes.iter().any(|shorter| prefix.starts_with(shorter.as_str()));
            return self.prefixes.iter().all(begins);
        }
        self.meet(parent).is_some_and(|met| met == *self)
    }

    pub(crate) fn weight(&self) -> usize {
        self.prefixes.len() + self.hosts.as_ref().map_or(0, BTreeSet::len)
    }

    pub(crate) fn fits(&self, limit: usize) -> bool {
        self.prefixes.len() <= limit
    }

    pub(crate) fn bytes(&self) -> usize {
        let all = self.prefixes.iter().chain(self.hosts.iter().flatten());
        all.map(|text| size_of::<String>() + text.len()).sum()
    }

    pub(crate) fn words(&self) -> Sentence {
        let begins = |start: &'static str| Sentence::words(start).and(Sentence::values(&self.prefixes, "or"));
        match (&self.hosts, self.prefixes.contains("")) {
            (None, true) => "a text".into(),
            (None, false) => begins("a text starting with "),
            (Some(hosts), every) => {
                let at = Sentence::words("a URL at ").and(Sentence::values(hosts, "or"));
                if every { at } else { at.and(begins(" starting with ")) }
            }
        }
    }
}

/// Whether every text with this prefix is at one of the hosts.
fn settled(prefix: &str, hosts: &BTreeSet<String>) -> bool {
    hosts.iter().any(|host| host::reach(prefix, host) == Reach::Everything)
}
