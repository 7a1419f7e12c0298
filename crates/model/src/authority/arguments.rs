//! The arguments of one grant together: constraints at pointers that may lie in one another, and `only`.
//!
//! A pointer supposes a shape of what contains its target: what a name looks into is an object, what a number looks into
//! is a list. Each container must be missing, null or of that kind, because a server may read a text such as
//! `["eve@evil"]` as the list that it spells. So `{"/cc/0": {"absent": true}}` refuses every `cc` but an empty list.
//!
//! Constraints on a container and on its inside imply one another; [`normal`] draws these conclusions, so that equal
//! meaning has one spelling. It does not conclude from the length of a list (`/a/2` needs `/a/0`).

use super::{
    constraint::{Constraint, Kind},
    words::{Sentence, argument},
};
use crate::json::pointer;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub(crate) type Constraints = BTreeMap<String, Constraint>;

/// Pointers to the arguments that may be there; `None` means any. INVARIANT: none lies in another.
pub(crate) type Only = Option<BTreeSet<String>>;

/// The constraints with what they imply for one another drawn out and left out; `None` when no arguments meet them all.
///
/// Every step only narrows and is drawn again from more constraints, so that a meet may be made in any order.
pub(crate) fn normal(mut constraints: Constraints, only: &mut Only) -> Option<Constraints> {
    // Arguments themselves imply nothing for one another: only what is inside of one does.
    while constraints.keys().any(|at| !is_outermost(at)) {
        let before = constraints.clone();
        empty_lists(&mut constraints)?;
        for (at, kinds) in containers(&constraints) {
            container(&mut constraints, &at, &kinds)?;
        }
        if constraints == before {
            break;
        }
    }
    let Some(allowed) = only else { return Some(constraints) };
    allowed.retain(|at| !is_outermost(at) || constraints.get(at) != Some(&Constraint::Absent));
    let gone: Vec<String> = constraints.keys().filter(|at| left_out(only, at)).cloned().collect();
    for at in gone {
        constraints.remove(&at).filter(Constraint::allows_missing)?;
    }
    Some(constraints)
}

/// Whether the pointer addresses an argument, and not something inside of one.
fn is_outermost(pointer: &str) -> bool {
    pointer.rfind('/') == Some(0)
}

/// A list without a first item is empty.
fn empty_lists(constraints: &mut Constraints) -> Option<()> {
    let first = |(at, constraint): (&String, &Constraint)| {
        let list = at.strip_suffix("/0").filter(|list| !list.is_empty() && *constraint == Constraint::Absent);
        list.map(str::to_owned)
    };
    let lists: Vec<String> = constraints.iter().filter_map(first).collect();
    for list in lists {
        constraints.remove(&format!("{list}/0"));
        narrow(constraints, &list, Constraint::unset([Kind::List]))?;
    }
    Some(())
}

/// What constraints look into, and as what.
fn containers(constraints: &Constraints) -> BTreeMap<String, BTreeSet<Kind>> {
    let mut containers: BTreeMap<String, BTreeSet<Kind>> = BTreeMap::new();
    for (at, kind) in constraints.keys().flat_map(|pointer| steps(pointer)) {
        containers.entry(at.to_owned()).or_default().insert(kind);
    }
    containers
}

/// Brings the constraint on a container and those on its inside together.
fn container(constraints: &mut Constraints, at: &str, kinds: &BTreeSet<Kind>) -> Option<()> {
    let shape = if kinds.len() == 1 { Constraint::Unset(kinds.clone()) } else { Constraint::unset([]) };
    let inside: Vec<String> = constraints.keys().filter(|pointer| is_inside(pointer, at)).cloned().collect();
    match constraints.get(at) {
        None if kinds.len() == 1 => Some(()),
        Some(Constraint::Each(Some(items))) if !kinds.contains(&Kind::Object) => {
            let items = items.as_ref().clone();
            inside.iter().try_for_each(|pointer| item(constraints, at, pointer, &items))
        }
        _ => {
            // What is left is missing, null or empty: nothing is inside.
            narrow(constraints, at, shape)?;
            inside.iter().try_for_each(|pointer| constraints.remove(pointer).is_none_or(|c| c.allows_missing()).then_some(()))
        }
    }
}

/// One constraint inside a list of which every item is in a set of scalars.
fn item(constraints: &mut Constraints, list: &str, pointer: &str, items: &Constraint) -> Option<()> {
    let inner = pointer.get(list.len() + 1..).unwrap_or_default();
    if let Some((index, _)) = inner.split_once('/') {
        return narrow(constraints, &format!("{list}/{index}"), Constraint::unset([]));
    }
    let narrowed = match constraints.get(pointer)? {
        Constraint::Absent => Constraint::Absent,
        Constraint::Unset(kinds) => {
            let text = items.allows_empty_text() && kinds.contains(&Kind::Text);
            match (text, items.allows_null()) {
                (false, false) => Constraint::Absent,
                (true, _) => Constraint::unset([Kind::Text]),
                (false, true) => Constraint::unset([]),
            }
        }
        scalars => scalars.meet(items)?,
    };
    constraints.insert(pointer.to_owned(), narrowed);
    Some(())
}

fn narrow(constraints: &mut Constraints, at: &str, by: Constraint) -> Option<()> {
    let narrowed = match constraints.get(at) {
        Some(constraint) => constraint.meet(&by)?,
        None => by,
    };
    constraints.insert(at.to_owned(), narrowed);
    Some(())
}

/// Whether arguments that meet these constraints meet `constraint` at `pointer`, whatever they are.
pub(crate) fn implies(constraints: &Constraints, only: &Only, pointer: &str, constraint: &Constraint) -> bool {
    match constraints.get(pointer) {
        Some(ours) => ours.within(constraint),
        None => constraint.allows_missing() && (is_missing(constraints, pointer) || left_out(only, pointer)),
    }
}

