//! What is recorded of an evaluation: who asked, about whom, what they said, and what they were told.

use super::{evaluate::Verdict, wire::Evaluation};
use crate::{
    road::{
        answer::{Answer, End},
        identify::Caller,
        record::RequestRecord,
        rejection::Rejection,
        request_origin::{Endpoint, RequestOrigin},
    },
    settings::Settings,
};
use remit_ledger::record::{Draft, Protocol, Resource};
use remit_model::{
    mask::Shown,
    resource::{Server, ToolClass},
    time::Moment,
};
use remit_store::Snapshot;
use serde_json::{Value, json};

/// The endpoint at a route. The tool and the resource of its records are those that were asked about; nothing is done.
pub(super) fn endpoint(route: &'static str) -> Endpoint {
    Endpoint { route, protocol: Protocol::Http, action: "authzen:evaluation", class: ToolClass::Read, resource: "mcp.server" }
}

/// Everything the records of one request share.
pub(super) struct Asking<'a> {
    pub(super) settings: &'a Settings,
    pub(super) desk: &'a Server,
    pub(super) caller: &'a Caller,
    pub(super) origin: &'a RequestOrigin,
    pub(super) request_id: Option<&'a str>,
    pub(super) snapshot: &'a Snapshot,
    pub(super) now: &'a Moment,
}

impl Asking<'_> {
    /// The record of one evaluation, number `item` of its request.
    pub(super) fn record(&self, evaluation: &Evaluation, verdict: Verdict<'_>, item: usize) -> Draft {
        let mut record = RequestRecord::open(self.settings, verdict.at.unwrap_or(self.desk), self.origin, self.now);
        record.caller(self.caller, self.snapshot);
        if let (Some(act), Some(server)) = (&verdict.act, verdict.at) {
            record.target(act, server);
        }
        let decided = verdict.decided.as_ref();
        let asked = decided.and_then(|decided| decided.asked.as_ref());
        if let Some(asked) = asked {
            record.decided(asked, verdict.latency_ns);
        }
        if let Some(decided) = decided {
            record.fields_decided(&decided.fields);
        }
        let unasked = verdict.result.as_ref().err().filter(|_| asked.is_none()).map(|refusal| refusal.reason.clone());
        let grants =
            decided.and_then(|decided| decided.covered.as_ref()).map(|covered| covered.grants.clone()).unwrap_or_default();
        let question = asked.map(|asked| &asked.question).or(verdict.unasked.as_ref());
        let authority = question.map(|question| question.authority_digest.clone());
        let rejection = verdict.result.err().map(Rejection::from);
        let answer = Answer { shown: Shown::whole(Value::Null), end: End::Complete, bytes: None };
        let mut draft = record.close(rejection.as_ref().map_or(Ok(&answer), Err), self.now);
        // Where no policy was asked, the question still names whom the record is about, so that it is sealed for them.
        if let (Some(facts), Some(question)) = (&mut draft.decision, question) {
            facts.input = facts.input.take().or_else(|| serde_json::to_value(question).ok());
        }
        draft.committed.retain(|(path, _)| path != "/decision/reason");
        // A reason that no policy gave names the subject of the question, and the caller chooses that name.
        if let (Some(facts), Some(reason)) = (&mut draft.decision, unasked) {
            draft.committed.push(("/decision/reason".to_owned(), json!(reason)));
            facts.explanation = Some("No policy was asked; the reason is kept beside the log.".to_owned());
        }
        draft.committed.push(("/evaluation/request".to_owned(), evaluation.whole.clone()));
        if let Some(id) = self.request_id {
            draft.committed.push(("/evaluation/request_id".to_owned(), json!(id)));
        }
        draft.resources.push(Resource::new("authzen.subject", Some(verdict.subject.clone())));
        draft.ext.insert("evaluation".to_owned(), json!({"item": item, "authority": authority, "grants": grants}));
        draft
    }

    /// The record of an evaluation that could not be read, or may not be asked for.
    pub(super) fn refused(&self, rejection: &Rejection) -> Draft {
        let mut record = RequestRecord::open(self.settings, self.desk, self.origin, self.now);
        record.caller(self.caller, self.snapshot);
        record.close(Err(rejection), self.now)
    }
}
