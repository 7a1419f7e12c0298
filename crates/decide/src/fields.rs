//! What policies say of the classified fields of an answer: asked once per class, before anything is forwarded.
//!
//! A tool's rule gives fields of its answer a class (`fields`), and everything else in the answer the tool's own
//! `classification`. Each class that occurs is one `read_field` question. An answer without any class is not asked about.
//! The question differs from that of the call in its action only, so a record states the class and the answer, and a
//! replay makes the question again from that of the call.

use crate::world::World;
use remit_model::{Server, fields, mask::Withheld};
use remit_policy::{Decision, Question};
use std::collections::BTreeMap;

/// One class of the answer's fields, and whether the caller may read it.
#[derive(Clone, Debug)]
pub struct FieldDecision {
    /// The class: `pii`.
    pub class: String,
    /// JSON Pointers of the fields that have this class by name.
    pub pointers: Vec<String>,
    /// Whether it is also the class of every field that has none of its own.
    pub rest: bool,
    /// What the policies said.
    pub decision: Decision,
}

impl FieldDecision {
    /// Asks about every class that an answer of `action` can hold.
    pub(crate) fn all(world: &World<'_>, call: &Question, server: &Server, action: &str) -> Vec<Self> {
        let Some(rule) = server.tools.get(action) else { return Vec::new() };
        let mut classes: BTreeMap<&str, (Vec<String>, bool)> = BTreeMap::new();
        for (pointer, class) in &rule.fields {
            classes.entry(class).or_default().0.push(pointer.clone());
        }
        if let Some(class) = &rule.classification {
            classes.entry(class).or_default().1 = true;
        }
        let ask = |(class, (pointers, rest)): (&str, (Vec<String>, bool))| {
            let decision = world.policies.decide(&call.about_fields(class));
            Self { class: class.to_owned(), pointers, rest, decision }
        };
        classes.into_iter().map(ask).collect()
    }

    /// Whether the caller may not read this class. A step-up and a policy that fails withhold, too.
    pub fn withholds(&self) -> bool {
        !self.decision.permits()
    }

    /// The policy that decided, for the record of what was withheld.
    pub fn rule(&self) -> &str {
        self.decision.policies.first().map_or("no policy permits it", |policy| policy.id.as_str())
    }
}

/// What of an answer has to be withheld. A field with several classes is withheld when one of them is.
pub fn withheld(decisions: &[FieldDecision]) -> Withheld {
    let pointers = |withholds: bool| -> Vec<String> {
        let found = decisions.iter().filter(|field| field.withholds() == withholds);
        found.flat_map(|field| field.pointers.iter().cloned()).collect()
    };
    let rest = decisions.iter().any(|field| field.rest && field.withholds());
    Withheld { fields: pointers(true), only: rest.then(|| pointers(false)) }
}

/// The policy that withheld the field at this pointer of an answer.
pub fn rule_of<'d>(decisions: &'d [FieldDecision], pointer: &str) -> &'d str {
    let withholding = || decisions.iter().filter(|field| field.withholds());
    let named = withholding().find(|field| field.pointers.iter().any(|named| fields::covers(named, pointer)));
    named.or_else(|| withholding().find(|field| field.rest)).or_else(|| withholding().next()).map_or("", FieldDecision::rule)
}
