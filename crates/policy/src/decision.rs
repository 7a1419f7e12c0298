//! A decision, with everything that is needed to evaluate it again.

use remit_model::{
    StepUp,
    refusal::{Code, Refusal},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    Permit,
    Deny,
    /// Denied now, and permitted once the condition that a `@effect("step_up")` policy names is met.
    StepUp,
}

/// What a single policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    Permit,
    Forbid,
    /// A `forbid` annotated `@effect("step_up")`.
    StepUp,
}

impl RuleEffect {
    /// Its name in records: `permit`, `forbid` or `step_up`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Forbid => "forbid",
            Self::StepUp => "step_up",
        }
    }
}

/// A policy that determined the decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Determining {
    /// Its `@id`, or `FILE#N`, the N-th policy of its file.
    pub id: String,
    pub effect: RuleEffect,
    /// Digest of the policy's text.
    pub digest: String,
    /// Where it stands: `FILE:LINE`.
    pub source: String,
    pub annotations: BTreeMap<String, String>,
}

/// A policy that could not be evaluated; its presence alone denies (CE-02).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFailure {
    /// Empty when the question itself could not be put.
    pub id: String,
    /// The kind of failure. Never a value of the call: this text goes into the record in plain.
    pub message: String,
}

/// The answer to one question. Holds no latency or time of its own, so equal questions give equal decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    pub effect: Effect,
    /// The policies that made it so, sorted by id; empty when nothing permitted.
    pub policies: Vec<Determining>,
    pub errors: Vec<PolicyFailure>,
    pub policy_set_digest: String,
    pub schema_digest: String,
    pub engine_name: String,
    pub engine_version: String,
    /// How many policies the index handed to the engine.
    pub considered: usize,
    /// One or more sentences from annotations; fixed words when no policy spoke.
    pub explanation: String,
}

impl Decision {
    /// Whether the effect is a permit. `step_up` is not one.
    pub fn permits(&self) -> bool {
        self.effect == Effect::Permit
    }

    /// The code of the refusal this decision is, if it is one.
    pub fn code(&self) -> Option<Code> {
        match self.effect {
            Effect::Permit => None,
            _ if !self.errors.is_empty() => Some(Code::PolicyError),
            Effect::Deny => Some(Code::PolicyDenied),
            Effect::StepUp => Some(Code::StepUpRequired),
        }
    }

    /// `Ok` for a permit, else the refusal to give the caller.
    ///
    /// # Errors
    /// `policy_denied`, `step_up_required` or `policy_error`, with the explanation as its reason.
    pub fn into_result(&self) -> Result<(), Refusal> {
        let refusal = |code| Refusal { step_up: self.step_up().map(Box::new), ..Refusal::new(code, self.explanation.clone()) };
        self.code().map_or(Ok(()), |code| Err(refusal(code)))
    }

    /// The sign-in that would be enough for every policy that asks to step up, as far as they say it. SPEC: RFC 9470 §3
    pub fn step_up(&self) -> Option<StepUp> {
        if self.effect != Effect::StepUp {
            return None;
        }
        let said = |name| self.policies.iter().filter_map(move |policy| policy.annotations.get(name)).map(String::as_str);
        let mut classes = said("acr_values").map(|text| text.split_whitespace().collect::<Vec<_>>());
        let first = classes.next().unwrap_or_default();
        let acr_values: Vec<String> = classes
            .fold(first, |common, others| common.into_iter().filter(|class| others.contains(class)).collect())
            .into_iter()
            .map(str::to_owned)
            .collect();
        let max_age = said("max_age").filter_map(|text| text.parse().ok()).min();
        (!acr_values.is_empty() || max_age.is_some()).then_some(StepUp { acr_values, max_age })
    }

    /// What the determining policies advise: what would have been enough.
    pub fn advice(&self) -> impl Iterator<Item = &str> {
        self.policies.iter().filter_map(|policy| policy.annotations.get("advice")).map(String::as_str)
    }
}
