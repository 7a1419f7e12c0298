//! A grant as one plain sentence, for consent pages and explanations. Nothing is left out or shortened: a person
//! consents to what is written there.

use super::{
    field,
    grant::{Grant, Names},
    words::{Extent::Whole, count},
};

pub(crate) fn describe(grant: &Grant) -> String {
    let mut parts = vec![subject(grant)];
    if !grant.arguments.is_empty() {
        let constraint = |(at, constraint): (&String, &super::constraint::Constraint)| {
            format!("{} is {}", Whole.argument(at), constraint.words(Whole))
        };
        parts.push(format!("only when {}", Whole.list(grant.arguments.iter().map(constraint), "and")));
    }
    match &grant.fields {
        Some(fields) if fields.is_empty() => parts.push("seeing nothing of the answers".to_owned()),
        Some(fields) => parts.push(format!("seeing only {}", Whole.quote_all(&field::to_strings(fields), "and"))),
        None => {}
    }
    if let Some(calls) = grant.calls {
        parts.push(format!("at most {}", count(calls, "call")));
    }
    for (at, most) in &grant.spend {
        parts.push(format!("{} adding up to at most {most}", Whole.argument(at)));
    }
    parts.push(match &grant.delegate {
        None => "not to be handed on".to_owned(),
        Some(delegate) => {
            let to = delegate.to.named().map_or_else(|| "any agent".to_owned(), |named| Whole.quote_all(named, "or"));
            format!("may be handed on to {to}, {} deep", count(delegate.depth.into(), "hop"))
        }
    });
    if let Some(end) = grant.not_after {
        parts.push(format!("until {}", end.utc()));
    }
    parts.join("; ")
}

fn subject(grant: &Grant) -> String {
    let actions = match &grant.actions {
        Names::Any => "every action".to_owned(),
        Names::Named(actions) => Whole.quote_all(actions, "and"),
    };
    let locations = grant.locations.named().map_or_else(|| "every resource".to_owned(), |named| Whole.quote_all(named, "and"));
    format!("{actions} at {locations}")
}