/// Whether a constraint on a container leaves nothing at the pointer, and no other shape than the pointer supposes.
fn is_missing(constraints: &Constraints, pointer: &str) -> bool {
    steps(pointer).any(|(at, kind)| match constraints.get(at) {
        Some(Constraint::Unset(kinds)) => kinds.iter().all(|each| *each == kind),
        Some(Constraint::Each(None)) => kind == Kind::List,
        Some(other) => *other == Constraint::Absent || other.is_null(),
        None => false,
    })
}

/// What of the arguments does not meet the constraints, in words.
pub(crate) fn failing(constraints: &Constraints, only: &Only, arguments: &Value) -> Vec<String> {
    let missed =
        |(at, constraint): (&String, &Constraint)| find(arguments, at).and_then(|found| constraint.admits(at, found)).err();
    let mut failing: Vec<String> = constraints.iter().filter_map(missed).collect();
    if let Some(allowed) = only.as_ref().filter(|allowed| !is_confined(arguments, "", allowed)) {
        let allowed = Sentence::list(allowed.iter().map(|at| argument(at)), "and").short();
        failing.push(format!("there are arguments that the grant does not name; it allows only {allowed}"));
    }
    failing
}

/// The argument at a pointer.
///
/// # Errors
/// A sentence, when something on the way there has another shape than the pointer supposes.
pub(crate) fn find<'v>(arguments: &'v Value, pointer: &str) -> Result<Option<&'v Value>, String> {
    let mut here = Some(arguments);
    for ((at, kind), token) in steps(pointer).zip(pointer.split('/').skip(1)) {
        here = match (here, kind) {
            (None | Some(Value::Null), _) => return Ok(None),
            (Some(Value::Object(members)), Kind::Object) => members.get(&pointer::unescape(token)),
            (Some(Value::Array(items)), Kind::List) => token.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => {
                let name = if at.is_empty() { "`arguments`".to_owned() } else { argument(at).short() };
                let supposed = if kind == Kind::List { "a list" } else { "an object" };
                return Err(format!("{name} must be {supposed}, null or left out: the grant constrains what is inside"));
            }
        };
    }
    Ok(here)
}

/// Whether everything in the value lies at or in one of the allowed pointers, or is a container on the way to one.
fn is_confined(value: &Value, at: &str, allowed: &BTreeSet<String>) -> bool {
    if allowed.iter().any(|pointer| pointer == at || is_inside(at, pointer)) {
        return true;
    }
    let on_the_way: BTreeSet<Kind> = allowed
        .iter()
        .flat_map(|pointer| steps(pointer))
        .filter(|(container, _)| *container == at)
        .map(|(_, kind)| kind)
        .collect();
    match value {
        _ if on_the_way.is_empty() && !at.is_empty() => false,
        Value::Null => true,
        Value::Object(members) if on_the_way.contains(&Kind::Object) || at.is_empty() => {
            members.iter().all(|(name, member)| is_confined(member, &format!("{at}/{}", pointer::escape(name)), allowed))
        }
        Value::Array(items) if on_the_way.contains(&Kind::List) => {
            items.iter().enumerate().all(|(index, item)| is_confined(item, &format!("{at}/{index}"), allowed))
        }
        _ => false,
    }
}

/// The arguments that both allow.
pub(crate) fn meet_only(a: &Only, b: &Only) -> Only {
    let (Some(a), Some(b)) = (a, b) else { return a.as_ref().or(b.as_ref()).cloned() };
    let mut both = BTreeSet::new();
    for (x, y) in a.iter().flat_map(|x| b.iter().map(move |y| (x, y))) {
        if x == y || is_inside(x, y) {
            both.insert(x.clone());
        } else if is_inside(y, x) {
            both.insert(y.clone());
        }
    }
    normal_only(Some(both))
}

/// Without pointers that lie in others.
pub(crate) fn normal_only(only: Only) -> Only {
    let allowed = only?;
    let outer = |pointer: &&String| !allowed.iter().any(|other| is_inside(pointer, other));
    Some(allowed.iter().filter(outer).cloned().collect())
}

/// Whether every argument that `child` allows, `parent` allows.
pub(crate) fn only_within(child: &Only, parent: &Only) -> bool {
    match (child, parent) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(child), Some(parent)) => child.iter().all(|at| parent.iter().any(|above| at == above || is_inside(at, above))),
    }
}

/// Whether `only` leaves nothing at the pointer, and no other shape on the way there than the pointer supposes.
pub(crate) fn left_out(only: &Only, pointer: &str) -> bool {
    let Some(allowed) = only else { return false };
    let related = |other: &String| other == pointer || is_inside(pointer, other) || is_inside(other, pointer);
    let other_shape = |other: &String| steps(pointer).any(|(at, kind)| steps(other).any(|(on, way)| on == at && way != kind));
    !allowed.iter().any(|other| related(other) || other_shape(other))
}

/// Whether the pointer addresses something inside what `container` addresses.
fn is_inside(pointer: &str, container: &str) -> bool {
    pointer.strip_prefix(container).is_some_and(|rest| rest.starts_with('/'))
}

/// The pointers to everything that contains the addressed value, each with the kind that its next token supposes.
fn steps(pointer: &str) -> impl Iterator<Item = (&str, Kind)> {
    pointer.match_indices('/').map(|(at, _)| {
        let (container, rest) = pointer.split_at_checked(at).unwrap_or_default();
        let token = rest.split('/').nth(1).unwrap_or_default();
        // Arguments are an object, so the first token is always a name.
        let index = at > 0 && token.bytes().all(|byte| byte.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
        (container, if index && !token.is_empty() { Kind::List } else { Kind::Object })
    })
}
