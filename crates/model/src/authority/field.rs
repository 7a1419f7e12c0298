//! Which parts of a response a grant shows: JSON Pointers with `*` for every item of an array.
//!
//! A pointer shows the value it addresses and everything inside it. A token of digits addresses an array item, `*`
//! any array item, everything else an object member. To show a member whose name is a number or an asterisk, grant the
//! object that holds it: were `0` both an item and a member, `/a/*` and `/a/0` would have no meet.

use crate::json::pointer;
use std::{collections::BTreeSet, fmt};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Token {
    /// `*`: any item of an array.
    Item,
    /// One item of an array.
    Index(u64),
    /// A member of an object.
    Name(String),
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Item);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if digits && (text == "0" || !text.starts_with('0')) {
            return text.parse().ok().map(Self::Index);
        }
        Some(Self::Name(pointer::unescape(text)))
    }

    fn covers(&self, child: &Self) -> bool {
        self == child || matches!((self, child), (Self::Item, Self::Index(_)))
    }
}

/// One field pointer; empty means the whole response.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FieldPath(pub(crate) Vec<Token>);

impl FieldPath {
    /// Bytes it takes in memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let named = |token: &Token| if let Token::Name(name) = token { name.len() } else { 0 };
        self.0.iter().map(|token| size_of::<Token>() + named(token)).sum()
    }
}

impl FieldPath {
    /// `None` when this is not a field pointer.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        pointer::tokens(text)?.map(Token::parse).collect::<Option<Vec<_>>>().map(Self)
    }

    /// Whether everything `child` shows, this shows.
    pub(crate) fn covers(&self, child: &Self) -> bool {
        self.0.len() <= child.0.len() && self.0.iter().zip(&child.0).all(|(a, b)| a.covers(b))
    }

    /// The greatest pointer below both; `None` when they share nothing.
    fn meet(&self, other: &Self) -> Option<Self> {
        let (short, long) = if self.0.len() <= other.0.len() { (self, other) } else { (other, self) };
        let mut tokens = long.0.clone();
        for (token, near) in tokens.iter_mut().zip(&short.0) {
            if token.covers(near) {
                token.clone_from(near);
            } else if !near.covers(token) {
                return None;
            }
        }
        Some(Self(tokens))
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.0 {
            match token {
                Token::Item => f.write_str("/*")?,
                Token::Index(index) => write!(f, "/{index}")?,
                Token::Name(name) => write!(f, "/{}", pointer::escape(name))?,
            }
        }
        Ok(())
    }
}

/// The fields a grant shows: `None` means all of them. INVARIANT: no pointer covers another, and none is empty.
pub(crate) type Fields = Option<BTreeSet<FieldPath>>;

/// The one spelling of what these pointers show together.
pub(crate) fn normal(mut paths: BTreeSet<FieldPath>) -> Fields {
    if paths.iter().any(|path| path.0.is_empty()) {
        return None;
    }
    let covered = |path: &FieldPath| paths.iter().any(|other| other != path && other.covers(path));
    let covered: Vec<FieldPath> = paths.iter().filter(|path| covered(path)).cloned().collect();
    for path in covered {
        paths.remove(&path);
    }
    Some(paths)
}

/// Most overlaps of two sets of pointers that are looked at.
const OVERLAP_LIMIT: usize = 512;

/// What both show; `None` when their overlap has too many parts to be worth its cost.
pub(crate) fn meet(a: &Fields, b: &Fields) -> Option<Fields> {
    if within(a, b) {
        return Some(a.clone());
    }
    if within(b, a) {
        return Some(b.clone());
    }
    let (Some(a), Some(b)) = (a, b) else { return Some(None) };
    let covered = |path: &FieldPath, by: &BTreeSet<FieldPath>| by.iter().any(|other| other.covers(path));
    let (ours, a_rest): (BTreeSet<_>, BTreeSet<_>) = a.iter().cloned().partition(|path| covered(path, b));
    let (theirs, b_rest): (BTreeSet<_>, BTreeSet<_>) = b.iter().cloned().partition(|path| covered(path, a));
    let mut parts = BTreeSet::new();
    for part in a_rest.iter().flat_map(|x| b_rest.iter().filter_map(|y| x.meet(y))) {
        parts.insert(part);
        if parts.len() > OVERLAP_LIMIT {
            return None;
        }
    }
    parts.extend(ours);
    parts.extend(theirs);
    Some(normal(parts))
}

/// What either shows.
pub(crate) fn join(a: &Fields, b: &Fields) -> Fields {
    match (a, b) {
        (Some(a), Some(b)) => normal(a.union(b).cloned().collect()),
        _ => None,
    }
}

/// The first field of `child` that `parent` does not show.
pub(crate) fn beyond<'c>(child: &'c BTreeSet<FieldPath>, parent: &BTreeSet<FieldPath>) -> Option<&'c FieldPath> {
    child.iter().find(|path| !parent.iter().any(|shown| shown.covers(path)))
}

/// Whether everything `child` shows, `parent` shows.
pub(crate) fn within(child: &Fields, parent: &Fields) -> bool {
    match (child, parent) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(child), Some(parent)) => beyond(child, parent).is_none(),
    }
}

/// As JSON Pointers, sorted.
pub(crate) fn to_strings(paths: &BTreeSet<FieldPath>) -> Vec<String> {
    let mut strings: Vec<String> = paths.iter().map(ToString::to_string).collect();
    strings.sort_unstable();
    strings
}
