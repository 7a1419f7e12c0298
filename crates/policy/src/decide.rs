//! One decision: index, entity slice, evaluation, explanation.

use crate::{bundle::Bundle, decision::{Decision, Effect}, question::Question};

pub(crate) fn decide(bundle: &Bundle, question: &Question) -> Decision {
    Decision {
        effect: Effect::Deny,
        policies: Vec::new(),
        errors: Vec::new(),
        policy_set_digest: bundle.digest().to_owned(),
        schema_digest: bundle.schema_digest().to_owned(),
        input_digest: question.digest(),
        engine_name: "cedar-policy".to_owned(),
        engine_version: cedar_policy::get_sdk_version().to_string(),
        considered: 0,
        explanation: String::new(),
    }
}
