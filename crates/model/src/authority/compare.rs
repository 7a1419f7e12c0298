//! Why one grant is not within another, dimension by dimension, in words a person can act on.

use super::{
    arguments,
    constraint::Constraint,
    field,
    grant::{Grant, Names, spendable},
    words::{Sentence, argument, count, quote, quote_all},
};
use crate::refusal::{Code, Refusal};

/// Where the authority comes from that another one has to be within, for the words of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// The authority of the one who delegates.
    #[default]
    Parent,
    /// The registered ceiling of an agent that acts for itself.
    Ceiling,
    /// What a person agreed to.
    Consent,
}

impl Holder {
    /// The grant that is exceeded.
    fn grant(self) -> &'static str {
        match self {
            Self::Parent => "the parent's grant",
            Self::Ceiling => "the agent's ceiling",
            Self::Consent => "the consent",
        }
    }

    /// Said where there is no grant at all.
    pub fn holds_nothing(self) -> &'static str {
        match self {
            Self::Parent => "the parent holds nothing",
            Self::Ceiling => "the agent's ceiling is empty",
            Self::Consent => "nothing was agreed to",
        }
    }

    /// Said of a single action: "asks for `refund`, …".
    pub fn lacks_it(self) -> &'static str {
        match self {
            Self::Parent => "which the parent does not hold",
            Self::Ceiling => "which is not within the agent's ceiling",
            Self::Consent => "which was not agreed to",
        }
    }
}

/// Stands for [`Holder::grant`] in a reason until it is known.
const HELD: &str = "\u{e000}";

/// One dimension in which a child grant exceeds a parent grant.
pub(crate) struct Widening {
    code: Code,
    reason: String,
    /// How far this leaves the two grants apart; used to find the nearest parent.
    weight: u32,
}

/// The refusal for a grant that no parent grant covers: the first dimension that widens against the nearest parent.
pub(crate) fn refusal(child: &Grant, parents: &[Grant], holder: Holder) -> Refusal {
    let near = parents.iter().map(|parent| widenings(child, parent));
    let near = near.min_by_key(|widened| widened.iter().map(|one| one.weight).sum::<u32>());
    match near.and_then(|widened| widened.into_iter().next()) {
        Some(first) => {
            Refusal::new(first.code, format!("the grant of {}: {}", subject(child), first.reason.replace(HELD, holder.grant())))
        }
        None => Refusal::new(Code::WidensScope, format!("the grant of {}: {}", subject(child), holder.holds_nothing())),
    }
}

/// `refund_create` or "every action".
fn subject(grant: &Grant) -> String {
    match grant.actions.named() {
        Some(actions) => quote_all(actions, "and"),
        None => "every action".to_owned(),
    }
}

fn widenings(child: &Grant, parent: &Grant) -> Vec<Widening> {
    let mut found = Vec::new();
    found.extend(names(Code::WidensResource, "resource", &child.locations, &parent.locations, 1000));
    found.extend(names(Code::WidensScope, "action", &child.actions, &parent.actions, 100));
    arguments(child, parent, &mut found);
    found.extend(fields(child, parent));
    limits(child, parent, &mut found);
    found.extend(delegation(child, parent));
    if !child.ends_within(parent) {
        let asked = child.not_after.map_or_else(|| "no end".to_owned(), |end| format!("an end at {}", end.utc()));
        let held = parent.not_after.map_or_else(|| "never".to_owned(), |end| format!("at {}", end.utc()));
        found.push(widening(Code::WidensLifetime, format!("asks for {asked}, but {HELD} ends {held}")));
    }
    found
}

fn widening(code: Code, reason: String) -> Widening {
    Widening { code, reason, weight: 1 }
}

/// `apart` is the weight when the two have nothing in common.
fn names(code: Code, noun: &str, child: &Names, parent: &Names, apart: u32) -> Option<Widening> {
    if child.within(parent) {
        return None;
    }
    let held = parent.named().map_or_else(|| format!("every {noun}"), |names| quote_all(names, "and"));
    let reason = match (child, parent) {
        (Names::Named(asked), Names::Named(named)) => {
            let beyond = quote_all(asked.difference(named), "and");
            format!("asks for {noun} {beyond}, but {HELD} is only for {held}")
        }
        _ => format!("asks for every {noun}, but {HELD} is only for {held}"),
    };
    let weight = if child.meet(parent).is_empty() { apart } else { 10 };
    Some(Widening { code, reason, weight })
}

