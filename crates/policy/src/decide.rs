//! One decision: slice, index, evaluation, explanation.
//!
//! The index knows whose scope matches, so only conditions are left to the engine; where no policy in scope has one, there
//! is nothing to evaluate.

use crate::{
    decision::{Decision, Determining, Effect, PolicyFailure, RuleEffect},
    index::Candidate,
    question::Question,
    rules::Rule,
    slice::{Facts, Slice, Types},
    unanswerable::Unanswerable,
};
use cedar_policy::{EvalResult, EvaluationError, Expression, eval_expression};
use std::sync::Arc;

/// Longest explanation, in bytes (record.md §1.11, `decision.explanation`).
const EXPLANATION: usize = 512;

/// What the engine said, before it is put into words.
struct Verdict {
    effect: Effect,
    policies: Vec<Arc<Rule>>,
    errors: Vec<PolicyFailure>,
    considered: usize,
}

/// The set of policies that decides, as a decision names it.
pub(crate) struct PolicySet<'b> {
    pub(crate) types: &'b Types,
    pub(crate) digest: &'b str,
    pub(crate) schema_digest: &'b str,
}

/// Decides by the policies that `candidates` finds in scope.
pub(crate) fn decide(
    set: &PolicySet<'_>,
    question: &Question,
    candidates: impl FnOnce(&Slice) -> Result<Vec<Candidate>, Unanswerable>,
) -> Decision {
    let verdict = Slice::new(set.types, question)
        .and_then(|slice| {
            let candidates = candidates(&slice)?;
            evaluate(set.types, question, &slice, candidates)
        })
        // INVARIANT: a question that cannot be put to the engine is denied.
        .unwrap_or_else(|why| Verdict {
            effect: Effect::Deny,
            policies: Vec::new(),
            errors: vec![PolicyFailure { id: String::new(), message: why.to_string() }],
            considered: 0,
        });
    Decision {
        effect: verdict.effect,
        explanation: explain(&verdict),
        policies: verdict.policies.iter().map(|rule| determining(rule)).collect(),
        errors: verdict.errors,
        policy_set_digest: set.digest.to_owned(),
        schema_digest: set.schema_digest.to_owned(),
        engine_name: "cedar-policy".to_owned(),
        engine_version: cedar_policy::get_sdk_version().to_string(),
        considered: verdict.considered,
    }
}

/// Evaluates the policies whose scope matches, one by one: what holds of them decides as Cedar combines it.
fn evaluate(types: &Types, question: &Question, slice: &Slice, candidates: Vec<Candidate>) -> Result<Verdict, Unanswerable> {
    let considered = candidates.len();
    let mut facts = None;
    let (mut permits, mut forbids, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (_, rule) in candidates {
        match holds(types, question, slice, &rule, &mut facts)? {
            Ok(true) if rule.effect == RuleEffect::Permit => permits.push(rule),
            Ok(true) => forbids.push(rule),
            Ok(false) => {}
            Err(message) => errors.push(PolicyFailure { id: rule.id.clone(), message: message.to_owned() }),
        }
    }
    errors.sort();
    // SPEC: CE-02. Cedar skips a policy that errors, so a forbid that errors would stop forbidding.
    let (effect, mut policies) = if !errors.is_empty() {
        (Effect::Deny, Vec::new())
    } else if forbids.is_empty() {
        (if permits.is_empty() { Effect::Deny } else { Effect::Permit }, permits)
    } else if forbids.iter().any(|rule| rule.effect != RuleEffect::StepUp) {
        (Effect::Deny, forbids)
    } else if permits.is_empty() {
        // A step-up is offered only where it would be enough: something must permit beside it.
        (Effect::Deny, Vec::new())
    } else {
        (Effect::StepUp, forbids)
    };
    policies.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Verdict { effect, policies, errors, considered })
}

/// Whether a policy in scope holds: always without a condition, else as the engine says, or which kind of error it is.
fn holds(
    types: &Types,
    question: &Question,
    slice: &Slice,
    rule: &Rule,
    facts: &mut Option<Facts>,
) -> Result<Result<bool, &'static str>, Unanswerable> {
    let Some(condition) = rule.policy.as_ref().non_scope_constraints() else { return Ok(Ok(true)) };
    let facts = match facts {
        Some(facts) => facts,
        // Only a condition looks at anything but the scope.
        None => facts.insert(Facts::new(types, question, slice)?),
    };
    Ok(match eval_expression(&facts.request, &facts.entities, &Expression::from(condition.clone())) {
        Ok(EvalResult::Bool(holds)) => Ok(holds),
        Ok(_) => Err("a value has the wrong type"),
        Err(error) => Err(kind_of(&error)),
    })
}

/// The kind of an error, without the values in its message: those may be personal data, and records are plain.
pub(crate) fn kind_of(error: &EvaluationError) -> &'static str {
    match error {
        EvaluationError::EntityDoesNotExist(_) => "an entity it refers to is not part of the request",
        EvaluationError::EntityAttrDoesNotExist(_) | EvaluationError::RecordAttrDoesNotExist(_) => {
            "an attribute it reads is missing"
        }
        EvaluationError::FailedExtensionFunctionLookup(_) => "it calls an unknown function",
        EvaluationError::TypeError(_) => "a value has the wrong type",
        EvaluationError::WrongNumArguments(_) => "a function has the wrong number of arguments",
        EvaluationError::IntegerOverflow(_) => "integer overflow",
        EvaluationError::FailedExtensionFunctionExecution(_) => "a function failed",
        EvaluationError::RecursionLimit(_) => "it is nested too deeply",
        _ => "it could not be evaluated",
    }
}

fn determining(rule: &Rule) -> Determining {
    Determining {
        id: rule.id.clone(),
        effect: rule.effect,
        digest: rule.digest.clone(),
        source: format!("{}:{}", rule.file, rule.line),
        annotations: rule.annotations.clone(),
    }
}

/// The annotations' words; ours only where no policy spoke.
fn explain(verdict: &Verdict) -> String {
    let mut text = match (verdict.errors.first(), verdict.policies.as_slice()) {
        (Some(error), _) if error.id.is_empty() => {
            format!("The policies could not be asked, so nothing is allowed: {}.", error.message)
        }
        (Some(error), _) => {
            format!("Policy `{}` could not be evaluated, so nothing is allowed: {}.", error.id, error.message)
        }
        (None, []) => "No policy permits this.".to_owned(),
        (None, rules) => rules.iter().map(|rule| spoken(rule)).collect::<Vec<_>>().join(" "),
    };
    if text.len() > EXPLANATION {
        let fits = text.char_indices().map(|(at, _)| at).take_while(|at| *at <= EXPLANATION - '…'.len_utf8()).last();
        text.truncate(fits.unwrap_or(0));
        text.push('…');
    }
    text
}

fn spoken(rule: &Rule) -> String {
    let of = |key: &str| rule.annotations.get(key).map(|text| sentence(text));
    let parts: Vec<String> = [of("title"), of("reason"), of("advice")].into_iter().flatten().collect();
    if parts.is_empty() { format!("Policy `{}`.", rule.id) } else { parts.join(" ") }
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}
