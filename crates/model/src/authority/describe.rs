//! A grant as one plain sentence, for consent pages and explanations. Nothing is left out or shortened: a person
//! consents to what is written there.

use super::{
    field,
    grant::{Grant, Names},
    words::{Sentence, argument, count},
};

/// A grant as a page lists it: what may be done, and each limit by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clauses {
    pub subject: Sentence,
    /// Where it counts; empty when it counts everywhere.
    pub locations: Vec<String>,
    pub limits: Vec<Sentence>,
}

pub(crate) fn describe(grant: &Grant) -> Sentence {
    let Clauses { subject, limits, .. } = clauses(grant);
    limits.into_iter().fold(subject, |sentence, limit| sentence.and("; ").and(limit))
}

pub(crate) fn clauses(grant: &Grant) -> Clauses {
    let mut limits = Vec::new();
    if !grant.arguments.is_empty() {
        let constraints = grant.arguments.iter().map(|(at, constraint)| argument(at).and(" is ").and(constraint.words()));
        limits.push(Sentence::words("only when ").and(Sentence::list(constraints, "and")));
    }
    match &grant.only {
        Some(only) if only.is_empty() => limits.push("without any arguments".into()),
        Some(only) => {
            let named = Sentence::list(only.iter().map(|at| argument(at)), "and");
            limits.push(Sentence::words("with no arguments besides ").and(named));
        }
        None => {}
    }
    match &grant.fields {
        Some(fields) if fields.is_empty() => limits.push("seeing nothing of the answers".into()),
        Some(fields) => {
            limits.push(Sentence::words("seeing only ").and(Sentence::values(&field::to_strings(fields), "and")));
        }
        None => {}
    }
    if let Some(calls) = grant.calls {
        limits.push(format!("at most {}", count(calls, "call")).into());
    }
    for (at, most) in &grant.spend {
        limits.push(argument(at).and(format!(" adding up to at most {most}")));
    }
    if !grant.budgets.is_empty() {
        limits.push(Sentence::words("counted as ").and(Sentence::values(&grant.budgets, "and")));
    }
    limits.push(match &grant.delegate {
        None => "not to be handed on".into(),
        Some(delegate) => {
            let to = delegate.to.named().map_or_else(|| "any agent".into(), |named| Sentence::values(named, "or"));
            Sentence::words("may be handed on to ").and(to).and(format!(", {} deep", count(delegate.depth.into(), "hop")))
        }
    });
    limits.extend(grant.not_after.map(|end| Sentence::from(format!("until {}", end.utc()))));
    let locations = grant.locations.named().into_iter().flatten().cloned().collect();
    Clauses { subject: subject(grant), locations, limits }
}

fn subject(grant: &Grant) -> Sentence {
    let actions = match &grant.actions {
        Names::Any => "every action".into(),
        Names::Named(actions) => Sentence::list(actions.iter().map(Sentence::action), "and"),
    };
    let locations = match grant.locations.named() {
        Some(named) => Sentence::list(named.iter().map(Sentence::resource), "and"),
        None => "every resource".into(),
    };
    actions.and(" at ").and(locations)
}