fn arguments(child: &Grant, parent: &Grant, found: &mut Vec<Widening>) {
    for (at, held) in parent.arguments.iter().filter(|(at, held)| !child.implies(at, held)) {
        if only_for_want_of_a_total(child, parent, at, held) {
            continue;
        }
        let name = argument(at).short();
        let held = held.words().short();
        let reason = match child.arguments.get(at) {
            Some(asked) => {
                format!("asks for {name} to be {}, but {HELD} needs it to be {held}", asked.words().short())
            }
            None => format!("asks for any {name}, but {HELD} needs it to be {held}"),
        };
        found.push(widening(Code::WidensArgument, reason));
    }
    if let Some(held) = parent.only.as_ref().filter(|_| !arguments::only_within(&child.only, &parent.only)) {
        let held = Sentence::list(held.iter().map(|at| argument(at)), "and").short();
        let asked = match &child.only {
            Some(asked) => Sentence::list(asked.iter().map(|at| argument(at)), "and").short(),
            None => "any further argument".to_owned(),
        };
        found.push(widening(Code::WidensArgument, format!("asks for {asked}, but {HELD} is only for {held}")));
    }
}

/// Whether the argument would be within the parent's if the child had the parent's total for it: a total also bounds
/// every single amount. What widens then is the limit.
fn only_for_want_of_a_total(child: &Grant, parent: &Grant, at: &str, held: &Constraint) -> bool {
    let Some(most) = parent.spend.get(at) else { return false };
    let spendable = spendable(most);
    let totalled = match child.arguments.get(at) {
        Some(asked) => spendable.and_then(|spendable| asked.meet(&spendable)),
        None => spendable,
    };
    child.spend.get(at).is_none_or(|asked| asked > most) && totalled.is_some_and(|totalled| totalled.within(held))
}

fn fields(child: &Grant, parent: &Grant) -> Option<Widening> {
    let shown = parent.fields.as_ref()?;
    let asked = match &child.fields {
        None => "every field".to_owned(),
        Some(asked) => format!("field {}", quote(&field::beyond(asked, shown)?.to_string())),
    };
    let held = quote_all(&field::to_strings(shown), "and");
    Some(widening(Code::WidensField, format!("asks to see {asked}, but {HELD} shows only {held}")))
}

fn limits(child: &Grant, parent: &Grant, found: &mut Vec<Widening>) {
    if child.limits_within(parent) {
        return;
    }
    if let Some(held) = parent.calls.filter(|held| child.calls.is_none_or(|asked| asked > *held)) {
        let asked = child.calls.map_or_else(|| "any number of calls".to_owned(), |asked| count(asked, "call"));
        let reason = format!("asks for {asked}, but {HELD} is for {}", count(held, "call"));
        found.push(widening(Code::WidensLimit, reason));
    }
    if let Some(name) = parent.budgets.difference(&child.budgets).next() {
        let reason = format!("leaves out the budget {}, which {HELD} draws on; name it in `limits.name`", quote(name));
        found.push(widening(Code::WidensLimit, reason));
    }
    for (at, held) in &parent.spend {
        let name = argument(at).short();
        let reason = match child.spend.get(at) {
            Some(asked) if asked <= held => continue,
            Some(asked) => format!("asks for {name} up to {asked} in total, but {HELD} ends at {held}"),
            None => format!("asks for {name} without a total, but {HELD} ends at {held} in total"),
        };
        found.push(widening(Code::WidensLimit, reason));
    }
}

fn delegation(child: &Grant, parent: &Grant) -> Option<Widening> {
    if child.delegate_within(parent) {
        return None;
    }
    let asked = child.delegate.as_ref()?;
    let to = |names: &Names| names.named().map_or_else(|| "anyone".to_owned(), |named| quote_all(named, "and"));
    let reason = match &parent.delegate {
        None => format!("asks to delegate it to {}, but {HELD} may not be delegated further", to(&asked.to)),
        Some(held) if !asked.to.within(&held.to) => {
            format!("asks to delegate it to {}, but {HELD} names only {}", to(&asked.to), to(&held.to))
        }
        Some(held) => {
            let hops = |depth: u8| count(depth.into(), "further hop");
            format!("asks for {}, but {HELD} allows {}", hops(asked.depth), hops(held.depth))
        }
    };
    Some(widening(Code::WidensDelegation, reason))
}
