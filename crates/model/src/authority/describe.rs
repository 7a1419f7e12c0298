//! A grant as one plain sentence, for consent pages and explanations. Nothing is left out or shortened: a person
//! consents to what is written there.

use super::{
    field,
    grant::{Grant, Names},
    words::{Sentence, argument, count},
};

pub(crate) fn describe(grant: &Grant) -> Sentence {
    let mut sentence = subject(grant);
    if !grant.arguments.is_empty() {
        let constraints = grant.arguments.iter().map(|(at, constraint)| argument(at).and(" is ").and(constraint.words()));
        sentence = sentence.and("; only when ").and(Sentence::list(constraints, "and"));
    }
    match &grant.only {
        Some(only) if only.is_empty() => sentence = sentence.and("; without any arguments"),
        Some(only) => {
            let named = Sentence::list(only.iter().map(|at| argument(at)), "and");
            sentence = sentence.and("; with no arguments besides ").and(named);
        }
        None => {}
    }
    match &grant.fields {
        Some(fields) if fields.is_empty() => sentence = sentence.and("; seeing nothing of the answers"),
        Some(fields) => sentence = sentence.and("; seeing only ").and(Sentence::values(&field::to_strings(fields), "and")),
        None => {}
    }
    if let Some(calls) = grant.calls {
        sentence = sentence.and(format!("; at most {}", count(calls, "call")));
    }
    for (at, most) in &grant.spend {
        sentence = sentence.and("; ").and(argument(at)).and(format!(" adding up to at most {most}"));
    }
    if !grant.budgets.is_empty() {
        sentence = sentence.and("; counted as ").and(Sentence::values(&grant.budgets, "and"));
    }
    sentence = match &grant.delegate {
        None => sentence.and("; not to be handed on"),
        Some(delegate) => {
            let to = delegate.to.named().map_or_else(|| "any agent".into(), |named| Sentence::values(named, "or"));
            sentence.and("; may be handed on to ").and(to).and(format!(", {} deep", count(delegate.depth.into(), "hop")))
        }
    };
    match grant.not_after {
        Some(end) => sentence.and(format!("; until {}", end.utc())),
        None => sentence,
    }
}

fn subject(grant: &Grant) -> Sentence {
    let actions = match &grant.actions {
        Names::Any => "every action".into(),
        Names::Named(actions) => Sentence::values(actions, "and"),
    };
    let locations = match grant.locations.named() {
        Some(named) => Sentence::list(named.iter().map(Sentence::resource), "and"),
        None => "every resource".into(),
    };
    actions.and(" at ").and(locations)
}
