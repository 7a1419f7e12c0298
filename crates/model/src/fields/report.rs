//! Which pointers a projection kept and took away, as a tree of tokens: a member that turns up in every item of a list is
//! found again by one comparison, and spelled out once.

use crate::json::pointer;
use std::{borrow::Cow, collections::BTreeMap};

/// Most pointers that a projection lists as masked, and most that it lists as returned.
pub const REPORT_LIMIT: usize = 256;
/// Longest member name in a listed pointer, in characters; names can be data.
const NAME_SHOWN: usize = 64;

/// A place in the document; [`Spot::ROOT`] is the whole of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot(Option<usize>);

impl Spot {
    pub(super) const ROOT: Self = Self(Some(0));
    /// Inside something that is not listed any more.
    const UNLISTED: Self = Self(None);
}

/// INVARIANT: its size is bounded by the two lists and by the pointers of the grant, not by the document.
#[derive(Debug)]
pub(super) struct Report {
    nodes: Vec<Node>,
    masked: usize,
    returned: usize,
    truncated: bool,
    emptied: bool,
}

#[derive(Debug, Default)]
struct Node {
    children: Vec<(Box<str>, usize)>,
    /// Positions in `children`.
    by_token: BTreeMap<Box<str>, usize>,
    /// Where the next look-up probably hits: members mostly come in one order.
    next: usize,
    masked: bool,
    returned: bool,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()], masked: 0, returned: 0, truncated: false, emptied: false }
    }

    /// A member or item (`*`) that a pointer of the grant looks into.
    pub(super) fn through(&mut self, spot: Spot, name: &str) -> Spot {
        self.enter(spot, name, true)
    }

    /// A member or item (`*`) of something that stays whole.
    pub(super) fn within(&mut self, spot: Spot, name: &str) -> Spot {
        let room = self.returned < REPORT_LIMIT;
        self.enter(spot, name, room)
    }

    /// Notes a member or item (`*`) that is taken away.
    pub(super) fn mask_inside(&mut self, spot: Spot, name: &str) {
        let room = self.masked < REPORT_LIMIT;
        let inside = self.enter(spot, name, room);
        self.mask(inside);
    }

    /// Notes that this is taken away.
    pub(super) fn mask(&mut self, spot: Spot) {
        match spot.0.and_then(|at| self.nodes.get_mut(at)) {
            Some(node) if node.masked => {}
            Some(node) if self.masked < REPORT_LIMIT => {
                node.masked = true;
                self.masked += 1;
            }
            _ => self.truncated = true,
        }
    }

    /// Notes a scalar or an empty container that stays.
    pub(super) fn keep(&mut self, spot: Spot) {
        match spot.0.and_then(|at| self.nodes.get_mut(at)) {
            Some(node) if node.returned => {}
            Some(node) if self.returned < REPORT_LIMIT => {
                node.returned = true;
                self.returned += 1;
            }
            _ => self.truncated = true,
        }
    }

    /// Notes that of this many members or items of a container so many are left.
    pub(super) fn left(&mut self, before: usize, after: usize) {
        self.emptied |= before > 0 && after == 0;
    }

    pub(super) fn emptied(&self) -> bool {
        self.emptied
    }

    pub(super) fn truncated(&self) -> bool {
        self.truncated
    }

    /// The pointers that were taken away and those that were kept, each sorted.
    pub(super) fn pointers(&self) -> (Vec<String>, Vec<String>) {
        let (mut masked, mut returned) = (Vec::new(), Vec::new());
        self.spell(0, &mut String::new(), &mut masked, &mut returned);
        masked.sort_unstable();
        returned.sort_unstable();
        (masked, returned)
    }

    fn spell(&self, at: usize, pointer: &mut String, masked: &mut Vec<String>, returned: &mut Vec<String>) {
        let Some(node) = self.nodes.get(at) else { return };
        masked.extend(node.masked.then(|| pointer.clone()));
        returned.extend(node.returned.then(|| pointer.clone()));
        for (token, child) in &node.children {
            let length = pointer.len();
            pointer.push('/');
            pointer.push_str(token);
            self.spell(*child, pointer, masked, returned);
            pointer.truncate(length);
        }
    }

    /// The place of a name in here; a new one only where there is room for it.
    fn enter(&mut self, spot: Spot, name: &str, room: bool) -> Spot {
        let Spot(Some(at)) = spot else { return Spot::UNLISTED };
        let token = shown(name);
        let fresh = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return Spot::UNLISTED };
        let expected = node.children.get(node.next).filter(|(known, _)| **known == *token).map(|_| node.next);
        if let Some(position) = expected.or_else(|| node.by_token.get(&*token).copied()) {
            node.next = if position + 1 < node.children.len() { position + 1 } else { 0 };
            return Spot(node.children.get(position).map(|(_, child)| *child));
        }
        if !room {
            return Spot::UNLISTED;
        }
        node.by_token.insert(Box::from(&*token), node.children.len());
        node.children.push((Box::from(&*token), fresh));
        self.nodes.push(Node::default());
        Spot(Some(fresh))
    }
}

/// A name as a token of a listed pointer, cut where it is long.
fn shown(name: &str) -> Cow<'_, str> {
    if name.len() <= NAME_SHOWN {
        return pointer::escape(name);
    }
    match name.char_indices().nth(NAME_SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", pointer::escape(name.get(..end).unwrap_or_default()))),
        None => pointer::escape(name),
    }
}
