//! A refused tool call as a tool result, so that the model reads why and what would be enough.
//!
//! SPEC: MCP "Tools: error handling": `isError` results are shown to the model; most agent frameworks hide or rewrite
//! JSON-RPC errors, and some end the run. Does not decide which refusals become results: see `call.rs`.

use crate::mcp::revision::{META_CODE, META_INDEX, META_REASON, META_RECORD, Revision};
use remit_model::refusal::{Code, Refusal};
use remit_store::Receipt;
use serde_json::{Map, Value, json};

/// What a denial says besides the refusal itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Denial<'a> {
    pub(crate) refusal: &'a Refusal,
    /// Where it was recorded.
    pub(crate) receipt: Option<&'a Receipt>,
    /// The scope that names the tool: `helpdesk:refund`.
    pub(crate) scope: &'a str,
    /// The request reached the upstream, so that the call may have had its effect.
    pub(crate) dispatched: bool,
    pub(crate) revision: Revision,
    /// The caller is an agent on its own account: no person can grant it more by signing in.
    pub(crate) for_itself: bool,
}

impl Denial<'_> {
    /// The result of the call: the reason and what would be enough as text, code and record in `_meta`.
    pub(crate) fn to_result(self) -> Value {
        let mut meta = Map::new();
        meta.insert(META_CODE.to_owned(), json!(self.refusal.code));
        meta.insert(META_REASON.to_owned(), json!(self.refusal.reason));
        if let Some(receipt) = self.receipt {
            meta.insert(META_RECORD.to_owned(), json!(receipt.record_id));
            meta.insert(META_INDEX.to_owned(), json!(receipt.index));
        }
        let mut result = json!({"content": [{"type": "text", "text": self.text()}], "isError": true, "_meta": meta});
        if let (true, Value::Object(members)) = (self.revision.is_modern(), &mut result) {
            members.insert("resultType".to_owned(), json!("complete"));
        }
        result
    }

    fn text(&self) -> String {
        let Self { refusal, receipt, dispatched, .. } = self;
        let reason = refusal.reason.trim_end_matches('.');
        let what = if *dispatched {
            format!("The call failed: {reason}. It may or may not have taken effect.")
        } else {
            format!("The call was refused and nothing was done: {reason}.")
        };
        let enough = self.enough().map_or_else(String::new, |enough| format!(" {enough}"));
        let record = receipt.map_or_else(String::new, |receipt| format!(", record {}", receipt.record_id));
        format!("{what}{enough} [{}{record}]", refusal.code)
    }

    /// What would be enough, where the reason does not say it already.
    fn enough(&self) -> Option<String> {
        match self.refusal.code {
            Code::ToolNotGranted if self.for_itself => {
                Some(format!("`{}` in the agent's registered ceiling would be enough; an operator has to allow it.", self.scope))
            }
            Code::GrantExpired if self.for_itself => {
                Some("A ceiling whose grant has not ended would be enough; an operator has to allow it.".to_owned())
            }
            Code::ToolNotGranted => {
                Some(format!("A grant of `{}` would be enough; the person has to be asked for it in a new sign-in.", self.scope))
            }
            Code::ArgumentMalformed => Some("Arguments of the stated types would be enough.".to_owned()),
            Code::ArgumentNotGranted => Some("Arguments within what is granted would be enough.".to_owned()),
            Code::GrantExpired => Some("A new sign-in would be enough.".to_owned()),
            Code::LimitExhausted => Some("A new grant with a budget of its own would be enough.".to_owned()),
            Code::StepUpRequired if self.refusal.step_up.is_some() && !self.for_itself => {
                Some("A new sign-in of the person would be enough.".to_owned())
            }
            Code::UpstreamUnavailable | Code::PolicyUnavailable => Some("It may work later.".to_owned()),
            code if code.is_outage() => Some("It may work later.".to_owned()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denial(refusal: &Refusal, dispatched: bool) -> Denial<'_> {
        Denial { refusal, receipt: None, scope: "helpdesk:refund", dispatched, revision: Revision::V2026July, for_itself: false }
    }

    #[test]
    fn the_text_says_what_was_refused_why_and_what_would_be_enough() {
        let refusal = Refusal::new(Code::ToolNotGranted, "`refund` is not granted there; granted is `ticket_read`");
        let result = denial(&refusal, false).to_result();
        let text = result["content"][0]["text"].as_str().unwrap();
        for part in [
            "nothing was done",
            "granted is `ticket_read`.",
            "A grant of `helpdesk:refund` would be enough",
            "[tool_not_granted]",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!(result["isError"], true);
        assert_eq!(result["_meta"]["remit/code"], "tool_not_granted");
    }

    #[test]
    fn an_agent_on_its_own_account_is_not_sent_to_a_sign_in() {
        for code in Code::ALL {
            let refusal = Refusal::new(*code, "no");
            let text = Denial { for_itself: true, ..denial(&refusal, false) }.text().to_lowercase();
            assert!(!text.contains("sign-in") && !text.contains("person"), "{text}");
        }
    }

    #[test]
    fn a_call_that_left_is_never_said_to_have_done_nothing() {
        let refusal = Refusal::new(Code::UpstreamUnavailable, "the upstream did not answer in time");
        let text = denial(&refusal, true).to_result()["content"][0]["text"].to_string();
        assert!(!text.contains("nothing was done") && text.contains("may or may not have taken effect"), "{text}");
    }
}
