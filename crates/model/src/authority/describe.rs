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
        limits.push(Sentence::words("only if ").and(Sentence::list(constraints, "and")));
    }
    match &grant.only {
        Some(only) if only.is_empty() => limits.push("without any inputs".into()),
        Some(only) => {
            let named = Sentence::list(only.iter().map(|at| argument(at)), "and");
            limits.push(Sentence::words("with no inputs other than ").and(named));
        }
        None => {}
    }
    match &grant.fields {
        Some(fields) if fields.is_empty() => limits.push("it sees nothing of the answers".into()),
        Some(fields) => {
            limits.push(Sentence::words("of the answers it sees only ").and(Sentence::values(&field::to_strings(fields), "and")));
        }
        None => {}
    }
    if let Some(calls) = grant.calls {
        limits.push(format!("at most {}", count(calls, "time")).into());
    }
    for (at, most) in &grant.spend {
        limits.push(argument(at).and(format!(" adds up to at most {most} in all")));
    }
    if !grant.budgets.is_empty() {
        limits.push(Sentence::words("counts towards the budget ").and(Sentence::values(&grant.budgets, "and")));
    }
    limits.push(match &grant.delegate {
        None => "it may not pass this on to another agent".into(),
        Some(delegate) => {
            let to = delegate.to.named().map_or_else(|| "any agent".into(), |named| Sentence::values(named, "or"));
            Sentence::words("it may pass this on to ").and(to).and(match delegate.depth {
                1 => ", which may not pass it on again".to_owned(),
                depth => format!(", and from there through at most {} more", count(u64::from(depth).saturating_sub(1), "agent")),
            })
        }
    });
    limits
        .extend(grant.not_after.map(|end| Sentence::from(format!("until {}", end.utc().replace('T', " ").replace('Z', " UTC")))));
    let locations = grant.locations.named().into_iter().flatten().cloned().collect();
    Clauses { subject: subject(grant), locations, limits }
}

fn subject(grant: &Grant) -> Sentence {
    let actions = match &grant.actions {
        Names::Any => "anything".into(),
        Names::Named(actions) => Sentence::list(actions.iter().map(Sentence::action), "and"),
    };
    let locations = match grant.locations.named() {
        Some(named) => Sentence::list(named.iter().map(Sentence::resource), "and"),
        None => "every server".into(),
    };
    actions.and(" at ").and(locations)
}
