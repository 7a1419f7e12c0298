//! One decision: slice, index, evaluation, explanation.

use crate::{
    bundle::{Bundle, Rule},
    decision::{Decision, Determining, Effect, PolicyFailure, RuleEffect},
    index,
    question::Question,
    slice::Slice,
};
use cedar_policy::{AuthorizationError, Authorizer, EvaluationError, Response};

/// Longest explanation, in bytes (record.md §1.11, `decision.explanation`).
const EXPLANATION: usize = 512;

/// What the engine said, before it is put into words.
struct Verdict<'b> {
    effect: Effect,
    policies: Vec<&'b Rule>,
    errors: Vec<PolicyFailure>,
    considered: usize,
}

pub(crate) fn decide(bundle: &Bundle, question: &Question, without: &[&str]) -> Decision {
    let verdict = Slice::new(bundle.types(), question)
        .and_then(|slice| {
            let mut candidates = bundle.index().candidates(bundle.rules(), &slice);
            if !without.is_empty() {
                let left =
                    |number: &u32| index::rule(bundle.rules(), *number).is_some_and(|rule| !without.contains(&rule.id.as_str()));
                candidates.retain(left);
            }
            evaluate(bundle, &slice, candidates)
        })
        .unwrap_or_else(|why| Verdict {
            effect: Effect::Deny,
            policies: Vec::new(),
            errors: vec![PolicyFailure { id: String::new(), message: why }],
            considered: 0,
        });
    Decision {
        effect: verdict.effect,
        explanation: explain(&verdict),
        policies: verdict.policies.into_iter().map(determining).collect(),
        errors: verdict.errors,
        policy_set_digest: bundle.digest().to_owned(),
        schema_digest: bundle.schema_digest().to_owned(),
        input_digest: question.digest(),
        engine_name: "cedar-policy".to_owned(),
        engine_version: cedar_policy::get_sdk_version().to_string(),
        considered: verdict.considered,
    }
}

fn evaluate<'b>(bundle: &'b Bundle, slice: &Slice, candidates: Vec<u32>) -> Result<Verdict<'b>, String> {
    let considered = candidates.len();
    let response = run(bundle, slice, candidates.clone())?;
    let errors = failures(&response);
    // SPEC: CE-02. Cedar skips a policy that errors, so a forbid that errors would stop forbidding.
    if !errors.is_empty() {
        return Ok(Verdict { effect: Effect::Deny, policies: Vec::new(), errors, considered });
    }
    let policies = reasons(bundle, &candidates, &response);
    let allowed = |response: &Response| response.decision() == cedar_policy::Decision::Allow;
    if allowed(&response) {
        return Ok(Verdict { effect: Effect::Permit, policies, errors, considered });
    }
    if policies.is_empty() || policies.iter().any(|rule| rule.effect != RuleEffect::StepUp) {
        return Ok(Verdict { effect: Effect::Deny, policies, errors, considered });
    }
    // Only step-up policies forbid. Offer the step-up when it would be enough: something must permit without them.
    let rest: Vec<u32> = candidates
        .into_iter()
        .filter(|number| index::rule(bundle.rules(), *number).is_some_and(|rule| rule.effect != RuleEffect::StepUp))
        .collect();
    if allowed(&run(bundle, slice, rest)?) {
        return Ok(Verdict { effect: Effect::StepUp, policies, errors, considered });
    }
    Ok(Verdict { effect: Effect::Deny, policies: Vec::new(), errors, considered })
}

fn run(bundle: &Bundle, slice: &Slice, numbers: Vec<u32>) -> Result<Response, String> {
    let set = bundle.index().bucket(bundle.rules(), numbers)?;
    Ok(Authorizer::new().is_authorized(&slice.request, &set, &slice.entities))
}

fn reasons<'b>(bundle: &'b Bundle, candidates: &[u32], response: &Response) -> Vec<&'b Rule> {
    let named: Vec<&str> = response.diagnostics().reason().map(AsRef::as_ref).collect();
    let mut rules: Vec<&Rule> = candidates
        .iter()
        .filter_map(|number| index::rule(bundle.rules(), *number))
        .filter(|rule| named.contains(&rule.id.as_str()))
        .collect();
    rules.sort_by(|a, b| a.id.cmp(&b.id));
    rules
}

fn failures(response: &Response) -> Vec<PolicyFailure> {
    let mut failures: Vec<PolicyFailure> = response
        .diagnostics()
        .errors()
        .map(|AuthorizationError::PolicyEvaluationError(error)| PolicyFailure {
            id: AsRef::<str>::as_ref(error.policy_id()).to_owned(),
            message: kind_of(error.inner()).to_owned(),
        })
        .collect();
    failures.sort();
    failures
}

/// The kind of an error, without the values in its message: those may be personal data, and records are plain.
fn kind_of(error: &EvaluationError) -> &'static str {
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
fn explain(verdict: &Verdict<'_>) -> String {
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
